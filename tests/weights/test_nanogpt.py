"""nanoGPT's model, written out again below, is the judge; where the real one is at hand, it judges too."""

import importlib.util
import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.model.gpt import GPT
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.opened import Opened

TOKENS = torch.arange(50).view(2, 25) * 5
ARGUMENTS = {"n_layer": 3, "n_head": 3, "n_embd": 48, "block_size": 32, "bias": True, "vocab_size": 257, "dropout": 0.1}
REAL = Path(os.environ.get("NANOGPT_MODEL", "nanoGPT/model.py"))


class NanoGPT(nn.Module):
    """The parameters of nanoGPT's GPT under its names, and what it computes, with the GELU of our model."""

    def __init__(self, n_layer, n_head, n_embd, block_size, bias, vocab_size, dropout, gelu="tanh"):
        super().__init__()
        self.n_head, self.gelu = n_head, gelu

        def norm():
            return nn.LayerNorm(n_embd, bias=bias)

        def block():
            attention = {"c_attn": nn.Linear(n_embd, 3 * n_embd, bias), "c_proj": nn.Linear(n_embd, n_embd, bias)}
            mlp = {"c_fc": nn.Linear(n_embd, 4 * n_embd, bias), "c_proj": nn.Linear(4 * n_embd, n_embd, bias)}
            parts = {"attn": nn.ModuleDict(attention), "mlp": nn.ModuleDict(mlp)}
            return nn.ModuleDict({"ln_1": norm(), "attn": parts["attn"], "ln_2": norm(), "mlp": parts["mlp"]})

        wte, wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        blocks = nn.ModuleList(block() for _ in range(n_layer))
        self.transformer = nn.ModuleDict({"wte": wte, "wpe": wpe, "h": blocks, "ln_f": norm()})
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        wte.weight = self.lm_head.weight
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, 0.2)

    def forward(self, tokens: Tensor) -> Tensor:
        net = self.transformer
        x = net.wte(tokens) + net.wpe(torch.arange(tokens.shape[1]))
        for block in net.h:
            q, k, v = block.attn.c_attn(block.ln_1(x)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + block.attn.c_proj(y)
            x = x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(block.ln_2(x)), approximate=self.gelu))
        return self.lm_head(net.ln_f(x))


def saved(path: Path, model: nn.Module, arguments=ARGUMENTS, prefix="") -> Path:
    """A checkpoint as nanoGPT's train.py writes it, with its optimizer."""
    optimizer = torch.optim.AdamW(model.parameters())
    model(TOKENS).sum().backward()
    optimizer.step()
    state = OrderedDict((prefix + name, tensor) for name, tensor in model.state_dict().items())
    checkpoint = {
        "model": state, "optimizer": optimizer.state_dict(), "model_args": arguments, "iter_num": 2000,
        "best_val_loss": torch.tensor(1.5), "config": {"dataset": "shakespeare_char", "compile": True, "beta2": 0.99},
    }  # fmt: skip
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_logits_are_equal(tmp_path, prefix):
    theirs = NanoGPT(**ARGUMENTS)
    opened = open_model(saved(tmp_path / "ckpt.pt", theirs, prefix=prefix))
    assert opened.format == "nanogpt"
    assert (opened.config.dropout, opened.facts["iter_num"]) == (0.1, 2000)
    assert any("_orig_mod." in note for note in opened.facts["notes"]) == bool(prefix)
    with torch.no_grad():
        torch.testing.assert_close(opened.build()(TOKENS), theirs(TOKENS), rtol=1e-5, atol=1e-4)


def test_a_model_without_biases_is_read_with_zeros(tmp_path):
    theirs = NanoGPT(**ARGUMENTS | {"bias": False})
    opened = open_model(saved(tmp_path / "ckpt.pt", theirs, ARGUMENTS | {"bias": False}))
    assert not opened.config.qkv_bias
    assert not opened.tensors["blocks.1.mlp.up.bias"].any()
    assert any("zeros stand for them" in note for note in opened.facts["notes"])
    with torch.no_grad():
        torch.testing.assert_close(opened.build()(TOKENS), theirs(TOKENS), rtol=1e-5, atol=1e-4)


def test_masks_are_dropped(tmp_path):
    theirs = NanoGPT(**ARGUMENTS)
    for block in theirs.transformer.h:
        block.attn.register_buffer("bias", torch.ones(1, 1, 32, 32).tril())
    opened = open_model(saved(tmp_path / "ckpt.pt", theirs))
    assert "attention masks dropped" in opened.facts["notes"]


