"""Section 4.1 computed: the settings, the sizes the text gives, the tokens, the placeholder model."""

from __future__ import annotations

import inspect
import math
import re

import torch
from torch import nn

from glassgpt.book import chapter, dummy
from glassgpt.book.dropout import DEFAULT, MKL
from glassgpt.book.sections.shared import Chapter, Seeded, Values, ends, num_parameters, on_meta, row_ends
from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.gpt2 import gpt2

REPORT_SIZES = "117M", "345M", "762M", "1542M"
FIRST_GPT_VOCABULARY = 40_000 + 478  # merges and characters of the first GPT's tokenizer
YEAR, JULIAN_YEAR = 365 * 86400, 365.25 * 86400  # seconds
V100, RTX_8000 = 28e12, 15e12  # FLOP/s, as the text assumes them


def settings(run: Chapter) -> Values:
    """The configuration dictionary and what each of its keys means."""
    got: Values = {}
    got["seed.config"] = dict(run.config)

    tokens = gpt2().tokens
    got["seed.vocabulary"] = {
        "vocab_size": gpt2().vocab_size,
        "byte_tokens": sum(len(token) == 1 for token in tokens),
        "merges": sum(len(token) > 1 for token in tokens),
        "special_tokens": gpt2().vocab_size - len(tokens),
    }

    model = on_meta(chapter.GPTModel, run.config)
    width = model.tok_emb(run.batch.to("meta")).shape[-1]
    got["seed.embedding-width"] = {"emb_dim": width, "head_dim": model.trf_blocks[0].att.head_dim}

    torch.manual_seed(123)
    kept = model.drop_emb.train()(torch.ones(1_000_000))
    percent = round(100 * (kept == 0).float().mean().item())
    got["seed.dropout"] = {"drop_rate": model.drop_emb.p, "percent": percent, "scale_of_kept": kept.max()}
    return got


def sizes(run: Chapter) -> Values:
    """The sizes of GPT-2 and GPT-3 in the text, from exact counts."""
    got: Values = {}
    counts = [ModelConfig.named(size).num_parameters for size in REPORT_SIZES]
    tied = ModelConfig.named("gpt2", qkv_bias=False).num_parameters
    got["seed.size.small"] = {
        "millions": in_millions([tied])[0],
        "exact_tied_no_qkv_bias": tied,
        "exact_tied_qkv_bias": counts[0],
    }

    # The sizes of GPT-2's first report come out with the vocabulary of the first GPT, and with few others.
    report = counts_with_vocabulary(FIRST_GPT_VOCABULARY)
    millions = in_millions(report)
    alike = [V for V in range(30_000, 60_001) if in_millions(counts_with_vocabulary(V)) == millions]
    got["seed.size.first-report"] = {"millions": millions[0]}
    got["seed.size.larger"] = {"millions": millions[1:], "corrected_millions": in_millions(counts[1:])}
    got["derived.first-report-sizes"] = {
        "vocab_size": FIRST_GPT_VOCABULARY,
        "exact": report,
        "millions": millions,
        "vocab_sizes_that_round_the_same": [alike[0], alike[-1]],
    }

    layer = on_meta(nn.Linear, 2048, 2048, bias=False)
    rows, columns = layer.weight.shape
    got["seed.layer-2048"] = {"rows": rows, "columns": columns, "parameters": num_parameters(layer)}

    gpt3 = ModelConfig.named("gpt3-175b").num_parameters
    got["seed.gpt2-to-gpt3"] = {
        "gpt2_billions": math.floor(counts[3] / 1e8) / 10,  # the text cuts 1.557 off
        "gpt3_billions": round(gpt3 / 1e9),  # and rounds 174.6
        "exact_gpt2": counts[3],
        "exact_gpt3": gpt3,
    }
    return got


def counts_with_vocabulary(V: int) -> list[int]:
    """The parameters of the four GPT-2 models if they knew V tokens."""
    configs = [ModelConfig.named(size) for size in REPORT_SIZES]
    return [config.num_parameters + (V - config.vocab_size) * config.emb_dim for config in configs]


def in_millions(counts: list[int]) -> list[int]:
    """The counts as the text gives them."""
    return [round(count / 1e6) for count in counts]


