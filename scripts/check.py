"""Everything that must hold before a change lands, in one command: format, lint, types, layers, tests.

python scripts/check.py            all of it
python scripts/check.py tests/cli  the tests of one folder after the quick checks
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUICK = {
    "format": ["ruff", "format", "--check"],
    "lint": ["ruff", "check"],
    "types": ["pyrefly", "check"],
    "layers": ["lint-imports"],
}


def main() -> int:
    tests = ["pytest", "-n", str(os.cpu_count() or 1), *sys.argv[1:]]
    failed = [name for name, command in {**QUICK, "tests": tests}.items() if not passes(name, command)]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall checks passed")
    return 1 if failed else 0


def passes(name: str, command: list[str]) -> bool:
    print(f"== {name}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    program = Path(sys.executable).with_name(command[0])
    # One thread a test process: the processes share the cores.
    code = subprocess.run([program, *command[1:]], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
    print(f"== {name}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
