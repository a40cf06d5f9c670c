import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.files import read
from glassgpt.weights.source import find


def test_a_model_directory_is_itself(model, bytes_tokenizer, tmp_path):
    save_model(model, bytes_tokenizer, tmp_path / "model")
    assert find(str(tmp_path / "model")) == tmp_path / "model"


def test_a_hub_cache_is_used_offline(model, bytes_tokenizer, tmp_path, monkeypatch):
    from huggingface_hub import constants

    repository = tmp_path / "models--openai-community--gpt2"
    save_model(model, bytes_tokenizer, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert find("124M").name == "abc123"


@contextmanager
def hub(directory: Path) -> Iterator[str]:
    """The address of a hub on this machine that has one model, the files of a directory."""
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    sha = "a" * 40
    tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": name} for name in files]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/"):
                content = json.dumps(tree if "/tree/" in path else {"id": "me/model", "sha": sha}).encode()
            else:
                content = files[path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", hashlib.sha256(content).hexdigest())
            self.send_header("X-Repo-Commit", sha)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("has_safetensors", [True, False])
def test_older_weights_are_downloaded_where_there_are_no_others(model, bytes_tokenizer, tmp_path, has_safetensors):
    save_model(model, bytes_tokenizer, tmp_path / "model")
    torch.save(read(tmp_path / "model" / "model.safetensors"), tmp_path / "model" / "pytorch_model.bin")
    if not has_safetensors:
        (tmp_path / "model" / "model.safetensors").unlink()
    script = "from glassgpt.weights.source import find; print(find('me/model'))"
    with hub(tmp_path / "model") as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
    found = Path(ran.stdout.strip())
    weights = {"model.safetensors", "pytorch_model.bin"}
    assert weights & {path.name for path in found.iterdir()} == {sorted(weights)[not has_safetensors]}
    assert torch.equal(load_model(found).final_norm.weight, model.final_norm.weight)


@pytest.mark.parametrize("source", ["gpt2", "gpt2-xl", "somebody/some-model"])
def test_without_network_and_cache_it_says_what_to_do(source, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"not in the cache .* the hub did not answer. Connect"):
        find(source)


def test_a_mistyped_directory_is_recognised(tmp_path, monkeypatch):
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"did you mean runs/demo\?"):
        find("runs/dmeo")
    with pytest.raises(FileNotFoundError, match=r"did you mean runs\?"):
        find("rus")


def test_what_cannot_be_found_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model 'gpt9'"):
        find("gpt9")
    with pytest.raises(ValueError, match="the weights of gpt3-175b were never published"):
        find("175B")
    with pytest.raises(FileNotFoundError, match=r"a directory without config\.json or checkpoints/.* --to hf`"):
        find(tmp_path)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        find(tmp_path / "run")
