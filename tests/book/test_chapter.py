"""The chapter's classes by themselves; their seeded numbers are in test_verify.py."""

import pytest
import tiktoken
import torch

from glassgpt.book import (
    GELU,
    GPT_CONFIG_124M,
    ExampleDeepNeuralNetwork,
    GPTModel,
    LayerNorm,
    MultiHeadAttention,
    generate_text_simple,
    gradient_means,
    text_to_token_ids,
    token_ids_to_text,
)
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.vocabulary import PATTERN

TINY = {**GPT_CONFIG_124M, "vocab_size": 50, "context_length": 6, "emb_dim": 12, "n_heads": 3, "n_layers": 2}


def test_the_parts_have_the_names_of_the_book():
    block = [
        "att.mask",
        *("att.W_query.weight", "att.W_key.weight", "att.W_value.weight", "att.out_proj.weight", "att.out_proj.bias"),
        *("ff.layers.0.weight", "ff.layers.0.bias", "ff.layers.2.weight", "ff.layers.2.bias"),
        *("norm1.scale", "norm1.shift", "norm2.scale", "norm2.shift"),
    ]
    assert list(GPTModel(TINY).state_dict()) == [
        "tok_emb.weight",
        "pos_emb.weight",
        *(f"trf_blocks.{layer}.{name}" for layer in range(2) for name in block),
        *("final_norm.scale", "final_norm.shift", "out_head.weight"),
    ]


def test_layer_norm_is_that_of_pytorch():
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(LayerNorm(8)(x), torch.nn.LayerNorm(8)(x), rtol=0, atol=1e-6)


def test_gelu_is_the_tanh_approximation_of_pytorch():
    x = torch.linspace(-6, 6, 1001)
    torch.testing.assert_close(GELU()(x), torch.nn.functional.gelu(x, approximate="tanh"), rtol=0, atol=1e-6)


def test_attention_does_not_look_ahead():
    attention = MultiHeadAttention(d_in=8, d_out=12, context_length=5, dropout=0.0, num_heads=3, qkv_bias=True)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 3:] += 1
    before, after = attention(x), attention(changed)
    assert before.shape == (2, 5, 12)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="d_out 12 is not divisible by num_heads 5"):
        MultiHeadAttention(d_in=12, d_out=12, context_length=4, dropout=0.0, num_heads=5)


def test_each_place_may_have_its_own_drop_rate():
    rates = {"drop_rate_emb": 0.1, "drop_rate_attn": 0.2, "drop_rate_shortcut": 0.3}
    model = GPTModel({key: value for key, value in TINY.items() if key != "drop_rate"} | rates)
    block = model.trf_blocks[0]
    assert (model.drop_emb.p, block.att.dropout.p, block.drop_shortcut.p) == (0.1, 0.2, 0.3)


def test_shortcuts_keep_the_first_gradient_alive():
    x = torch.tensor([[1.0, 0.0, -1.0]])
    first = {}
    for use_shortcut in (False, True):
        torch.manual_seed(123)
        means = gradient_means(ExampleDeepNeuralNetwork([3, 3, 3, 3, 3, 1], use_shortcut), x)
        assert list(means) == [f"layers.{layer}.0.weight" for layer in range(5)]
        first[use_shortcut] = means["layers.0.0.weight"]
    assert first[True] > 100 * first[False]


def test_generation_goes_on_when_the_context_is_full():
    torch.manual_seed(123)
    model = GPTModel(TINY).eval()
    start = torch.tensor([[1, 2, 3], [4, 5, 6]])
    ids = generate_text_simple(model, start, max_new_tokens=10, context_size=TINY["context_length"])
    assert ids.shape == (2, 13)
    assert torch.equal(ids[:, :3], start)
    assert torch.equal(ids[:, -1], model(ids[:, -7:-1])[:, -1].argmax(dim=-1))


def test_text_goes_through_either_tokenizer():
    text = "Hello, I am<|endoftext|>"
    ours, vocabulary = gpt2(), gpt2().tokens
    theirs = tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERN,
        mergeable_ranks={token: id for id, token in enumerate(vocabulary)},
        special_tokens={"<|endoftext|>": ours.eot},
    )
    for tokenizer in (ours, theirs):
        ids = text_to_token_ids(text, tokenizer)
        assert ids.tolist() == [[15496, 11, 314, 716, 50256]]
        assert token_ids_to_text(ids, tokenizer) == text
