"""The chapter's numbers, section by section, and that verify notices when the code under it is wrong.

The sections with the full model of 163 million parameters run once, in tests/cli/test_verify_command.py.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glassgpt.book import chapter
from glassgpt.book.dropout import MKL, own_sampler
from glassgpt.book.ledger import read_ledger
from glassgpt.book.sections import SECTIONS, Chapter, model
from glassgpt.book.verify import judge, verify

FULL_MODEL = model.gpt, model.exercise_3, model.generate
QUICK = [id for section, ids in SECTIONS.items() if section not in FULL_MODEL for id in ids]


def verdicts(prefix: str) -> dict[str, str]:
    return {result.entry.id: result.verdict for result in verify(prefix)}


@pytest.mark.parametrize("prefix", QUICK)
def test_the_numbers_of_a_section_hold(prefix):
    expected = {id: "holds" for id in read_ledger() if id.startswith(prefix)}
    if "seed.training-time.rtx8000" in expected:
        expected["seed.training-time.rtx8000"] = "explained"
    assert verdicts(prefix) == expected


@pytest.mark.parametrize("section", [section for section in SECTIONS if section not in FULL_MODEL])
def test_a_section_computes_its_entries_and_no_others(section):
    computed = section(Chapter())
    assert sorted(computed) == sorted(id for id in read_ledger() if id.startswith(SECTIONS[section]))


def test_the_creation_order_is_the_chapters():
    assert read_ledger()["ch04.gpt.init-order"].agrees(model.creation_order())


def test_an_unknown_id_is_an_error():
    with pytest.raises(ValueError, match=r"no entry of the ledger begins with 'ch05'"):
        next(verify("ch05"))


def test_the_random_state_is_left_alone():
    state = torch.get_rng_state()
    list(verify("ch04.layernorm"))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_other_dropout_stream_is_named():
    remarks = {result.entry.id: result.remark for result in verify("ch04.block.output.train")}
    assert bool(remarks["ch04.block.output.train.intel"]) == (own_sampler() != MKL)


# Wrong implementations: each must be reported, or a verdict of "holds" means nothing.


def test_the_exact_gelu_is_noticed(monkeypatch):
    monkeypatch.setattr(chapter.GELU, "forward", lambda self, x: F.gelu(x))
    assert verdicts("ch04.gelu")["ch04.gelu.values"] == "differs"
    assert verdicts("ch04.feedforward")["ch04.feedforward.seeded-output"] == "differs"


def test_the_unbiased_variance_is_noticed(monkeypatch):
    def unbiased(self, x):
        return self.scale * (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + self.eps) + self.shift

    monkeypatch.setattr(chapter.LayerNorm, "forward", unbiased)
    assert verdicts("ch04.layernorm.class") == {
        "ch04.layernorm.class": "differs",
        "ch04.layernorm.class-output": "differs",
    }


class KeyBeforeQuery(chapter.MultiHeadAttention):
    def __init__(self, *, d_in, d_out, qkv_bias, **rest):
        key = nn.Linear(d_in, d_out, bias=qkv_bias)
        super().__init__(d_in=d_in, d_out=d_out, qkv_bias=qkv_bias, **rest)
        self.W_key = key


class FusedAttention(chapter.MultiHeadAttention):
    """The same function, its three projections created as one."""

    def __init__(self, *, d_in, d_out, qkv_bias, **rest):
        qkv = nn.Linear(d_in, 3 * d_out, bias=qkv_bias)
        super().__init__(d_in=d_in, d_out=d_out, qkv_bias=qkv_bias, **rest)
        for layer, weight in zip((self.W_query, self.W_key, self.W_value), qkv.weight.split(d_out), strict=True):
            layer.weight = nn.Parameter(weight)


@pytest.mark.parametrize("wrong", [KeyBeforeQuery, FusedAttention])
def test_another_creation_order_is_noticed(wrong, monkeypatch):
    monkeypatch.setattr(chapter, "MultiHeadAttention", wrong)
    got = verdicts("ch04.block")
    assert got["ch04.block.shape"] == got["ch04.block.input"] == "holds"
    assert got["ch04.block.output.eval"] == got["ch04.block.output.train"] == "differs"
    assert not read_ledger()["ch04.gpt.init-order"].agrees(model.creation_order())


def test_one_random_number_too_many_is_noticed(monkeypatch):
    class OneDrawMore(chapter.TransformerBlock):
        def __init__(self, cfg):
            torch.rand(1)
            super().__init__(cfg)

    monkeypatch.setattr(chapter, "TransformerBlock", OneDrawMore)
    assert verdicts("ch04.block.output.eval") == {"ch04.block.output.eval": "differs"}


def test_a_missing_dropout_is_noticed_and_not_blamed_on_the_machine(monkeypatch):
    def forward(self, x):
        x = x + self.att(self.norm1(x))  # no dropout after attention
        return x + self.drop_shortcut(self.ff(self.norm2(x)))

    monkeypatch.setattr(chapter.TransformerBlock, "forward", forward)
    assert verdicts("ch04.block.output") == {
        "ch04.block.output.eval": "holds",
        "ch04.block.output.train": "differs",
        "ch04.block.output.train.intel": "differs",
    }


# What is explained, and what is not.


def test_a_figure_of_the_text_that_does_not_follow_is_explained_by_our_own():
    entry = read_ledger()["seed.training-time.rtx8000"]
    assert judge(entry, {"years": 663.79}).verdict == "explained"
    assert judge(entry, {"years": 600.0}).verdict == "differs"


def test_a_name_inside_pytorch_is_shown_and_not_required():
    result = judge(read_ledger()["seed.dummy.grad-fn"], {"grad_fn": "MmBackward0"})
    assert (result.verdict, result.got) == ("explained", {"grad_fn": "MmBackward0"})


def test_another_random_stream_explains_seeded_numbers_and_no_others(monkeypatch):
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *size: -randn(*size))
    got = verdicts("ch04.layernorm")
    assert got["ch04.layernorm.input"] == "explained"
    assert judge(read_ledger()["ch04.layernorm.params"], {"parameters": 1}).verdict == "differs"
