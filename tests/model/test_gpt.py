import pytest
import torch

from glassgpt.model.attention import attend
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize, use_attention
from glassgpt.model.keys import key


def test_logits_have_a_row_a_token(model):
    assert model(torch.zeros(2, 5, dtype=torch.long)).shape == (2, 5, 257)


def test_a_token_sees_no_later_one(model):
    tokens = torch.arange(12)[None]
    changed = tokens.clone()
    changed[0, 7:] += 1
    assert torch.equal(model(tokens)[:, :7], model(changed)[:, :7])
    assert not torch.equal(model(tokens)[:, 7:], model(changed)[:, 7:])


def test_too_many_tokens_are_refused(model):
    with pytest.raises(ValueError, match="33 tokens do not fit the context of 32"):
        model(torch.zeros(1, 33, dtype=torch.long))


def test_another_attention_takes_the_place_of_the_core(model):
    tokens = torch.arange(10)[None]
    expected, calls = model(tokens), []

    def recording(q, k, v, visible, dropout):
        calls.append(q.shape)
        return attend(q, k, v, visible, dropout)

    use_attention(model, recording)
    assert torch.equal(model(tokens), expected)
    assert calls == [(1, 3, 10, 16)] * 3


def test_initial_weights_depend_on_seed_and_name_only(tiny):
    deeper = tiny.model_copy(update={"num_layers": 5, "tied_head": False})
    first, second = initialize(GPT(tiny), 7), initialize(GPT(deeper), 7)
    assert torch.equal(first.token_embedding.weight, second.token_embedding.weight)
    assert not torch.equal(first.token_embedding.weight, initialize(GPT(tiny), 8).token_embedding.weight)


def test_initial_weights_are_gpt2s():
    model = initialize(GPT(ModelConfig(vocab_size=500, emb_dim=192, num_layers=8)), 1)
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[3].mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[3].mlp.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.02)
    assert model.blocks[3].attention.qkv.bias.abs().max() == 0
    assert model.final_norm.weight.min() == 1


def test_dropout_acts_in_training_only(tiny):
    model = initialize(GPT(tiny.model_copy(update={"dropout": 0.5})), 1)
    tokens = torch.arange(10)[None]
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_a_key_is_the_documented_hash():
    assert key("dropout", 1, 42, 7, 0) == 4753066531244597098