def training_time(run: Chapter) -> Values:
    """The years that GPT-3 would train on a single GPU, for the ways in which its cost is stated."""
    costs = {
        "flops_3_14e23": 3.14e23,
        "petaflop_days_3640": 3640 * 1e15 * 86400,
        "flops_6ND_174_6e9_300e9": 6 * 174.6e9 * 300e9,
        "flops_6ND_175e9_300e9": 6 * 175e9 * 300e9,
    }
    years = {
        name: [cost / speed / year for speed in (V100, RTX_8000) for year in (YEAR, JULIAN_YEAR)]
        for name, cost in costs.items()
    }
    v100, _, rtx_8000, _ = years["flops_3_14e23"]
    return {
        "seed.training-time.v100": {"years": math.floor(v100)},  # the text cuts 355.6 off
        "seed.training-time.rtx8000": {"years": round(rtx_8000, 2)},
        "derived.training-time": years,
    }


def tokens(run: Chapter) -> Values:
    """The two texts as token ids, alone and stacked."""
    first, second = run.texts
    return {
        "seed.tokens.text-1": {"ids": gpt2().encode(first)},
        "seed.tokens.text-2": {"ids": gpt2().encode(second)},
        "seed.tokens.batch": {"shape": run.batch.shape, "batch": run.batch},
    }


def labels(run: Chapter) -> Values:
    """Where the text points, read from the page here that repeats it: the docstring of ``book/dummy.py``."""
    found = re.search(
        r"Listing (\S+) is step (\d), (\w+); figures (\S+), (\S+) and (\S+) .*?"
        r"chapter (\d), .*? chapter (\d); .*? chapter (\d)",
        " ".join((dummy.__doc__ or "").split()),
    )
    assert found
    listing, step, name, *figures, embeddings, attention, weights = found.groups()
    labels = {
        "figures": figures,
        "listing": listing,
        "first_step": int(step),
        "first_step_is": name,
        "tokenizer_and_embeddings_chapter": int(embeddings),
        "attention_and_dropout_chapter": int(attention),
        "pretrained_weights_chapter": int(weights),
    }
    return {"seed.labels": labels}


def placeholder(run: Chapter) -> Values:
    """Listing 4.1: the model without working parts, its weights and its logits."""
    got: Values = {}
    block, norm = dummy.DummyTransformerBlock(run.config), dummy.DummyLayerNorm(run.config["emb_dim"])
    x = torch.rand(2, 4, run.config["emb_dim"])
    got["seed.listing-4.1.placeholders"] = {
        "block_is_identity": torch.equal(block(x), x),
        "norm_is_identity": torch.equal(norm(x), x),
        "eps_default": inspect.signature(dummy.DummyLayerNorm).parameters["eps"].default,
    }

    seeded = Seeded.build(dummy.DummyGPTModel, run.config)
    model, weights = seeded.model, dict(seeded.model.named_parameters())
    got["seed.listing-4.1.parts"] = {
        **{name: weight.shape for name, weight in weights.items()},
        "tensors": len(weights),
        "placeholder_blocks": sum(isinstance(part, dummy.DummyTransformerBlock) for part in model.modules()),
        "out_head_bias": model.out_head.bias is not None,
    }
    got["seed.dummy.claimed-size"] = {
        "stated_millions": in_millions([ModelConfig.named("gpt2", qkv_bias=False).num_parameters])[0],
        "counted": num_parameters(model),
        "counted_tied": num_parameters(model) - model.out_head.weight.numel(),
    }
    got["ch04.dummy.init"] = {name: ends(weight.flatten()) for name, weight in weights.items()}

    torch.set_rng_state(seeded.random_state)
    logits = model(run.batch)
    got["seed.dummy.shape"] = {"shape": logits.shape}
    got["seed.dummy.grad-fn"] = {"grad_fn": type(logits.grad_fn).__name__}
    rows, tokens_per_row, dimensions = logits.shape
    got["seed.dummy.output-reading"] = {"rows": rows, "tokens_per_row": tokens_per_row, "dimensions": dimensions}
    got["seed.dummy.logits"] = {"logits": row_ends(seeded.train(run.batch, DEFAULT))}
    got["ch04.dummy.logits.intel"] = {"logits": row_ends(seeded.train(run.batch, MKL))}

    logits = seeded.eval(run.batch)
    got["ch04.dummy.logits.eval"] = {"logits": row_ends(logits)}
    is_same = torch.equal(logits[0, 0], logits[1, 0])
    got["ch04.dummy.same-first-token"] = {"rows_equal": is_same, "argmax": logits.argmax(dim=-1)}
    return got
