"""Damaged and hostile model files, opened by the thousand: no crash, no hang, no import, no process, no file elsewhere.

python scripts/fuzz.py                                   20,000 trials of every format, as in the tests
python scripts/fuzz.py --trials 1000000                  as before a release
python scripts/fuzz.py --format openai --trials 5000     one format
python scripts/fuzz.py --kind hf-bin --case 4711         one case again
python scripts/fuzz.py --controls                        careless readers, which must be caught
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
from seeds import FORMATS, KINDS
from trials import Reader, read_everything, run

OUTCOMES = ("accepted", "refused", "message", "crash", "hang", "audit", "death")
CHUNK = 20_000  # cases a process: one that dies takes no more with it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, action="append", help="one format; again for another")
    parser.add_argument("--trials", type=int, default=20_000, help="files of each format (default 20000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another set of cases (default 0)")
    parser.add_argument("--kind", choices=KINDS, help="with --case: the kind of file, as a failure names it")
    parser.add_argument("--case", type=int, help="only this case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: all cores)")
    parser.add_argument("--controls", action="store_true", help="careless readers in the place of ours")
    options = parser.parse_args()
    if options.controls:
        return control(options.seed)
    if options.case is not None:
        counts, failures = in_processes([(options.kind, range(options.case, options.case + 1))], options.seed, 1)
        print(*counts, *failures)
        return 1 if failures else 0
    return fuzz(options.format or list(FORMATS), options.trials, options.seed, options.jobs)


def fuzz(formats: list[str], trials: int, seed: int, jobs: int) -> int:
    """Tries every format; 1 if anything came of it but acceptance or a clear refusal."""
    total: Counter[str] = Counter()
    found = []
    start = time.monotonic()
    print(f"{'':12}" + "".join(f"{name:>10}" for name in ("trials", *OUTCOMES, "seconds", "a second")), flush=True)
    for name in formats:
        began = time.monotonic()
        counts, failures = in_processes(shares(FORMATS[name], trials, jobs), seed, jobs)
        print_row(name, counts, time.monotonic() - began)
        print(*(f"  {failure}" for failure in failures[:20]), sep="\n", end="\n" if failures else "", flush=True)
        total += counts
        found += failures
    print_row("all", total, time.monotonic() - start)
    return 1 if found else 0


def shares(kinds: list[str], trials: int, jobs: int) -> list[tuple[str, range]]:
    """The trials of a format: each kind's share of them, in pieces of a process each."""
    cases = -(-trials // len(kinds))
    step = min(CHUNK, -(-cases // jobs))
    return [(kind, range(first, min(first + step, cases))) for kind in kinds for first in range(0, cases, step)]


def print_row(name: str, counts: Counter[str], seconds: float) -> None:
    numbers = [counts.total(), *(counts[outcome] for outcome in OUTCOMES), seconds, counts.total() / seconds]
    print(f"{name:12}" + "".join(f"{number:>10,.0f}" for number in numbers), flush=True)


def control(seed: int) -> int:
    """Tries the careless readers; 1 if one of them gets through."""
    missed = False
    for what, (kind, reader, outcome) in CONTROLS.items():
        tries = (in_processes([(kind, range(case, case + 5))], seed, 1, reader)[0] for case in range(0, 100, 5))
        found = any(counts[outcome] for counts in tries)
        missed |= not found
        print(f"{what}: {outcome if found else 'MISSED'}", flush=True)
    return 1 if missed else 0


def in_processes(
    chunks: list[tuple[str, range]], seed: int, jobs: int, reader: Reader = read_everything
) -> tuple[Counter[str], list[str]]:
    """The chunks, each in a process of its own, so many at once; one that ends without an answer counts as a death."""
    context = get_context("fork")  # torch is imported once
    counts: Counter[str] = Counter()
    failures: list[str] = []
    waiting, running = list(reversed(chunks)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            ours, theirs = context.Pipe(duplex=False)
            kind, chunk = waiting.pop()
            process = context.Process(target=work, args=(theirs, kind, chunk, seed, reader))
            process.start()
            theirs.close()
            running[process] = (ours, kind, chunk)
        for process, (pipe, kind, chunk) in list(running.items()):
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
