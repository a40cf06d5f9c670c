"""What the GPU benchmarks share: the device and what it reaches, time that waits for it, tables or JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import torch
from _report import print_machine


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the options all of them have beside their own."""
    parser.add_argument("--device", default="cuda", help="cpu is there to try the script, with --tiny")
    parser.add_argument("--tiny", action="store_true", help="sizes for a trial on a CPU, whose figures mean nothing")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output, the rest on stderr")
    return parser.parse_args()


@contextlib.contextmanager
def report(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Prints the machine, and what the block puts into the dictionary once it is done, if JSON is asked for."""
    result: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
        print_machine()
        result["device"] = device_line(args.device)
        print(result["device"])
        result |= ceilings(args.device, 256 if args.device == "cpu" else 8192)
        print(f"measured here: copy {result['copy_tb_s']:.3g} TB/s, matmul {result['matmul_tflop_s']:.3g} TFLOP/s bf16")
        yield result
    if args.json:
        print(json.dumps(result))


def device_line(device: str) -> str:
    if device == "cpu":
        return "device cpu"
    properties = torch.cuda.get_device_properties(device)
    version = f"CUDA {torch.version.cuda}, triton {metadata.version('triton')}"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {version}"


def ceilings(device: str, size: int) -> dict[str, float]:
    """What copying and multiplying reach on this very device: reads plus writes, and size^3 products in bfloat16."""
    source = torch.randn(size * size, device=device)
    target = torch.empty_like(source)
    a, b = torch.randn(2, size, size, device=device).bfloat16()
    copying = min(seconds(lambda: target.copy_(source), device) for _ in range(10))
    product = min(seconds(lambda: a @ b, device) for _ in range(10))
    return {"copy_tb_s": 2 * source.nbytes / copying / 1e12, "matmul_tflop_s": 2 * size**3 / product / 1e12}


def seconds(run: Callable[[], object], device: str) -> float:
    """How long it takes, all work on the device included."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
