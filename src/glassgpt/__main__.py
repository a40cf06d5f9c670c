"""``glassgpt``, ``python -m glassgpt`` and ``torchrun -m glassgpt``: the command line."""

import sys

from glassgpt.cli.main import main
from glassgpt.cli.start import postpone_collection


def start() -> None:
    """Runs the process's command line and ends with its exit code."""
    postpone_collection()
    sys.exit(main())


if __name__ == "__main__":
    start()
