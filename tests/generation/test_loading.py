"""A model loads in the precision that was asked for, or is refused; what is saved loads as it was."""

import pytest
import torch

import glassgpt
from glassgpt.generation.loading import random_in
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.quantization.precision import PRECISIONS, precision_of
from glassgpt.weights.directory import save_model

TEXT = "Once upon a time there was a model that had read very little."


@pytest.fixture
def directory(model, bytes_tokenizer, tmp_path):
    LanguageModel(model, bytes_tokenizer).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_model_in_any_precision_is_saved_and_loaded_as_it_was(directory, tmp_path, precision):
    gpt = glassgpt.load(directory, precision)
    assert gpt.precision == precision
    gpt.save(tmp_path / "again")
    again = glassgpt.load(tmp_path / "again", "bfloat16" if precision == "bfloat16" else None)
    assert again.precision == precision
    assert again.logprobs([TEXT]) == gpt.logprobs([TEXT])
    assert again.generate("Once", seed=1, max_new_tokens=10) == gpt.generate("Once", seed=1, max_new_tokens=10)


def test_the_default_is_float32_or_what_is_stored(directory, tmp_path):
    assert glassgpt.load(directory).precision == "float32"
    glassgpt.load(directory, "int4").save(tmp_path / "small")
    assert glassgpt.load(tmp_path / "small").precision == "int4"


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "int4"])
@torch.inference_mode()
def test_the_cache_and_the_activations_stay_float32(directory, precision):
    gpt = glassgpt.load(directory, precision)
    assert gpt.model.hidden(torch.tensor([[1, 2, 3]])).dtype == torch.float32
    assert gpt.model(torch.tensor([[1, 2, 3] * 10])).dtype == torch.float32
    assert gpt.writer(num_rows=1).engine.cache.layers[0].k.dtype == torch.float32


def test_what_cannot_be_had_is_refused(directory, tmp_path):
    glassgpt.load(directory, "int8").save(tmp_path / "small")
    with pytest.raises(ValueError, match="small is stored as int8, int4 was asked for: quantize the original"):
        glassgpt.load(tmp_path / "small", "int4")
    with pytest.raises(ValueError, match="there is no precision 'int3': choose one of float32, bfloat16, int8, int4"):
        glassgpt.load(directory, "int3")


def test_random_weights_need_no_file():
    config = ModelConfig(vocab_size=50, context_length=16, emb_dim=128, num_heads=2, num_layers=2)
    model = random_in(config, "int8")
    assert model.config == config
    assert precision_of(model) == "int8"
    assert precision_of(random_in(config, None)) == "float32"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_of_a_padded_vocabulary_are_never_chosen(model, bytes_tokenizer, tmp_path, precision):
    """A vocabulary is often padded to a multiple of 64; here the likeliest tokens are padding."""
    padded = GPT(model.config.model_copy(update={"vocab_size": 320})).eval()
    rows = torch.cat([model.token_embedding.weight, 10 * model.token_embedding.weight[:63]])
    padded.load_state_dict({**model.state_dict(), "token_embedding.weight": rows})
    save_model(padded, bytes_tokenizer, tmp_path / "padded")
    save_model(model, bytes_tokenizer, tmp_path / "plain")
    found, expected = (glassgpt.load(tmp_path / name, precision) for name in ("padded", "plain"))
    assert found.model.config == model.config
    assert found.generate("Once", seed=1, max_new_tokens=20) == expected.generate("Once", seed=1, max_new_tokens=20)
    assert found.logprobs([TEXT]) == expected.logprobs([TEXT])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", [None, "int4"])
def test_weights_that_are_no_numbers_are_refused(model, bytes_tokenizer, tmp_path, number, precision):
    model.blocks[1].mlp.up.weight.data[3, 3] = number
    save_model(model, bytes_tokenizer, tmp_path / "model")
    with pytest.raises(ValueError, match=r"model: blocks\.1\.mlp\.up\.weight holds NaN or infinity: the training"):
        glassgpt.load(tmp_path / "model", precision)
