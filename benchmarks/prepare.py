"""How fast documents become tokens: reading alone, encoding alone, and ``prepare``, which does both at once.

    python benchmarks/prepare.py corpus.jsonl.xz --rounds 3

The contestants take turns, so that whatever else the machine does hits all alike. Rates are MB of UTF-8 text a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from _report import print_machine, print_table

from glassgpt.data import job
from glassgpt.data.documents import read
from glassgpt.data.encoding import Encode, gigatoken_encoder, tiktoken_encoder
from glassgpt.data.prepare import prepare
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer

MEMORY = """
import resource, sys
from glassgpt.data.prepare import prepare
from glassgpt.tokenizer.gpt2 import gpt2

def most() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"

tokenizer, before = gpt2(), most()
prepare([sys.argv[1]], sys.argv[2], tokenizer)
print(f"{before} before, {most()} at most")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    print_machine()
    print(f"gigatoken {metadata.version('gigatoken')}")
    with tempfile.TemporaryDirectory() as out:  # first of all: on Linux a child's peak is at least its parent's
        memory = [sys.executable, "-c", MEMORY, str(arguments.corpus), out]
        print("memory of prepare:", subprocess.run(memory, check=True, capture_output=True, text=True).stdout.strip())

    tokenizer = gpt2()
    texts = list(read(arguments.corpus))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    contestants: dict[str, Callable[[], object]] = {
        "tiktoken as lists, 1 thread": lambda: [tokenizer.encode(text) for text in texts],
        "tiktoken as arrays, 1 thread": lambda: encode(tiktoken_encoder(tokenizer), texts, 1),
        "tiktoken as arrays, 2 threads": lambda: encode(tiktoken_encoder(tokenizer), texts, 2),
        "gigatoken, 1 thread": lambda: encode(gigatoken_encoder(tokenizer), texts, 1),
        "gigatoken, 2 threads": lambda: encode(gigatoken_encoder(tokenizer), texts, 2),
        "reading alone": lambda: sum(len(text) for text in read(arguments.corpus)),
        "prepare with tiktoken": lambda: prepare_with(tiktoken_encoder, arguments.corpus, tokenizer),
        "prepare with gigatoken": lambda: prepare_with(gigatoken_encoder, arguments.corpus, tokenizer),
    }
    print(f"{arguments.corpus.name}: {len(texts):,} documents, {megabytes:,.1f} MB of text")
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            rates[name].append(megabytes / (time.perf_counter() - start))
    print_table("documents to tokens", "MB/s", rates)


def encode(function: Encode, texts: list[str], threads: int) -> list[int]:
    """All texts on some threads; every call starts with the caches of a new encoder."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda text: len(function(text)), texts))


def prepare_with(encoder: Callable[[Tokenizer], Encode], corpus: Path, tokenizer: Tokenizer) -> None:
    job.encoder = encoder
    with tempfile.TemporaryDirectory() as out:
        prepare([corpus], out, tokenizer)


if __name__ == "__main__":
    main()
