"""Sections 4.6 and 4.7 computed: the full model, exercises 4.1 and 4.3, and text from the seeded weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from glassgpt.book import chapter
from glassgpt.book.dropout import DEFAULT, MKL
from glassgpt.book.sections.shared import Chapter, Seeded, Values, ends, num_parameters, on_meta, row_ends
from glassgpt.tokenizer.gpt2 import gpt2

MB = 1024 * 1024
RECORDED = "tok_emb", "pos_emb", "trf_blocks.0.", "trf_blocks.11.", "out_head"  # whose first values the ledger holds


def gpt(run: Chapter) -> Values:
    """Section 4.6: the weights in their order, and the logits with and without dropout."""
    got: Values = {}
    got["ch04.gpt.init-order"] = creation_order()
    model, state = run.gpt.model, run.gpt.model.state_dict()
    recorded = [name for name in state if name.startswith(RECORDED) and "norm" not in name and "mask" not in name]
    got["ch04.gpt.init-values"] = {name: ends(state[name].flatten()) for name in recorded}

    with_bias = on_meta(chapter.GPTModel, {**run.config, "qkv_bias": True})
    got["ch04.gpt.tensors"] = {
        "parameters": len(list(model.parameters())),
        "buffers": len(list(model.buffers())),
        "state_dict": len(state),
        "parameters_with_qkv_bias": len(list(with_bias.parameters())),
    }
    total, head = num_parameters(model), num_parameters(model.out_head)
    got["ch04.gpt.params.total"] = {"parameters": total}
    got["ch04.gpt.params.tied"] = {"parameters": total - head, "output_layer": head}
    got["ch04.gpt.weight-shapes"] = {"tok_emb": model.tok_emb.weight.shape, "out_head": model.out_head.weight.shape}
    size = sum(parameter.nbytes for parameter in model.parameters())
    got["ch04.gpt.memory"] = {"bytes": size, "mb": size / MB}

    got["ch04.gpt.logits.train"] = {"logits": row_ends(run.gpt.train(run.batch, DEFAULT))}
    got["ch04.gpt.logits.train.intel"] = {"logits": row_ends(run.gpt.train(run.batch, MKL))}
    logits = run.gpt.eval(run.batch)
    got["ch04.gpt.shape"] = {"shape": logits.shape}
    got["ch04.gpt.logits.eval"] = {"logits": row_ends(logits)}
    got["ch04.gpt.argmax.eval"] = {"ids": logits.argmax(dim=-1)}
    got["ch04.gpt.logit-statistics.eval"] = {
        "mean": logits.mean(),
        "std": logits.std(),
        "max": logits.max(),
        "min": logits.min(),
    }
    return got


def creation_order() -> dict[str, Any]:
    """The order in which a model of one block fills its weights with random numbers, and what it fills without."""
    config = {"vocab_size": 8, "context_length": 4, "emb_dim": 4, "n_heads": 2, "n_layers": 1}
    with _RandomFills() as fills:
        model = chapter.GPTModel({**config, "drop_rate": 0.1, "qkv_bias": False})
    names = {tensor.data_ptr(): name for name, tensor in model.state_dict().items()}
    drawn = [names.get(address, "a tensor that is no weight") for address in fills.addresses]

    outside = [name for name in drawn if not name.startswith("trf_blocks.")]
    layers = [name.removeprefix("trf_blocks.0.") for name in drawn if name.startswith("trf_blocks.")]
    layers = dict.fromkeys(name.rpartition(".")[0] for name in layers)
    order = [*outside[:2], f"per block: {', '.join(layers)} (weight, then bias where there is one)", *outside[2:]]
    untouched = [name.removeprefix("trf_blocks.0.") for name in names.values() if name not in drawn]
    modules = dict.fromkeys(name if name == "att.mask" else name.rpartition(".")[0] for name in untouched)
    return {"order": order, "no_random_numbers": list(modules)}


class _RandomFills(TorchDispatchMode):
    """Notes the address of every tensor that is filled with random numbers."""

    def __init__(self):
        super().__init__()
        self.addresses: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default):
            self.addresses.append(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


def exercise_1(run: Chapter) -> Values:
    """Exercise 4.1: the parameters of feed forward and attention."""
    got: Values = {}
    block = on_meta(chapter.TransformerBlock, run.config)
    first, _, second = block.ff.layers
    got["ch04.exercise-4.1.feedforward"] = {
        "total": num_parameters(block.ff),
        "first_linear": num_parameters(first),
        "second_linear": num_parameters(second),
    }
    got["ch04.exercise-4.1.attention"] = {
        "total": num_parameters(block.att),
        "query": num_parameters(block.att.W_query),
        "key": num_parameters(block.att.W_key),
        "value": num_parameters(block.att.W_value),
        "out_proj": num_parameters(block.att.out_proj),
    }
    with_bias = on_meta(chapter.TransformerBlock, {**run.config, "qkv_bias": True})
    got["ch04.exercise-4.1.block"] = {"total": num_parameters(block), "with_qkv_bias": num_parameters(with_bias)}
    return got


def exercise_3(run: Chapter) -> Values:
    """Exercise 4.3: three drop rates in place of one, on the same weights and the same random state."""
    rates = {"drop_rate_emb": 0.1, "drop_rate_attn": 0.1, "drop_rate_shortcut": 0.1}
    config = {key: value for key, value in run.config.items() if key != "drop_rate"} | rates
    model = on_meta(chapter.GPTModel, config)
    model.load_state_dict(run.gpt.model.state_dict(), assign=True)  # the weights are shared, not copied

    logits = Seeded(model, run.gpt.random_state).train(run.batch)
    block = model.trf_blocks[0]
    rates = {
        "drop_rate_emb": model.drop_emb.p,
        "drop_rate_attn": block.att.dropout.p,
        "drop_rate_shortcut": block.drop_shortcut.p,
    }
    return {"ch04.exercise-4.3": {**rates, "logits_equal": torch.equal(logits, run.gpt.train(run.batch))}}


@torch.no_grad()
def generate(run: Chapter) -> Values:
    """Section 4.7: greedy text from the untrained model, and how near the second choices were."""
    got: Values = {}
    start = chapter.text_to_token_ids("Hello, I am", gpt2())
    got["ch04.generate.encoded"] = {"ids": start[0], "shape": start.shape}

    model, context_size = run.gpt.model.eval(), run.config["context_length"]
    six, ten = (chapter.generate_text_simple(model, start, count, context_size) for count in (6, 10))
    got["ch04.generate.greedy-6"] = {"ids": six[0], "length": six.shape[1]}
    got["ch04.generate.text-6"] = {"text": chapter.token_ids_to_text(six, gpt2())}
    got["ch04.generate.greedy-10"] = {"ids": ten[0], "length": ten.shape[1]}
    got["ch04.generate.text-10"] = {"text": chapter.token_ids_to_text(ten, gpt2())}

    logits = model(ten[:, :-1])[0, start.shape[1] - 1 :]  # (10, V), a row for each step
    two = logits.topk(2).values
    margins = two[:, 0] - two[:, 1]
    got["ch04.generate.margins"] = {"margins": margins, "smallest": margins.min()}
    top = logits[0].topk(5)
    got["ch04.generate.last-logits"] = {"logits": ends(logits[0]), "top_ids": top.indices, "top_logits": top.values}
    return got
