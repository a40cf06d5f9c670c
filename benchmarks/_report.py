"""What every benchmark prints: the machine, the versions, and a table of medians with their spread and ratios."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

import glassgpt

PEERS = ("transformers", "tiktoken", "tokenizers", "xllamacpp", "llama_cpp_python")


def print_machine() -> None:
    """Prints processor, load and versions, so that a table can be compared with another."""
    versions = [f"glassgpt {glassgpt.__version__}", f"python {platform.python_version()}", f"torch {torch.__version__}"]
    for package in PEERS:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    print(f"{_processor()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.2f}")
    print(", ".join(versions))


def print_table(title: str, unit: str, rates: Mapping[str, Sequence[float]]) -> None:
    """Prints the median rate of each contestant, its range, and its ratio to the first."""
    base = statistics.median(next(iter(rates.values())))
    print(f"\n| {title} | {unit}, median | range | ratio |\n|---|---|---|---|")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:,.1f} | {min(values):,.1f} to {max(values):,.1f} | {middle / base:.2f}x |")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} (family {_field(lines, 'cpu family')})" if names else platform.processor() or platform.machine()


def _field(lines: list[str], name: str) -> str:
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "?")
