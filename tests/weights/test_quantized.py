"""A quantized directory loads as what was written, reads as floats, and no other reader takes it for a model."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.int4 import quantize_int4
from glassgpt.quantization.matrix import matrices
from glassgpt.quantization.precision import use_precision
from glassgpt.training.torture.victim import Victim
from glassgpt.weights.conversion import convert
from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.files import chunks
from glassgpt.weights.files import read as read_tensors
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.opened import Opened
from glassgpt.weights.quantized import load_quantized, save_quantized, scheme_of

TOKENS = torch.arange(50).view(2, 25) * 5
STORAGES = ["int8", "int4"]


@pytest.fixture(params=STORAGES)
def directory(request, model, bytes_tokenizer, tmp_path) -> Path:
    write_model(Opened.of(model, bytes_tokenizer), "quantized", tmp_path / request.param, request.param)
    return tmp_path / request.param


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("changes", [{}, {"tied_head": False}, {"qkv_bias": False}, {"emb_dim": 51}])
@torch.inference_mode()
def test_what_is_loaded_is_what_was_quantized(tiny, bytes_tokenizer, tmp_path, storage, changes):
    """Also with an odd number of inputs, which leaves half a byte."""
    model = initialize(GPT(tiny.model_copy(update=changes)), seed=1).eval()
    write_model(Opened.of(model, bytes_tokenizer), "quantized", tmp_path / "model", storage)
    use_precision(model, storage)
    assert torch.equal(load_quantized(tmp_path / "model")(TOKENS), model(TOKENS))
    dense = {name: matrix.dense() for name, matrix in matrices(model).items()} | dict(model.named_parameters())
    opened = open_model(tmp_path / "model")
    assert opened.tensors.keys() == dense.keys()
    assert all(torch.equal(tensor, dense[name]) for name, tensor in opened.tensors.items())

    save_quantized(model, bytes_tokenizer, tmp_path / "again")
    first, second = (read_tensors(tmp_path / name / "quantized.safetensors") for name in ("model", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_group_of_its_own_comes_back(model, bytes_tokenizer, tmp_path):
    quantize_int4(model, group=128)
    save_quantized(model, bytes_tokenizer, tmp_path / "model")
    assert scheme_of(tmp_path / "model").group == 128
    assert torch.equal(load_quantized(tmp_path / "model")(TOKENS), model(TOKENS))


def test_matrices_lie_as_described_and_the_rest_under_its_usual_names(directory, model, bytes_tokenizer, tmp_path):
    stored = read_tensors(directory / "quantized.safetensors")
    save_model(model, bytes_tokenizer, tmp_path / "plain")
    plain = read_tensors(tmp_path / "plain" / "model.safetensors")
    name = "transformer.h.1.attn.c_attn.weight"
    values, scales = stored.pop(f"{name}.values"), stored.pop(f"{name}.scales").float()
    if directory.name == "int8":
        numbers = values * scales[:, None]
    else:
        numbers = torch.stack([values & 15, values >> 4], dim=2).flatten(1).float() - 8
        numbers *= scales.repeat_interleave(32, dim=1)[:, :48]
    assert (numbers.T - plain[name]).abs().max() < {"int8": 0.005, "int4": 0.1}[directory.name]
    kept = {name for name in stored if not name.endswith((".values", ".scales"))}
    assert kept == {name for name, t in plain.items() if t.dim() == 1 or name == "transformer.wpe.weight"}
    assert all(torch.equal(stored[name], plain[name]) for name in kept)


def test_it_becomes_any_other_format_with_proof(directory, tmp_path, model):
    certificate = convert(directory, tmp_path / "hf", "hf")
    assert certificate.logits.largest_difference == 0
    assert {line.source_dtype for line in certificate.tensors} == {"float32", "int8", directory.name}
    assert torch.equal(load_model(tmp_path / "hf")(TOKENS), open_model(directory).build()(TOKENS))


@pytest.mark.parametrize("storage", STORAGES)
def test_the_way_in_has_a_certificate_too(model, bytes_tokenizer, tmp_path, storage):
    save_model(model, bytes_tokenizer, tmp_path / "plain")
    assert convert(tmp_path / "plain", tmp_path / "model", "quantized", storage).failures == []


def test_transformers_refuses_it(directory):
    import transformers

    for loader in (transformers.AutoModelForCausalLM, transformers.GPT2LMHeadModel):
        with pytest.raises(OSError, match=r"no file named"):
            loader.from_pretrained(directory)


def test_readers_of_plain_weights_refuse_it_and_say_what_to_do(directory):
    with pytest.raises(ValueError, match=f"its weights are quantized: `glassgpt convert {directory} NEW --to hf`"):
        load_model(directory)


def test_a_file_that_does_not_fit_its_description_is_refused(directory):
    path = directory / "quantized.safetensors"
    tensors = read_tensors(path)
    name = "transformer.wte.weight.values"
    path.write_bytes(b"".join(chunks({**tensors, name: tensors[name].to(torch.int16)})))
    with pytest.raises(ValueError, match=rf"{directory}: token_embedding\.weight\.values is stored as torch\.int16"):
        load_quantized(directory)
    path.write_bytes(b"".join(chunks({**tensors, name: tensors[name][:, :7].contiguous()})))
    with pytest.raises(ValueError, match=r"misshapen: transformer\.wte\.weight\.values is \(257, 7\)"):
        open_model(directory)
    norm = "transformer.ln_f.weight"
    path.write_bytes(b"".join(chunks({**tensors, norm: tensors[norm].to(torch.int8)})))
    with pytest.raises(ValueError, match=r"final_norm\.weight is stored as int8: expected floating point"):
        load_quantized(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_quantized(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"storage": "int3"}, "storage: Input should be 'int8' or 'int4'"),
        ({"storage": "int8", "group": 32}, "int4 needs a group, int8 has none"),
        ({"storage": "int4", "group": 48}, "group: Input should be 32, 64 or 128"),
        ({"quant_method": "gptq"}, "quant_method: Input should be 'glassgpt'"),
    ],
)
def test_an_unknown_scheme_is_refused(directory, change, message):
    settings = json.loads((directory / "config.json").read_text())
    settings["quantization_config"] |= change
    (directory / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"config.json: quantization_config: .*{message}"):
        open_model(directory)


def test_a_killed_write_leaves_nothing(model, bytes_tokenizer, tmp_path):
    def die(tensor: str, done: int, total: int) -> None:
        if done == 20:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = Opened.of(model, bytes_tokenizer)
    victim = Victim(lambda _: write_model(opened, "quantized", tmp_path / "out" / "model", progress=die))
    assert victim.wait().code == -signal.SIGKILL
    assert not (tmp_path / "out" / "model").exists()
    write_model(opened, "quantized", tmp_path / "out" / "model")
    assert load_quantized(tmp_path / "out" / "model").config == model.config


def test_rows_beyond_the_tokenizer_are_cut(tiny, model, bytes_tokenizer, tmp_path):
    padded = initialize(GPT(tiny.model_copy(update={"vocab_size": 320})), seed=1).eval()
    padded.load_state_dict(model.state_dict() | {"token_embedding.weight": torch.ones(320, 48)})
    write_model(Opened.of(padded, bytes_tokenizer), "quantized", tmp_path / "model", "int8")
    assert load_quantized(tmp_path / "model").config.vocab_size == 257
