"""Who else opens a file of each format: another program's logits of the certificate's prompts, or top logprobs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from glassgpt.weights.formats import open_model
from glassgpt.weights.llmc_header import llmc_header
from glassgpt.weights.untrusted import RawFile

TESTS = Path(__file__).parents[1] / "tests" / "weights"


@torch.no_grad()
def difference(form: str, path: Path, prompts: Tensor, expected: Tensor) -> float:
    """How far the judge's logits (B, T, V) of the prompts (B, T) are off at most; llama.cpp tells its logprobs only."""
    if form == "gguf":
        return llama(path, prompts, expected[:, -1].log_softmax(-1))
    logits = JUDGES[form][1](path)(prompts)[..., : expected.shape[-1]]
    return float((logits - expected).abs().max())


def transformers(path: Path) -> Callable[[Tensor], Tensor]:
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
    return lambda tokens: model(tokens).logits


def onnxruntime(path: Path) -> Callable[[Tensor], Tensor]:
    from glassgpt.weights.onnx import Session

    session = Session(path)
    return lambda tokens: session(tokens)[0]


def book(path: Path) -> Callable[[Tensor], Tensor]:
    from safetensors.torch import load_file

    from glassgpt.book.chapter import GPTModel

    model = GPTModel(json.loads(path.with_suffix(".json").read_text())).eval()
    is_zip = path.suffix == ".pth"
    model.load_state_dict(torch.load(path, weights_only=True) if is_zip else load_file(path), strict=False)
    return model


def nanogpt(path: Path) -> Callable[[Tensor], Tensor]:
    """nanoGPT's model as the tests have it, with the GELU of GPT-2."""
    checkpoint = torch.load(path, weights_only=True)
    return rebuilt(checkpoint["model_args"], checkpoint["model"])


def llmc(path: Path) -> Callable[[Tensor], Tensor]:
    """The tests' reader of llm.c's file, which follows its documentation, and nanoGPT's model around the tensors."""
    config, tensors = llmc_header(RawFile(path)).config, tests("test_llmc").documented(path)
    vocab_size = tensors.pop("V")
    del tensors["padded"]
    named: dict[str, Tensor] = {}
    for name, numbers in tensors.items():
        tensor = torch.from_numpy(numbers)
        if tensor.dtype == torch.uint16:
            tensor = tensor.view(torch.bfloat16).float()
        if name in ("wte", "wpe"):
            named[f"transformer.{name}.weight"] = tensor[:vocab_size] if name == "wte" else tensor
        elif name.startswith("ln_f"):
            named[f"transformer.{name}"] = tensor
        else:
            named |= {f"transformer.h.{layer}.{name}": each for layer, each in enumerate(tensor)}
    named["lm_head.weight"] = named["transformer.wte.weight"]
    arguments = {
        "n_layer": config.num_layers, "n_head": config.num_heads, "n_embd": config.emb_dim, "bias": True,
        "block_size": config.context_length, "vocab_size": vocab_size, "dropout": 0.0,
    }  # fmt: skip
    return rebuilt(arguments, named)


def itself(path: Path) -> Callable[[Tensor], Tensor]:
    return open_model(path).build()


def rebuilt(arguments: dict[str, Any], state: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    model = tests("test_nanogpt").NanoGPT(**arguments).eval()
    model.load_state_dict(state)
    return model


def llama(path: Path, prompts: Tensor, expected: Tensor) -> float:
    """By how much llama.cpp's five largest logprobs after each prompt are off; expected (B, V)."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.n_parallel = str(path), 128, False, 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server, largest = xllamacpp.Server(params), 0.0
    for prompt, logprobs in zip(prompts.tolist(), expected, strict=True):
        asked = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 5, "ignore_eos": True}
        answer = server.handle_completions(asked)
        answer = answer if isinstance(answer, dict) else json.loads(answer)
        for top in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            largest = max(largest, abs(top["logprob"] - float(logprobs[top["id"]])))
    return largest


def tests(name: str) -> ModuleType:
    """A module of the tests, where the other programs' files are described a second time."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Format -> the judge's name for the table, and how it opens a file.
JUDGES: dict[str, tuple[str, Callable[[Path], Callable[[Tensor], Tensor]]]] = {
    "hf": ("transformers", transformers),
    "gguf": ("llama.cpp (top logprobs)", itself),
    "onnx": ("onnxruntime", onnxruntime),
    "openai": ("itself; TensorFlow in the tests", itself),
    "book": ("the book's GPTModel", book),
    "nanogpt": ("torch.load, nanoGPT's model", nanogpt),
    "llmc": ("llm.c's layout, nanoGPT's model", llmc),
    "quantized": ("itself", itself),
}
