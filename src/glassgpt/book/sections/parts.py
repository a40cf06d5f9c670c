"""Sections 4.2 to 4.5 computed: layer normalisation, GELU and feed forward, shortcuts, the transformer block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from glassgpt.book import chapter
from glassgpt.book.dropout import DEFAULT, MKL
from glassgpt.book.sections.shared import Chapter, Seeded, Values, ends, num_parameters, row_ends


@torch.no_grad()
def layernorm(run: Chapter) -> Values:
    """Section 4.2: normalising by hand, then with the class."""
    got: Values = {}
    torch.manual_seed(123)
    batch_example = torch.randn(2, 5)
    got["ch04.layernorm.input"] = {"batch_example": batch_example}
    layer = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
    out = layer(batch_example)
    got["ch04.layernorm.layer-output"] = {"out": out}

    mean, variance = out.mean(dim=-1, keepdim=True), out.var(dim=-1, keepdim=True)
    got["ch04.layernorm.mean"] = {"mean": mean}
    got["ch04.layernorm.variance"] = {"variance": variance}
    got["ch04.layernorm.variance-biased"] = {"variance": out.var(dim=-1, unbiased=False)}
    out_norm = (out - mean) / torch.sqrt(variance)
    got["ch04.layernorm.normalized"] = {"out_norm": out_norm}
    got["ch04.layernorm.normalized-moments"] = {
        "mean": out_norm.mean(dim=-1, keepdim=True),
        "variance": out_norm.var(dim=-1, keepdim=True),
    }

    ln = chapter.LayerNorm(emb_dim=6)
    out_ln = ln(out)
    got["ch04.layernorm.class"] = {
        "eps": ln.eps,
        "mean": out_ln.mean(dim=-1, keepdim=True),
        "variance": out_ln.var(dim=-1, keepdim=True, unbiased=False),
    }
    got["ch04.layernorm.class-output"] = {"out_ln": out_ln}

    ln = chapter.LayerNorm(run.config["emb_dim"])
    got["ch04.layernorm.params"] = {
        "parameters": num_parameters(ln),
        "scale": ln.scale.unique().squeeze(),
        "shift": ln.shift.unique().squeeze(),
    }
    return got


def gelu(run: Chapter) -> Values:
    """Section 4.3: the approximation, and how far it is from the exact function."""
    got: Values = {}
    x = torch.tensor([-3, -2, -1, -0.75, -0.5, 0, 0.5, 1, 2, 3])
    got["ch04.gelu.values"] = {"x": x, "y": chapter.GELU()(x)}
    got["ch04.gelu.exact-values"] = {"x": x, "y": F.gelu(x)}

    x = torch.linspace(-6, 6, 1_200_001, dtype=torch.float64)
    y = chapter.GELU()(x)
    difference = (y - F.gelu(x)).abs()
    got["ch04.gelu.difference"] = {"max_difference": difference.max(), "at_abs_x": x[difference.argmax()].abs()}
    minimum = x[y.argmin()].item()
    got["ch04.gelu.minimum"] = {"stated": round(minimum, 2), "x": minimum, "y": y.min()}
    return got


@torch.no_grad()
def feedforward(run: Chapter) -> Values:
    """Section 4.3: the shapes inside the feed forward module, and its seeded output."""
    got: Values = {}
    torch.manual_seed(123)
    ffn = chapter.FeedForward(run.config)
    x = torch.rand(2, 3, 768)
    out = ffn(x)
    got["ch04.feedforward.shape"] = {"input": x.shape, "hidden": ffn.layers[0](x).shape, "output": out.shape}
    got["ch04.feedforward.seeded-output"] = {"values": ends(torch.stack((out[0, 0], out[1, 2])))}
    return got


def shortcut(run: Chapter) -> Values:
    """Section 4.4: gradients of five layers, without and with shortcut connections."""
    got: Values = {}
    x = torch.tensor([[1.0, 0.0, -1.0]])
    outputs = []
    for name, use_shortcut in {"without": False, "with": True}.items():
        torch.manual_seed(123)
        model = chapter.ExampleDeepNeuralNetwork([3, 3, 3, 3, 3, 1], use_shortcut=use_shortcut)
        outputs.append(model(x).detach())
        got[f"ch04.shortcut.{name}"] = {"gradient_mean": list(chapter.gradient_means(model, x).values())}
    output = torch.cat(outputs).flatten()
    got["ch04.shortcut.forward"] = {"output": output, "loss": output**2}
    return got


def block(run: Chapter) -> Values:
    """Section 4.5: one transformer block; its input is drawn after the seed and before its weights."""
    got: Values = {}
    inputs = []

    def build() -> nn.Module:
        inputs.append(torch.rand(2, 4, 768))
        return chapter.TransformerBlock(run.config)

    seeded, x = Seeded.build(build), inputs[0]
    got["ch04.block.input"] = {"values": ends(x[0, 0])}
    output = seeded.eval(x)
    got["ch04.block.shape"] = {"input": x.shape, "output": output.shape}
    got["ch04.block.output.eval"] = {"output": row_ends(output), "mean": output.mean(), "std": output.std()}
    got["ch04.block.output.train"] = {"output": row_ends(seeded.train(x, DEFAULT))}
    got["ch04.block.output.train.intel"] = {"output": row_ends(seeded.train(x, MKL))}
    return got
