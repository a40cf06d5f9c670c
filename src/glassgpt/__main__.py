"""``glassgpt``, ``python -m glassgpt`` and ``torchrun -m glassgpt``: the command line."""

import gc
import sys

from glassgpt.cli.main import main
from glassgpt.cli.start import postpone_collection


def start() -> None:
    """Runs the process's command line and ends with its exit code."""
    postpone_collection()
    code = main()
    gc.freeze()  # what is left goes with the process: nobody need look for garbage among it
    sys.exit(code)


if __name__ == "__main__":
    start()
