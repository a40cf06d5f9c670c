"""What a commit of GPT-2 124M with AdamW's state costs: writing, hashing, verifying.

    python benchmarks/checkpoint_cost.py [--dir DIRECTORY] [--repeats 3]

1.49 GB of float32 tensors, random because their values cost nothing extra. The share of hashing is SHA-256 of the same
buffers alone, over the whole commit.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from _report import print_machine

from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.torture.savers import facts
from glassgpt.weights.files import chunks

PARAMETERS = 124_439_808
PARTS = 12


def tensors(count: int, name: str) -> dict[str, torch.Tensor]:
    """``count`` numbers in PARTS tensors."""
    return {f"{name}.{part}": torch.randn(count // PARTS) for part in range(PARTS)}


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="the disk to write to; default: the temporary directory")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    weights, moments = tensors(PARAMETERS, "weight"), tensors(2 * PARAMETERS, "moment")

    def files() -> dict:
        return {"model.safetensors": chunks(weights), "training/optimizer.safetensors": chunks(moments)}

    def hash_all() -> None:
        for content in files().values():
            sha256 = hashlib.sha256()
            for chunk in content:
                sha256.update(chunk)

    print_machine()
    commits, hashes, verifies = [], [], []
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, Checkpoints(Path(directory)) as checkpoints:
        for step in range(1, options.repeats + 1):
            commits.append(seconds(lambda step=step: checkpoints.commit(step, files(), facts())))
            hashes.append(seconds(hash_all))
            verifies.append(seconds(checkpoints.newest))
    share = median(hashes) / median(commits)
    print(f"commit {median(commits):.2f} s, of which hashing {median(hashes):.2f} s ({share:.0%})")
    print(f"verify {median(verifies):.2f} s")


if __name__ == "__main__":
    main()
