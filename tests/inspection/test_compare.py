"""Each classic fault is planted in a copy of a model; the comparison must say where it is and what it is."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.inspection.causes import split_by_part, unmasked, unscaled
from glassgpt.inspection.compare import compare
from glassgpt.inspection.trace import trace, trace_session
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, use_attention
from glassgpt.weights.formats import write_model
from glassgpt.weights.names import by_part
from glassgpt.weights.opened import Opened

CONFIG = ModelConfig(vocab_size=257, context_length=32, emb_dim=48, num_heads=3, num_layers=3)

Fault = Callable[[GPT], object]


def build(config: ModelConfig = CONFIG, seed: int = 1) -> GPT:
    model = GPT(config)
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, float("norm.weight" in name), 0.1)
    return model.eval()


def copy_of(model: GPT, **changes: object) -> GPT:
    copy = GPT(model.config.model_copy(update=changes)).eval()
    copy.load_state_dict(model.state_dict(), strict=not changes)
    return copy


def exact_gelu(model: GPT) -> None:
    for block in model.blocks:
        block.mlp.forward = lambda x, mlp=block.mlp: mlp.down(F.gelu(mlp.up(x)))


def relu(model: GPT) -> None:
    for block in model.blocks:
        block.mlp.forward = lambda x, mlp=block.mlp: mlp.down(F.relu(mlp.up(x)))


def rewritten(ending: str, rewrite: Callable[[Tensor], Tensor]) -> Fault:
    def plant(model: GPT) -> None:
        for name, parameter in model.named_parameters():
            if name.endswith(ending):
                parameter.data = rewrite(parameter.data)

    return plant


def not_transposed(model: GPT) -> None:
    """What a reader does that takes the bytes of every Conv1D matrix as they come."""
    for ending in ("attention.out.weight", "mlp.up.weight", "mlp.down.weight"):
        rewritten(ending, lambda w: w.T.reshape(w.shape))(model)


def parts_exchanged(rows: Tensor) -> Tensor:
    """Key, query, value where query, key, value belong."""
    return rows.unflatten(0, (3, 3, 16))[:, [1, 0, 2]].flatten(0, 2)


def counting_from_one(model: GPT) -> None:
    table = model.position_embedding
    table.forward = lambda positions: F.embedding(positions + 1, table.weight)


def split_otherwise(model: GPT) -> None:
    for block in model.blocks:
        block.attention.forward = split_by_part.__get__(block.attention)


def rounded(dtype: torch.dtype) -> Fault:
    return rewritten("", lambda w: w.to(dtype).float())


FAULTS: dict[str, tuple[Fault, str, str, str]] = {
    "erf": (exact_gelu, "blocks.0.mlp", "activation", "computes the exact GELU (erf), not GELU's tanh approximation"),
    "relu": (relu, "blocks.0.mlp", "activation", "computes ReLU, not GELU's tanh approximation"),
    "a square Conv1D": (
        rewritten("attention.out.weight", lambda w: w.T),
        "blocks.0.attention", "conv1d",
        "has blocks.*.attention.out.weight not transposed: Conv1D (in, out) taken for Linear (out, in)",
    ),
    "every Conv1D": (
        not_transposed,
        "blocks.0.attention", "conv1d",
        "has blocks.*.attention.out.weight, blocks.*.mlp.up.weight, blocks.*.mlp.down.weight not transposed: "
        "Conv1D (in, out) taken for Linear (out, in)",
    ),
    "qkv by part": (
        rewritten("qkv.weight", lambda rows: by_part(rows, CONFIG)),
        "blocks.0.attention.qkv", "order",
        "has the rows of blocks.*.attention.qkv.weight by part (q|k|v, head, dim), not by head",
    ),
    "key before query": (
        lambda model: [rewritten(f"qkv.{part}", parts_exchanged)(model) for part in ("weight", "bias")],
        "blocks.0.attention.qkv", "order",
        "has blocks.*.attention.qkv.weight, blocks.*.attention.qkv.bias with the parts in the order k, q, v",
    ),
    "qkv split by part": (
        split_otherwise, "blocks.0.attention", "split", "splits qkv as (q|k|v, head, dim), not (head, q|k|v, dim)",
    ),
    "no qkv bias": (
        rewritten("qkv.bias", torch.zeros_like),
        "blocks.0.attention.qkv", "bias",
        "has no query/key/value bias (blocks.*.attention.qkv.bias is zero or missing)",
    ),
    "positions from one": (counting_from_one, "position_embedding", "positions", "counts positions from 1, not 0"),
    "a position table two rows late": (
        rewritten("position_embedding.weight", lambda table: table.roll(-2, 0)),
        "position_embedding", "positions", "counts positions from 2, not 0",
    ),
    "no causal mask": (
        lambda model: use_attention(model, unmasked),
        "blocks.0.attention", "attention", "lets tokens see those after them (no causal mask)",
    ),
    "no scaling": (
        lambda model: use_attention(model, unscaled),
        "blocks.0.attention", "attention", "does not divide attention scores by the square root of head_dim",
    ),
    "bfloat16": (rounded(torch.bfloat16), "token_embedding", "dtype", "has weights rounded to bfloat16"),
    "float16": (rounded(torch.float16), "token_embedding", "dtype", "has weights rounded to float16"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(fault):
    plant, place, cause, explanation = FAULTS[fault]
    a = build()
    plant(b := copy_of(a))
    found = compare(a, b)
    assert found.first == place
    assert [(finding.cause, finding.explanation, finding.then) for finding in found.findings] == [
        (cause, explanation, None)
    ]
    assert found.is_explained


def test_equal_models_do_not_part():
    found = compare(a := build(), copy_of(a))
    assert (found.first, found.findings, found.is_explained) == (None, [], True)
    assert set(found.places.values()) == {0.0}
    assert list(found.places)[:3] == ["token_embedding", "position_embedding", "embedding"]
    assert list(found.places)[-3:] == ["blocks.2", "final_norm", "logits"]


@pytest.mark.parametrize("eps", [1e-6, 1e-12, 1e-3])
def test_an_epsilon_is_named_with_its_value(eps):
    found = compare(a := build(), copy_of(a, norm_eps=eps))
    assert found.first == "blocks.0.attention_norm"
    assert found.settings == {"norm_eps": (1e-5, eps)}
    assert [finding.explanation for finding in found.findings] == [f"normalises with epsilon {eps:g}, not 1e-05"]


def test_an_untied_head_is_named_in_both_directions():
    a = build()
    b = copy_of(a, tied_head=False)
    torch.nn.init.normal_(b.head.weight, 0.0, 0.1)
    found = compare(a, b)
    assert (found.first, found.settings) == ("logits", {"tied_head": (True, False)})
    assert found.findings[0].explanation == "has an output layer of its own; the other does not"
    assert a.head is None  # as it was
    found = compare(b, a)
    assert found.findings[0].explanation == "ties the output layer to the token embedding; the other does not"
    assert b.head is not None


def test_the_fault_of_one_layer_is_found_there():
    a = build()
    b = copy_of(a)
    b.blocks[1].attention.out.weight.data = b.blocks[1].attention.out.weight.data.T
    found = compare(a, b)
    assert found.first == "blocks.1.attention"
    assert found.places["blocks.0"] == 0 < found.places["blocks.1"]
    assert "has blocks.1.attention.out.weight not transposed" in found.findings[0].explanation


def test_faults_are_found_one_behind_the_other():
    a = build()
    b = copy_of(a, norm_eps=1e-6)
    rounded(torch.bfloat16)(b)
    rewritten("attention.out.weight", lambda w: w.T)(b)
    exact_gelu(b)
    found = compare(a, b)
    assert [(finding.cause, finding.then) for finding in found.findings] == [
        ("dtype", "blocks.0.attention_norm"),
        ("epsilon", "blocks.0.attention"),
        ("conv1d", "blocks.0.mlp"),
        ("activation", None),
    ]


def test_other_weights_are_said_to_be_other_weights():
    a = build()
    b = copy_of(a)
    torch.nn.init.normal_(b.blocks[2].mlp.up.weight, 0.0, 0.1)
    found = compare(a, b)
    assert found.first == "blocks.2.mlp.up"
    assert [finding.explanation for finding in found.findings] == [
        "has other weights in blocks.2.mlp.up.weight: damaged, trained further, or another model"
    ]


def test_what_nothing_explains_stays_unexplained():
    a = build()
    b = copy_of(a)
    for block in b.blocks:
        block.mlp.forward = lambda x, mlp=block.mlp: mlp.down(torch.tanh(mlp.up(x)))
    found = compare(a, b)
    assert (found.first, found.findings, found.is_explained) == ("blocks.0.mlp", [], False)


def test_trying_causes_leaves_the_models_as_they_were():
    a, b = build(), build(seed=2)
    before = [trace(model, torch.arange(8)[None])["logits"] for model in (a, b)]
    compare(a, b)
    after = [trace(model, torch.arange(8)[None])["logits"] for model in (a, b)]
    assert all(map(torch.equal, before, after))
    assert all("forward" not in vars(module) for module in a.modules())


def test_a_padded_vocabulary_is_compared_as_far_as_both_go():
    a = build()
    b = GPT(CONFIG.model_copy(update={"vocab_size": 300})).eval()
    state = a.state_dict()
    state["token_embedding.weight"] = F.pad(state["token_embedding.weight"], (0, 0, 0, 43))
    b.load_state_dict(state)
    assert compare(a, b).first is None
    assert compare(b, a).first is None


def test_models_of_other_sizes_have_no_places_in_common():
    with pytest.raises(
        ValueError, match="these models have no places in common: num_layers 3 and 2, num_heads 3 and 4"
    ):
        compare(build(), build(CONFIG.model_copy(update={"num_layers": 2, "num_heads": 4})))


def test_a_graph_that_computes_something_else_is_found_by_its_keys_values_and_logits(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    from glassgpt.weights.onnx import Session

    a = build()
    write_model(Opened.of(a), "onnx", tmp_path / "right")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "gelu", lambda x, approximate: torch._C._nn.gelu(x))
        write_model(Opened.of(a), "onnx", tmp_path / "wrong")
    right, wrong = Session(tmp_path / "right"), Session(tmp_path / "wrong")
    assert compare(a, a, lambda tokens: trace_session(right, tokens)).first is None
    found = compare(a, a, lambda tokens: trace_session(wrong, tokens))
    assert (found.first, found.findings[0].cause, found.is_explained) == ("blocks.1.keys", "activation", True)
    assert found.places["blocks.0.values"] < found.tolerance
