"""What a batch is worth on the CPU: 16 requests through the engine against one after another, interleaved.

    python benchmarks/batch_cpu.py [--size gpt2] [--precision int8] [--layers N] [--requests 16] [--new 64] [--blocks 5]

Weights are random (speed does not depend on them) in GPT-2's shape; prompts of 16 to 47 tokens, reading them included;
end of text ignored. Counts the requests that both ways continue with the same tokens: in float32 it has to be all of
them. Prints the table the README quotes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from _report import print_machine, print_table

from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import PRECISIONS, use_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--layers", type=int, help="fewer than the size has, to try this script")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=5)
    args = parser.parse_args()
    print_machine()

    config = ModelConfig.named(args.size)
    config = config.model_copy(update={"num_layers": args.layers or config.num_layers})
    model = initialize(GPT(config), seed=1).eval()
    use_precision(model, args.precision)
    generator = torch.Generator().manual_seed(1)
    lengths = [16 + (5 * index) % 32 for index in range(args.requests)]
    prompts = [torch.randint(config.vocab_size, (n,), generator=generator).tolist() for n in lengths]

    for name, temperature in (("greedy", 0.0), ("temperature 0.8, top-p 0.95", 0.8)):
        params = SamplingParams(max_new_tokens=args.new, stop_at_eot=False, temperature=temperature)

        def run(num_rows: int, params: SamplingParams = params) -> list[list[int]]:
            engine = Engine(model, num_rows=num_rows)
            sequences = [engine.add(prompt, params, seed=1) for prompt in prompts]
            while not engine.is_idle:
                engine.step()
            return [sequence.tokens for sequence in sequences]

        ways: dict[str, Callable[[], list[list[int]]]] = {
            "one after another": lambda run=run: run(1),
            f"{args.requests} together": lambda run=run: run(args.requests),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        num_same = 0
        for _ in range(args.blocks):
            written = []
            for way, write in ways.items():
                start = time.perf_counter()
                written.append(write())
                rates[way].append(args.requests * args.new / (time.perf_counter() - start))
            num_same = sum(alone == together for alone, together in zip(*written, strict=True))
            assert num_same == args.requests or args.precision != "float32", f"only {num_same} are as alone"
        print(f"\nrequests with the same tokens alone and together: {num_same} of {args.requests}")
        title = (
            f"{args.size}, {config.num_layers} layers, {args.precision}, {args.requests} requests of {args.new} tokens"
        )
        print_table(f"{title}, {name}", "tok/s", rates)


if __name__ == "__main__":
    main()
