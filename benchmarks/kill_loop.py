"""Training killed with SIGKILL at random times, then compared bit for bit with a run that nobody touched.

    python benchmarks/kill_loop.py [--kills 200] [--dir DIRECTORY] [--seed 0]

Each victim is forked from this process, in which torch is imported and an optimizer step done, lives 0.05 to 0.4
seconds and saves every 5 steps. Lost: a kill after which an announced step is not resumed, more than one interval is
gone, or a finished run differs in weights, optimizer state or metrics. The control saves in place and is killed too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from _report import print_machine

from glassgpt.training.torture.loop_kills import kill_training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--kills", type=int, default=200)
parser.add_argument("--dir", type=Path, help="the disk to write to; default: the temporary directory")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

print_machine()
with tempfile.TemporaryDirectory(dir=options.dir) as directory:
    outcome = kill_training(Path(directory) / "runs", options.kills, options.seed)
print(f"\n{outcome.trials} kills, {len(outcome.failures)} lost, {outcome.seconds:.0f} s in all, seed {options.seed}")
print(f"control: {outcome.control} of {outcome.control_trials} checkpoints saved in place were lost")
print(*outcome.failures, sep="\n", end="")
