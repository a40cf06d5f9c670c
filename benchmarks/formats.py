"""Every format out and in again at GPT-2's shape: who opens it, largest logit difference, time and peak memory.

    python benchmarks/formats.py                         124M, random weights
    python benchmarks/formats.py --only gguf onnx        some of the formats
    python benchmarks/formats.py --folder x --write      resumable: rows that x/rows.json has are not measured again;
                                                         the table of docs/convert.md is written anew

Each conversion is a process of its own and does what `glassgpt convert` does, certificate included: its time and peak
are of reading, writing, comparing every tensor and running both models one after the other. A third process is the
judge, another program where there is one. Needs the development dependencies.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _judges import JUDGES, difference
from _report import print_machine

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.weights.behaviour import prompts_for
from glassgpt.weights.conversion import convert
from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.directory_files import load_config

# Format, dtype, and the name of the file or directory.
ROWS = [
    ("hf", "float32", "hf"),
    ("hf", "bfloat16", "hf-bfloat16"),
    ("gguf", "float32", "x.gguf"),
    ("gguf", "float16", "f16.gguf"),
    ("gguf", "q8_0", "q8.gguf"),
    ("gguf", "q5_0", "q5.gguf"),
    ("gguf", "q4_0", "q4.gguf"),
    ("onnx", "float32", "onnx"),
    ("openai", "float32", "117M"),
    ("book", "float32", "book.pth"),
    ("book", "float32", "book.safetensors"),
    ("nanogpt", "float32", "ckpt.pt"),
    ("llmc", "float32", "x.bin"),
    ("llmc", "bfloat16", "bfloat16.bin"),
    ("quantized", "int8", "int8"),
    ("quantized", "int4", "int4"),
]
PAGE = Path(__file__).parents[1] / "docs" / "convert.md"
START, END = "<!-- matrix -->\n", "<!-- end of matrix -->"
HEADINGS = ["format", "stored as", "file, MB", "judge", "logits off by", "out, s", "peak, MB", "in, s", "peak, MB"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="gpt2", help="a published size, or tiny (default gpt2)")
    parser.add_argument("--only", nargs="*", default=list(JUDGES), choices=list(JUDGES), metavar="FORMAT")
    parser.add_argument("--folder", type=Path, help="where files and rows are kept (default: nowhere)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/convert.md")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(globals()[args.one[0]](*args.one[1:])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = table(folder, args.size, args.only)
    if args.write:
        before, _, rest = PAGE.read_text().partition(START)
        PAGE.write_text(before + START + "\n".join(lines) + "\n" + END + rest.partition(END)[2])


def table(folder: Path, size: str, only: list[str]) -> list[str]:
    """Measures what ``rows.json`` in the folder has not yet; returns and prints the table."""
    known = folder / "rows.json"
    rows: dict[str, dict[str, Any]] = json.loads(known.read_text()) if known.is_file() else {}
    if not (folder / "model").is_dir():
        fresh("source", folder, size)
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    print_machine()
    print("", *lines, sep="\n", flush=True)
    for form, dtype, name in ROWS:
        if form not in only:
            continue
        if name not in rows:
            rows[name] = row(folder, form, dtype, name)
            known.write_text(json.dumps(rows, indent=2))
        lines.append(f"| {form} | {dtype} | {' | '.join(rows[name].values())} |")
        print(lines[-1], flush=True)
    return lines


def row(folder: Path, form: str, dtype: str, name: str) -> dict[str, str]:
    """One format: written, judged, and read back."""
    path, back = folder / name, folder / f"{name}.back"
    out = fresh("conversion", folder / "model", path, form, dtype)
    off = fresh("judgement", folder, form, path)
    into = fresh("conversion", path, back, "hf", "float32")
    files = [path] if path.is_file() else list(path.iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    for made in (path, back):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    return {
        "megabytes": f"{megabytes:,.0f}", "judge": JUDGES[form][0], "off": f"{off:.1g}",
        "out": f"{out['seconds']:.0f}", "out_peak": f"{out['peak']:,.0f}",
        "in": f"{into['seconds']:.0f}", "in_peak": f"{into['peak']:,.0f}",
    }  # fmt: skip


def fresh(function: str, *arguments: object) -> Any:
    """What a function of this file returns in a process of its own."""
    command = [sys.executable, __file__, "--one", function, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(ran.stderr)  # llama.cpp writes much there that is of no interest otherwise
    return json.loads(ran.stdout.splitlines()[-1])


def source(folder: str, size: str) -> None:
    """Writes the model that every format starts from, and its logits of the certificate's prompts."""
    tiny = ModelConfig(context_length=64, emb_dim=64, num_heads=4, num_layers=2)
    config = tiny if size == "tiny" else ModelConfig.named(size)
    save_model(initialize(GPT(config), seed=1), gpt2(), Path(folder) / "model")
    with torch.no_grad():
        logits = load_model(Path(folder) / "model")(prompts_for(config))
    torch.save(logits, Path(folder) / "logits.pt")


def conversion(origin: str, destination: str, form: str, dtype: str) -> dict[str, float]:
    """Seconds and peak megabytes of one conversion with its certificate."""
    start = time.perf_counter()
    convert(Path(origin), Path(destination), form, dtype, gpt2())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": time.perf_counter() - start, "peak": peak}


def judgement(folder: str, form: str, path: str) -> float:
    """How far the judge's logits are off from the model's that the file was made of."""
    expected = torch.load(Path(folder) / "logits.pt")
    return difference(form, Path(path), prompts_for(load_config(Path(folder) / "model")), expected)


if __name__ == "__main__":
    main()
