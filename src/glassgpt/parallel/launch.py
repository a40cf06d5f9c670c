"""Starts a command once per process on this machine, as torchrun does, and says which process failed. Knows nothing of
what the command does.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def launch(arguments: Sequence[str], processes: int) -> int:
    """Runs ``python ARGUMENTS`` as ``processes`` ranks of one world; returns the exit code of the first to fail, or 0.

    Signals to stop are passed on to all, which then have 30 s.

    Raises:
        ChildProcessError: a rank was killed; the others have been ended.
    """
    # Each process would otherwise use every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id=secrets.token_hex(8),
    )
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        raise ChildProcessError(f"rank {rank} (process {failure.pid}) was killed by {name}") from None
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0