def test_a_padded_vocabulary_is_cut_by_the_tokenizer(tmp_path, bytes_tokenizer, gpt2_tokenizer):
    theirs = NanoGPT(**ARGUMENTS | {"vocab_size": 320})
    opened = open_model(saved(tmp_path / "ckpt.pt", theirs, ARGUMENTS | {"vocab_size": 320}))
    assert opened.config.vocab_size == 320
    cut = opened.with_tokenizer(bytes_tokenizer)
    assert cut.config.vocab_size == 257
    assert "padded vocabulary 320 cut to 257" in cut.facts["notes"]
    with torch.no_grad():
        assert torch.equal(cut.build()(TOKENS), opened.build()(TOKENS)[..., :257])
    with pytest.raises(ValueError, match="the tokenizer has 50257 tokens, the model only 320"):
        opened.with_tokenizer(gpt2_tokenizer)


def test_what_is_written_nanogpt_resumes_from(model, tmp_path):
    write_model(Opened.of(model), "nanogpt", tmp_path / "ckpt.pt")
    checkpoint = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    theirs = NanoGPT(**checkpoint["model_args"])
    theirs.load_state_dict(checkpoint["model"], strict=True)
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS), model(TOKENS), rtol=1e-5, atol=1e-4)
        assert torch.equal(open_model(tmp_path / "ckpt.pt").build()(TOKENS), model(TOKENS))


def test_the_exact_gelu_differs_a_little(model, tmp_path):
    """What the note of every opened checkpoint says."""
    write_model(Opened.of(model), "nanogpt", tmp_path / "ckpt.pt")
    checkpoint = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    exact = NanoGPT(**checkpoint["model_args"], gelu="none")
    exact.load_state_dict(checkpoint["model"])
    with torch.no_grad():
        difference = (exact(TOKENS) - model(TOKENS)).abs().max() / model(TOKENS).abs().max()
    assert 1e-6 < difference < 5e-3


def test_the_real_nanogpt_agrees(model, tmp_path, monkeypatch):
    if not REAL.is_file():
        pytest.skip(f"nanoGPT's model.py is not at {REAL}: name its path in NANOGPT_MODEL")
    spec = importlib.util.spec_from_file_location("nanogpt_model", REAL)
    real = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nanogpt_model", real)
    spec.loader.exec_module(real)
    write_model(Opened.of(model), "nanogpt", tmp_path / "ckpt.pt")
    checkpoint = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    theirs = real.GPT(real.GPTConfig(**checkpoint["model_args"])).eval()
    theirs.load_state_dict(checkpoint["model"])
    for block in theirs.transformer.h:
        block.mlp.gelu = nn.GELU(approximate="tanh")
    with torch.no_grad():
        logits = theirs(TOKENS, TOKENS)[0]  # with targets it computes the logits of every position
        torch.testing.assert_close(logits, model(TOKENS), rtol=1e-5, atol=1e-4)

    torch.save({"model": theirs.state_dict(), "model_args": checkpoint["model_args"]}, tmp_path / "theirs.pt")
    assert torch.equal(open_model(tmp_path / "theirs.pt").build()(TOKENS), model(TOKENS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("model_args"), "it holds a dictionary of 'model', 'optimizer', .* no model_args"),
        (lambda c: c.pop("model"), "no model: neither nanoGPT's nor the book's"),
        (lambda c: c["model_args"].update(rope=True), "its model_args have rope"),
        (lambda c: c["model_args"].update(n_head=5), "emb_dim 48 is not divisible by num_heads 5"),
        (lambda c: c["model_args"].update(n_layer="3"), "num_layers: Input should be a valid integer"),
        (lambda c: c["model_args"].update(n_layer=2), r"unexpected: transformer\.h\.2"),
        (lambda c: c["model"].pop("transformer.wpe.weight"), r"missing: transformer\.wpe\.weight"),
        (lambda c: c["model"].update({"lm_head.weight": torch.zeros(257, 48)}), r"lm_head\.weight differs"),
        (lambda c: c["model"].update({"transformer.wpe.weight": torch.zeros(32, 48).int()}), "is stored as int32"),
    ],
)
def test_checkpoints_that_contradict_themselves_are_refused(tmp_path, change, message):
    path = saved(tmp_path / "ckpt.pt", NanoGPT(**ARGUMENTS), dict(ARGUMENTS))
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=message) as refused:
        open_model(path)
    assert str(path) in str(refused.value)


def test_what_nanogpt_cannot_express_is_refused(tiny, tmp_path):
    for change in ({"tied_head": False}, {"norm_eps": 1e-6}):
        with pytest.raises(ValueError, match=r"nanoGPT always ties|nanoGPT normalises with epsilon 1e-5"):
            write_model(Opened.of(GPT(tiny.model_copy(update=change))), "nanogpt", tmp_path / "ckpt.pt")
    assert list(tmp_path.iterdir()) == []
