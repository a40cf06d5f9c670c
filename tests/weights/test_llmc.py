"""A reader of llm.c's file, written from its documentation, is the judge."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from glassgpt.model.gpt import GPT
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.names import NANOGPT
from glassgpt.weights.opened import Opened
from glassgpt.weights.translate import write_as

TOKENS = torch.arange(50).view(2, 25) * 5


def documented(path: Path) -> dict[str, np.ndarray]:
    """What the file says, taken apart as train_gpt2.c does: sizes from the header, then sixteen kinds of tensors."""
    content = bytearray(path.read_bytes())
    magic, version, T, V, L, _, C, padded = struct.unpack_from("<8i", content)
    assert magic == 20240326
    kind = {3: "<f4", 5: "<u2"}[version]
    shapes = {
        "wte": (padded, C), "wpe": (T, C), "ln_1.weight": (L, C), "ln_1.bias": (L, C),
        "attn.c_attn.weight": (L, 3 * C, C), "attn.c_attn.bias": (L, 3 * C),
        "attn.c_proj.weight": (L, C, C), "attn.c_proj.bias": (L, C), "ln_2.weight": (L, C), "ln_2.bias": (L, C),
        "mlp.c_fc.weight": (L, 4 * C, C), "mlp.c_fc.bias": (L, 4 * C),
        "mlp.c_proj.weight": (L, C, 4 * C), "mlp.c_proj.bias": (L, C), "ln_f.weight": (C,), "ln_f.bias": (C,),
    }  # fmt: skip
    numbers, tensors = np.frombuffer(content, kind, offset=1024), {"V": V, "padded": padded}
    for name, shape in shapes.items():
        tensors[name], numbers = numbers[: np.prod(shape)].reshape(shape), numbers[np.prod(shape) :]
    assert len(numbers) == 0
    return tensors


@pytest.fixture
def path(model, tmp_path) -> Path:
    write_model(Opened.of(model), "llmc", tmp_path / "model.bin")
    return tmp_path / "model.bin"


def test_what_is_written_is_as_documented(path, model):
    theirs, wanted = documented(path), write_as(NANOGPT, model.state_dict(), model.config)
    assert (theirs["V"], theirs["padded"]) == (257, 384)
    assert not theirs["wte"][257:].any()
    assert np.array_equal(theirs["wte"][:257], wanted["transformer.wte.weight"])
    for name in ("ln_1.bias", "attn.c_attn.weight", "attn.c_proj.bias", "ln_2.weight", "mlp.c_fc.weight"):
        for layer in range(3):
            assert np.array_equal(theirs[name][layer], wanted[f"transformer.h.{layer}.{name}"])
    assert np.array_equal(theirs["ln_f.bias"], wanted["transformer.ln_f.bias"])


def test_logits_are_equal(path, model):
    opened = open_model(path)
    assert (opened.format, opened.config, opened.tokenizer) == ("llmc", model.config, None)
    assert "padded vocabulary 384 cut to 257" in opened.facts["notes"]
    assert torch.equal(opened.build()(TOKENS), model(TOKENS))


def test_bfloat16_keeps_what_bfloat16_can(model, tmp_path):
    write_model(Opened.of(model), "llmc", tmp_path / "model.bin", "bfloat16")
    opened = open_model(tmp_path / "model.bin")
    assert set(opened.facts["dtypes"].values()) == {"bfloat16"}
    wpe = torch.from_numpy(documented(tmp_path / "model.bin")["wpe"].view(np.int16)).view(torch.bfloat16)
    assert torch.equal(wpe, model.position_embedding.weight.bfloat16())
    torch.testing.assert_close(opened.build()(TOKENS), model(TOKENS), rtol=0.05, atol=0.5)
    assert torch.equal(opened.build()(TOKENS), model.bfloat16().float()(TOKENS))


def test_rows_that_training_gave_the_padding_are_cut(path, model):
    content = bytearray(path.read_bytes())
    start = 1024 + 257 * 48 * 4
    content[start : start + 127 * 48 * 4] = np.ones(127 * 48, "<f4").tobytes()
    path.write_bytes(content)
    assert torch.equal(open_model(path).build()(TOKENS), model(TOKENS))


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (1, 2, "its version is 2, expected 3"),
        (2, 33, "its header announces"),
        (2, 0, "context_length: Input should be greater"),
        (3, 500, "pads a vocabulary of 500 to 384"),
        (3, -1, "vocab_size: Input should be greater"),
        (4, 2, "its header announces"),
        (4, 2**31 - 1, "num_layers: Input should be less"),
        (5, 5, "emb_dim 48 is not divisible by num_heads 5"),
        (6, 2**31 - 1, "emb_dim: Input should be less"),
        (6, 65535, "its header announces"),
        (7, 2**31 - 1, "pads a vocabulary of 257 to 2147483647"),
        (7, -1, "pads a vocabulary of 257 to -1"),
        (255, 1, "has more numbers than llm.c writes"),
    ],
)
def test_a_header_that_lies_is_refused(path, index, value, message):
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 4 * index, value)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        open_model(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("keep", [4, 1023, 1024, -1])
def test_a_cut_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"bytes 0 to 1,024 are needed|its header announces"):
        open_model(path)


def test_what_llmc_cannot_express_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"llm\.c always ties the output layer"):
        write_model(Opened.of(GPT(tiny.model_copy(update={"tied_head": False}))), "llmc", tmp_path / "model.bin")
    with pytest.raises(ValueError, match="llmc is not written as 'float16': choose one of float32, bfloat16"):
        write_model(Opened.of(GPT(tiny)), "llmc", tmp_path / "model.bin", "float16")
    assert list(tmp_path.iterdir()) == []
