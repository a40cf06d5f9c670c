"""Files made to exhaust, to run code or to reach elsewhere, and what `glassgpt info` says of each (docs/formats.md).

python scripts/hostile.py
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from glassgpt.cli.main import main as glassgpt


def runs_a_command(path: Path) -> None:
    """What pickle would hand to the shell."""
    zipped(path, b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch /tmp\x85R.")


def grows_without_end(path: Path) -> None:
    """A list that contains lists that contain lists."""
    zipped(path, b"\x80\x02]" + b"]a" * 10**6)


def zip_bomb(path: Path) -> None:
    """A gigabyte in a megabyte."""
    zipped(path, pickle.dumps({}, 2), bytes(2**30), zipfile.ZIP_DEFLATED)


def appended(path: Path) -> None:
    """A second file behind the first, for a reader that searches from the end."""
    zipped(path, pickle.dumps({}, 2))
    path.write_bytes(path.read_bytes() * 2)


def cut_off(path: Path) -> None:
    """The table promises a tensor that the file does not hold."""
    path.write_bytes(gguf(num_tensors=1) + tensor("token_embd.weight", 768, 50257) + bytes(1000))


def counts_to_infinity(path: Path) -> None:
    path.write_bytes(gguf(num_keys=2**60))


def swallows_memory(path: Path) -> None:
    """Sixteen megabytes of short numbers, each an object of forty bytes once it is read."""
    keys = [string(f"key{n}") + struct.pack("<IIQ", 9, 3, 2**20) + b"\x01\x7f" * 2**20 for n in range(7)]
    path.write_bytes(gguf(num_keys=len(keys)) + b"".join(keys))


def lies_about_its_shape(path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}
    header = json.dumps({"tok_emb.weight": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def lies_about_its_size(path: Path) -> None:
    path.write_bytes(struct.pack("<256i", 20240326, 3, 1024, 50257, 12, 12, 768, 50304, *[0] * 248))


def leads_elsewhere(path: Path) -> None:
    """An index whose shard lies outside its directory."""
    path.mkdir()
    sizes = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    (path / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
    index = {"weight_map": {"transformer.wte.weight": "../../../etc/passwd"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def leads_elsewhere_too(path: Path) -> None:
    """The same in TensorFlow's words."""
    path.mkdir()
    sizes = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    (path / "hparams.json").write_text(json.dumps(sizes))
    (path / "checkpoint").write_text('model_checkpoint_path: "../../etc/passwd"\n')


FILES: dict[str, Callable[[Path], None]] = {
    "runs-a-command.pt": runs_a_command,
    "grows-without-end.pt": grows_without_end,
    "zip-bomb.pt": zip_bomb,
    "appended.pt": appended,
    "cut-off.gguf": cut_off,
    "counts-to-infinity.gguf": counts_to_infinity,
    "swallows-memory.gguf": swallows_memory,
    "lies-about-its-shape.safetensors": lies_about_its_shape,
    "lies-about-its-size.bin": lies_about_its_size,
    "leads-elsewhere": leads_elsewhere,
    "leads-elsewhere-too": leads_elsewhere_too,
}


def zipped(path: Path, pickled: bytes, storage: bytes = bytes(64), compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/data/0", storage)


def gguf(num_tensors: int = 0, num_keys: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, num_keys)


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def tensor(name: str, columns: int, rows: int) -> bytes:
    return string(name) + struct.pack("<IQQIQ", 2, columns, rows, 0, 0)


def main() -> int:
    accepted = False
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, make in FILES.items():
            make(Path(name))
            print(f"$ glassgpt info {name}")
            answer = io.StringIO()
            with contextlib.redirect_stderr(answer):
                accepted |= glassgpt(["info", name]) == 0
            print(answer.getvalue(), flush=True)
    return int(accepted)


if __name__ == "__main__":
    sys.exit(main())
