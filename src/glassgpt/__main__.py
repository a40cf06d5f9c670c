"""``python -m glassgpt`` and ``torchrun -m glassgpt``: the command line."""

import sys

from glassgpt.cli.main import main

sys.exit(main())
