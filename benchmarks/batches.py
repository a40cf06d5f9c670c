"""How fast random windows come off the disk: through a memory map, through ``pread``, and as whole batches.

    python benchmarks/batches.py --rounds 20

One shard of 100 million tokens, in the page cache. Rates are millions of tokens a second; a training step on one GPU
asks for less than one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from _report import print_machine, print_table

from glassgpt.data.batches import Batches
from glassgpt.data.shards import Shards
from glassgpt.data.token_file import HEADER_BYTES, TokenWriter

NUM_TOKENS, T = 100_000_000, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print_machine()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "train.bin"
        writer = TokenWriter(path, 50257)
        writer.add(np.random.default_rng(0).integers(0, 50257, NUM_TOKENS, np.uint16))
        writer.close()
        for rows in (12, 480):
            print_table(f"{rows} windows of {T}", "M tokens/s", compare(path, rows, rounds))


def compare(path: Path, rows: int, rounds: int) -> dict[str, list[float]]:
    mapped = np.memmap(path, np.uint16, "r", offset=HEADER_BYTES)
    batches = Batches(Shards.open(path), T, rows, seed=1)
    out = np.empty((rows, T + 1), np.uint16)

    def through_map(step: int) -> None:
        for row, index in zip(out, batches.indices(step, 0, rows), strict=True):
            row[:] = mapped[index * T : index * T + T + 1]

    def through_pread(step: int) -> None:
        for row, index in zip(out, batches.indices(step, 0, rows), strict=True):
            batches.windows.shards.read_into(row, int(index) * T)

    contestants = {"memory map": through_map, "pread": through_pread, "Batches.at": batches.at}
    rates: dict[str, list[float]] = defaultdict(list)
    for step in range(rounds):
        for number, (name, run) in enumerate(contestants.items()):
            start = time.perf_counter()
            run(step * len(contestants) + number)
            rates[name].append(rows * T / (time.perf_counter() - start) / 1e6)
    return rates


if __name__ == "__main__":
    main()
