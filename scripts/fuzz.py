"""Damaged and hostile model files, opened by the thousand: no crash, no hang, no import, no process, no file elsewhere.

python scripts/fuzz.py                                     2,000 of every kind
python scripts/fuzz.py --format openai --count 1000000     one kind, as before a release
python scripts/fuzz.py --format openai --case 4711         one case again
python scripts/fuzz.py --controls                          careless readers, which must be caught
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fuzz"))

from controls import CONTROLS
from seeds import KINDS
from trials import Reader, read_everything, run

OUTCOMES = ("accepted", "refused", "message", "crash", "hang", "audit", "death")
CHUNK = 20_000  # cases a process: one that dies takes no more with it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=KINDS, action="append", help="one kind of file; again for another")
    parser.add_argument("--count", type=int, default=2000, help="cases of each kind (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another set of cases (default 0)")
    parser.add_argument("--case", type=int, help="only this case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: all cores)")
    parser.add_argument("--controls", action="store_true", help="careless readers in the place of ours")
    options = parser.parse_args()
    return control(options.seed) if options.controls else fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    """Tries every kind that was asked for; 1 if anything came of it but acceptance or a clear refusal."""
    failed = False
    print(f"{'':12}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES) + f"{'seconds':>10}")
    first, last = (0, options.count) if options.case is None else (options.case, options.case + 1)
    step = min(CHUNK, -(-(last - first) // options.jobs))
    chunks = [range(start, min(start + step, last)) for start in range(first, last, step)]
    for kind in options.format or KINDS:
        start = time.monotonic()
        counts, failures = in_processes(kind, chunks, options.seed, options.jobs)
        numbers = "".join(f"{counts[outcome]:>10,}" for outcome in OUTCOMES)
        print(f"{kind:12}{numbers}{time.monotonic() - start:>10.0f}", *failures[:20], sep="\n  ", flush=True)
        failed |= bool(failures)
    return 1 if failed else 0


def control(seed: int) -> int:
    """Tries the careless readers; 1 if one of them gets through."""
    missed = False
    for what, (kind, reader, outcome) in CONTROLS.items():
        tries = (in_processes(kind, [range(case, case + 5)], seed, 1, reader)[0] for case in range(0, 100, 5))
        found = any(counts[outcome] for counts in tries)
        missed |= not found
        print(f"{what}: {outcome if found else 'MISSED'}", flush=True)
    return 1 if missed else 0


def in_processes(
    kind: str, chunks: list[range], seed: int, jobs: int, reader: Reader = read_everything
) -> tuple[Counter[str], list[str]]:
    """The chunks, each in a process of its own, so many at once; one that ends without an answer counts as a death."""
    context = get_context("fork")  # torch is imported once
    counts: Counter[str] = Counter()
    failures: list[str] = []
    waiting, running = list(reversed(chunks)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            ours, theirs = context.Pipe(duplex=False)
            chunk = waiting.pop()
            process = context.Process(target=work, args=(theirs, kind, chunk, seed, reader))
            process.start()
            theirs.close()
            running[process] = (ours, chunk)
        for process, (pipe, chunk) in list(running.items()):
            if not pipe.poll(0.1):
                continue
            try:
                more, reports = pipe.recv()
                counts += more
                failures += reports
            except EOFError:
                process.join()
                counts["death"] += 1
                where = f"cases {chunk.start} to {chunk.stop - 1}"
                failures.append(f"{kind} --seed {seed}: death by {process.exitcode} in {where}")
            process.join()
            del running[process]
    return counts, failures


def work(pipe: Connection, kind: str, chunk: range, seed: int, reader: Reader) -> None:
    pipe.send(run(kind, chunk, seed, reader))


if __name__ == "__main__":
    sys.exit(main())
