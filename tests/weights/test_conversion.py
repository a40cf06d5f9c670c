"""A conversion proves itself: what was written is read again and compared, and only what holds appears."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.conversion import DoesNotHold, certificate_path, convert, sha256
from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.opened import Opened

gguf = pytest.importorskip("gguf", reason="needs the export extra")


def build(**changes: object) -> GPT:
    sizes = {"vocab_size": 257, "context_length": 64, "emb_dim": 64, "num_heads": 4, "num_layers": 3}
    model = GPT(ModelConfig.model_validate({**sizes, **changes}))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():  # biases too, so that a lost one shows
        torch.nn.init.normal_(parameter, float("norm.weight" in name), 0.1)
    return model.eval()


@pytest.fixture
def source(bytes_tokenizer, tmp_path) -> Path:
    save_model(build(), bytes_tokenizer, tmp_path / "model")
    return tmp_path / "model"


WAYS = [
    ("gguf", "x.gguf", None), ("gguf", "x.gguf", "float16"), ("gguf", "x.gguf", "bfloat16"),
    ("gguf", "x.gguf", "q8_0"), ("gguf", "x.gguf", "q5_0"), ("gguf", "x.gguf", "q4_0"),
    ("hf", "hf", "float16"), ("hf", "hf", "bfloat16"), ("openai", "117M", None), ("book", "model.pth", None),
    ("book", "model.safetensors", "bfloat16"), ("nanogpt", "ckpt.pt", None), ("llmc", "model.bin", "bfloat16"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "name", "dtype"), WAYS)
def test_every_way_out_holds_and_leads_back(source, tmp_path, form, name, dtype, bytes_tokenizer):
    certificate = convert(source, tmp_path / "out" / name, form, dtype)
    assert certificate.failures == []
    exact = dtype is None
    assert (max(line.largest_difference for line in certificate.tensors) == 0) == exact
    assert (certificate.logits.largest_difference == 0) == exact
    assert certificate.greedy.of == 36
    assert certificate.greedy.agreed == 36 or not exact
    back = convert(tmp_path / "out" / name, tmp_path / "back", "hf", tokenizer=bytes_tokenizer)
    assert back.logits.largest_difference == 0
    if exact:
        before, after = load_model(source).state_dict(), load_model(tmp_path / "back").state_dict()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_certificate_lies_with_the_model_and_names_every_tensor(source, tmp_path):
    certificate = convert(source, tmp_path / "model.gguf", "gguf", "q8_0")
    written = json.loads((tmp_path / "model.gguf.certificate.json").read_text())
    assert written == json.loads(certificate.model_dump_json())
    assert written["source"]["files"]["model.safetensors"] == sha256(source / "model.safetensors")
    assert written["destination"]["files"] == {"model.gguf": sha256(tmp_path / "model.gguf")}
    assert {line["name"] for line in written["tensors"]} == set(build().state_dict())
    qkv = next(line for line in written["tensors"] if line["name"] == "blocks.1.attention.qkv.weight")
    assert (qkv["source"], qkv["destination"]) == (["transformer.h.1.attn.c_attn.weight"], ["blk.1.attn_qkv.weight"])
    assert (qkv["shape"], qkv["source_dtype"], qkv["dtype"], qkv["transposed"]) == ([192, 64], "float32", "Q8_0", True)
    assert 0 < qkv["largest_difference"] <= qkv["tolerance"]
    square = next(line for line in written["tensors"] if line["name"] == "blocks.1.attention.out.weight")
    assert square["transposed"]  # which its shape does not show

    convert(tmp_path / "model.gguf", tmp_path / "hf", "hf")
    assert certificate_path(tmp_path / "hf") == tmp_path / "hf" / "certificate.json"
    assert certificate_path(tmp_path / "hf").is_file()


@pytest.mark.parametrize("context_length", [1, 2, 13, 20])
def test_a_short_context_is_long_enough(bytes_tokenizer, tmp_path, context_length):
    save_model(build(context_length=context_length), bytes_tokenizer, tmp_path / "model")
    certificate = convert(tmp_path / "model", tmp_path / "model.bin", "llmc")
    assert certificate.greedy.agreed == certificate.greedy.of == 3 * min(12, context_length)


def test_what_a_format_cannot_say_is_remarked(bytes_tokenizer, tmp_path):
    """A padded vocabulary, an output layer of its own, no query/key/value bias, dropout, no tokenizer."""
    model = build(vocab_size=320, tied_head=False, qkv_bias=False, dropout=0.1)
    write_model(Opened.of(model), "book", tmp_path / "model.pth")
    with pytest.raises(ValueError, match="a GGUF file holds a tokenizer, this model came without one: name it"):
        convert(tmp_path / "model.pth", tmp_path / "model.gguf", "gguf")
    certificate = convert(tmp_path / "model.pth", tmp_path / "model.gguf", "gguf", tokenizer=bytes_tokenizer)
    assert certificate.remarks == [
        "attention masks dropped",
        "padded vocabulary 320 cut to 257",
        "it has no query/key/value bias, and reads so again; where the format wants one, zeros are stored",
        "its output layer is not tied to the token embedding: it is stored as a tensor of its own",
        "the format does not store dropout: 0.1 before, 0.0 when read again",
    ]
    assert certificate.destination.config.vocab_size == 257
    assert certificate.logits.largest_difference == 0
    tied = convert(write_tied(tmp_path), tmp_path / "tied.pth", "book")
    assert "the format does not store the tokenizer" in tied.remarks


def write_tied(folder: Path) -> Path:
    from glassgpt.tokenizer.vocabulary import BYTES

    save_model(build(), Tokenizer(BYTES), folder / "tied")
    return folder / "tied"


def test_a_changed_number_is_noticed_and_nothing_appears(source, tmp_path, monkeypatch):
    """The positive control: a writer that loses the sign of one number of 786,000."""
    from glassgpt.weights import gguf as module

    store = module._store

    def careless(tensor, kind):
        stored = store(tensor, kind)
        if stored.shape == (192, 64):
            stored = stored.copy()
            stored[100, 7] *= -1
        return stored

    monkeypatch.setattr(module, "_store", careless)
    with pytest.raises(DoesNotHold, match=r"blocks\.0\.attention\.qkv\.weight is off by .*, beyond 0; ") as caught:
        convert(source, tmp_path / "model.gguf", "gguf")
    assert caught.value.certificate.failures
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_wrong_computation_is_noticed(source, tmp_path, monkeypatch):
    """The same weights under another activation: only running the graph shows it."""
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    from glassgpt.weights import onnx as module

    exported = module.exported

    def careless(config):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "gelu", lambda x, approximate: torch._C._nn.gelu(x))
            return exported(config)

    monkeypatch.setattr(module, "exported", careless)
    with pytest.raises(DoesNotHold, match="the conversion changed the model: logits is off by"):
        convert(source, tmp_path / "onnx", "onnx")
    assert not (tmp_path / "onnx").exists()


def test_what_exists_is_never_overwritten(source, tmp_path):
    (tmp_path / "model.gguf").write_text("precious")
    with pytest.raises(FileExistsError, match="remove it or choose another name"):
        convert(source, tmp_path / "model.gguf", "gguf")
    assert (tmp_path / "model.gguf").read_text() == "precious"


@pytest.mark.parametrize(("form", "tensors"), [("gguf", 1), ("gguf", 39), ("hf", 20)])
def test_a_killed_conversion_leaves_nothing_at_its_destination(source, tmp_path, form, tensors):
    script = f"""
import os, signal
from pathlib import Path
from glassgpt.weights.conversion import convert

def die(name, done, total):
    if done == {tensors}:
        os.kill(os.getpid(), signal.SIGKILL)

convert(Path({str(source)!r}), Path({str(tmp_path / "out")!r}), {form!r}, progress=die)
"""
    killed = subprocess.run([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert all(path.name.startswith(".out.") for path in tmp_path.iterdir() if path.name != "model")
    convert(source, tmp_path / "out", form)
    assert open_model(tmp_path / "out").config == build().config
