"""Decoding on one GPU against transformers: the same weights in bfloat16, greedy, end of text ignored, taking turns.

    python benchmarks/decode_gpu.py                       GPT-2 small: one request, and 64 of 32 + 256 tokens
    python benchmarks/decode_gpu.py --size gpt2-xl --batches 1

transformers runs with its dynamic cache, and with its static one, which it compiles; glassgpt runs its engine ahead,
through the model's own products and through fused kernels. The prompts are read within the time that is measured.
Weights are random in the model's shape unless --weights names a directory. What bfloat16 and the kernels do to the
logits, and how long a row in a batch writes what it writes alone, is printed beside the speed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers
from _gpu import arguments, report, seconds
from _report import print_table
from torch import Tensor

from glassgpt.generation.ahead import AheadEngine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.steps import PlainReader, Reader
from glassgpt.kernels.readers import FusedReader, LiveReader
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.model.static_cache import StaticCache
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.weights.directory import load_model, save_model

Side = Callable[[list[list[int]]], list[list[int]]]  # prompts -> the new tokens of each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--weights", type=Path, help="a model directory in transformers' format")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--new", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--num-steps", type=int, default=16, help="tokens of a launch")
    args = arguments(parser)
    if args.tiny:
        args.batches, args.prompt, args.new, args.blocks, args.num_steps = [1, 3], 3, 4, 1, 2
    with report(args) as result, tempfile.TemporaryDirectory() as folder:
        directory = args.weights or make_weights(args, Path(folder))
        model = load_model(directory).to(args.device).eval()
        result["logits"] = logit_errors(model, args)
        model = model.bfloat16()
        peer = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).to(args.device).eval()
        peer.generation_config.eos_token_id = None
        written = [measure(model, peer, batch, args, result) for batch in args.batches]
        if len(written) > 1:
            result["agreement"] = agreement(model, written[-1], args)


def make_weights(args: argparse.Namespace, folder: Path) -> Path:
    """A random model as a directory that both sides open."""
    config = ModelConfig.named(args.size)
    tokenizer = gpt2()
    if args.tiny:
        config = ModelConfig(vocab_size=257, context_length=64, emb_dim=16, num_heads=2, num_layers=1)
        tokenizer = Tokenizer(BYTES)
    with torch.device(args.device):
        model = initialize(GPT(config), seed=1)
    save_model(model.cpu(), tokenizer, folder / "model")
    return folder / "model"


def random_prompts(config: ModelConfig, batch: int, length: int, seed: int) -> list[list[int]]:
    """Different for every seed, as an engine remembers what it has read."""
    return torch.randint(config.vocab_size - 1, (batch, length), generator=torch.Generator().manual_seed(seed)).tolist()


def ours(model: GPT, reader: Reader, batch: int, args: argparse.Namespace) -> Side:
    """One engine for all rounds: what it has recorded stays recorded."""
    params = SamplingParams(temperature=0.0, max_new_tokens=args.new, stop_at_eot=False)
    capacity = min(model.config.context_length, args.prompt + args.new)
    engine = AheadEngine(
        model, num_steps=args.num_steps, reader=reader, num_rows=batch, capacity=capacity,
        max_step_tokens=batch * (args.prompt + 1),
    )  # fmt: skip

    def run(prompts: list[list[int]]) -> list[list[int]]:
        sequences = [engine.add(prompt, params, seed=1) for prompt in prompts]
        while not engine.is_idle:
            engine.step()
        return [sequence.tokens[args.prompt :] for sequence in sequences]

    return run


def hugging_face(peer: transformers.PreTrainedModel, cache: str | None, args: argparse.Namespace) -> Side:
    settings = {"cache_implementation": cache} if cache else {}

    @torch.inference_mode()
    def run(prompts: list[list[int]]) -> list[list[int]]:
        tokens = torch.tensor(prompts, device=args.device)
        output = peer.generate(
            tokens, attention_mask=torch.ones_like(tokens), min_new_tokens=args.new, max_new_tokens=args.new,
            do_sample=False, pad_token_id=50256, **settings,
        )  # fmt: skip
        return output[:, args.prompt :].tolist()

    return run


def measure(
    model: GPT, peer: transformers.PreTrainedModel, batch: int, args: argparse.Namespace, result: dict
) -> list[list[int]]:
    """Tokens a second of every side; returns what the last one wrote."""
    sides = {
        "transformers, dynamic cache": hugging_face(peer, None, args),
        "transformers, static cache": hugging_face(peer, "static", args),
        "glassgpt, own products": ours(model, LiveReader(model), batch, args),
        "glassgpt, fused kernels": ours(model, FusedReader(model), batch, args),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    said: dict[str, list[list[int]]] = {}

    def write(name: str, prompts: list[list[int]]) -> None:
        said[name] = sides[name](prompts)

    prompts = [random_prompts(model.config, batch, args.prompt, seed) for seed in range(args.blocks + 1)]
    first = {name: seconds(partial(write, name, prompts[-1]), args.device) for name in sides}
    for block in range(args.blocks):
        for name in sides:
            taken = seconds(partial(write, name, prompts[block]), args.device)
            rates[name].append(batch * args.new / taken)
    print_table(f"{args.size}, {batch} x ({args.prompt} + {args.new}) tokens", "tokens/s", rates)
    bytes_read = step_bytes(model.config, batch, args.prompt + args.new // 2)
    for name, values in rates.items():
        step = batch / statistics.median(values)
        share = bytes_read / step / 1e12 / result["copy_tb_s"]
        print(f"{name}: {step * 1e6:,.0f} us a step, {share:.0%} of the copy rate, first call {first[name]:.1f} s")
    print(f"{bytes_read / 1e6:,.1f} MB a step: every matrix and the keys and values of a row half written, once")
    result[f"batch {batch}"] = {"tokens_per_second": rates, "first_call_s": first, "step_bytes": bytes_read}
    return said["glassgpt, fused kernels"]


def step_bytes(config: ModelConfig, batch: int, length: int) -> int:
    """What a step has to read in bfloat16: all parameters but the positions, and keys and values of ``length``."""
    positions = config.context_length * config.emb_dim
    keys_and_values = 2 * config.num_layers * config.emb_dim * length
    return 2 * (config.num_parameters - positions + batch * keys_and_values)


@torch.inference_mode()
def logit_errors(model: GPT, args: argparse.Namespace) -> dict[str, float]:
    """The largest difference from float32 logits, relative to the largest logit, after a prompt read by each reader."""
    prompt = torch.tensor(random_prompts(model.config, 1, 16, seed=0), device=args.device)
    expected = model(prompt)[0, -1]
    half = GPT(model.config).to(args.device)
    half.load_state_dict(model.state_dict())
    half = half.bfloat16().eval()
    errors = {}
    for reader in (PlainReader(half), LiveReader(half), FusedReader(half)):
        cache = StaticCache(Cache(model.config, 1, 32, args.device, torch.bfloat16), 1, reader.layer)
        logits = expected
        for token in prompt[0]:
            logits = reader(token.view(1, 1), cache)[0].float()
        errors[type(reader).__name__] = error = relative(logits, expected)
        print(f"{type(reader).__name__} in bfloat16: logits within {error:.2%} of float32's")
    return errors


def relative(result: Tensor, expected: Tensor) -> float:
    return ((result - expected).abs().max() / expected.abs().max()).item()


def agreement(model: GPT, together: list[list[int]], args: argparse.Namespace) -> dict[str, float]:
    """How the rows of a batch compare with each of them alone, through the same kernels: whole rows, and tokens until
    the first that differs."""
    batch = len(together)
    prompts = random_prompts(model.config, batch, args.prompt, args.blocks - 1)
    run = ours(model, FusedReader(model), 1, args)
    alone = [run([prompt])[0] for prompt in prompts]
    pairs = list(zip(together, alone, strict=True))
    same = [next((n for n, (a, b) in enumerate(zip(*pair, strict=True)) if a != b), args.new) for pair in pairs]
    equal = sum(count == args.new for count in same)
    print(f"\nof {batch} rows {equal} are, token for token, what they are alone; {sum(same) / batch:.1f} of {args.new} "
          "tokens until the first difference on average")  # fmt: skip
    return {"rows_equal": equal, "rows": batch, "mean_tokens_equal": sum(same) / batch}


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
