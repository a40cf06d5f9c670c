import pytest
import torch

from glassgpt.book import GPT_CONFIG_124M
from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.model.gpt import GPT


@pytest.mark.parametrize("name", SIZES)
def test_the_formula_counts_what_the_model_has(name):
    for tied_head in (True, False):
        config = ModelConfig.named(name, tied_head=tied_head, qkv_bias=tied_head)
        with torch.device("meta"):
            model = GPT(config)
        assert sum(parameter.numel() for parameter in model.parameters()) == config.num_parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("gpt2", 124_439_808), ("gpt2-medium", 354_823_168), ("gpt2-large", 774_030_080), ("gpt2-xl", 1_557_611_200)],
)
def test_published_sizes(name, parameters):
    assert ModelConfig.named(name).num_parameters == parameters


@pytest.mark.parametrize(
    ("alias", "name"),
    [("117M", "gpt2"), ("345M", "gpt2-medium"), ("762M", "gpt2-large"), ("1542M", "gpt2-xl"), ("124M", "gpt2"),
     ("1558M", "gpt2-xl"), ("175B", "gpt3-175b")],
)  # fmt: skip
def test_other_names_of_a_size(alias, name):
    assert ModelConfig.named(alias) == ModelConfig.named(name)


def test_from_book():
    config = ModelConfig.from_book(GPT_CONFIG_124M)
    assert config.num_parameters == 163_009_536
    assert (config.num_heads, config.num_layers, config.dropout, config.tied_head) == (12, 12, 0.1, False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig.named("gpt9"), "no published size is called 'gpt9'"),
        (lambda: ModelConfig(emb_dim=770), "emb_dim 770 is not divisible by num_heads 12"),
        (lambda: ModelConfig(num_layer=3), "num_layer"),
        (lambda: ModelConfig(dropout=1.0), "dropout"),
        (lambda: ModelConfig.from_book({**GPT_CONFIG_124M, "heads": 3}), "unknown: heads"),
        (lambda: ModelConfig.from_book({"vocab_size": 3}), "missing: context_length"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
