"""Notices that a rank died or hangs, says which one and where it was, and ends this process.

A thread does it, because the main one may be waiting for the lost rank in a call that never returns. Knows nothing of
what the ranks compute.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch.distributed as dist

if TYPE_CHECKING:
    from glassgpt.parallel.world import World

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between beats
FAILED = " failed: "  # the last beat of a rank that knows why it ends
GRACE = 4.0  # seconds the main thread has to notice the loss itself, and the others to learn of it


class Heartbeat:
    """Beats for one rank of ``world`` in a store that all share, until ``stop``; ``name`` tells runs apart.

    The main rank watches all others, they watch it, and what one finds all are told. A rank is lost when its process
    has ended, when it says that it failed, or when it has been silent for ``limit`` seconds, as one that was stopped
    or never releases the GIL is. The kernel reports the end of processes on the same machine at once.
    """

    def __init__(self, world: World, name: str, limit: float):
        self.world = world
        self.limit = limit
        # A connection of its own: the process group's may be blocked by a call that waits.
        store = dist.TCPStore(*world.address, is_master=False, timeout=timedelta(seconds=limit), wait_for_workers=False)
        self.store = dist.PrefixStore(f"glassgpt/{name}", store)
        if world.is_main:
            self.store.set("verdict", "")
        self.store.set(f"process/{world.rank}", f"{os.getpid()} {socket.gethostname()}")
        self.num_beats = 0
        self.beat(world.doing)
        self.watched = range(1, world.size) if world.is_main else [0]
        self.last = dict.fromkeys(self.watched, "")
        self.silence = dict.fromkeys(self.watched, 0)  # beats since each was heard
        self.processes = self.open_processes()
        self.ended, self.ending = os.pipe()
        self.named = threading.Event()
        self.thread = threading.Thread(target=self.run, name="heartbeat", daemon=True)
        self.thread.start()

    def stop(self, failure: str = "", wait_for_name: bool = False) -> None:
        """Ends the watch; with a ``failure`` the others learn of it and end, too. A failure that a lost rank may have
        caused can wait until that one is named."""
        if wait_for_name:
            self.named.wait(2 * INTERVAL)
        os.write(self.ending, b".")
        self.thread.join(GRACE)
        faulthandler.cancel_dump_traceback_later()
        if failure:
            with suppress(dist.DistError):
                self.beat(f"{FAILED}{failure}")

    def open_processes(self) -> dict[int, int]:
        """Descriptors, with their ranks, that become readable when a process of this machine ends; Linux only."""
        if not hasattr(os, "pidfd_open"):
            return {}
        others = [rank for rank in range(self.world.size) if rank != self.world.rank]
        found = {}
        for rank, process in zip(others, self.get([f"process/{rank}" for rank in others]), strict=True):
            pid, host = process.split()
            if host == socket.gethostname():
                found[os.pidfd_open(int(pid))] = rank
        return found

    def run(self) -> None:
        try:
            verdict = ""
            while not verdict:
                # Fires without the GIL, so that a rank which never gives it back shows where it hangs.
                faulthandler.dump_traceback_later(self.limit, exit=True)
                self.beat(self.world.doing)
                verdict = self.listen()
                if self.ended in (ready := wait([self.ended, *self.processes], INTERVAL)):
                    return
                for fd in self.processes.keys() & ready:
                    verdict = self.judge(self.processes[fd], "has ended")
            verdict = self.store.compare_set("verdict", "", verdict).decode()  # the first one counts
        except dist.DistError as error:
            verdict = f"rank 0, which keeps the ranks together, cannot be reached ({error})"
        self.give_up(verdict)

    def beat(self, doing: str) -> None:
        self.num_beats += 1
        self.store.set(f"beat/{self.world.rank}", f"{self.num_beats} {doing}")

    def listen(self) -> str:
        """The verdict on a lost rank, if there is one."""
        verdict, *beats = self.get(["verdict", *(f"beat/{rank}" for rank in self.watched)])
        for rank, beat in zip(self.watched, beats, strict=True):
            # Counted in beats of our own: time during which this process did not run itself is no silence.
            self.silence[rank] = 0 if beat != self.last[rank] else self.silence[rank] + 1
            self.last[rank] = beat
            if FAILED in beat or self.silence[rank] * INTERVAL > self.limit:
                verdict = verdict or self.judge(rank, f"has been silent for {self.limit:.0f} s")
        return verdict

    def judge(self, rank: int, what: str) -> str:
        process, beat = self.get([f"process/{rank}", f"beat/{rank}"])
        if FAILED in beat:
            return f"rank {rank}{beat[beat.index(FAILED) :]}"
        pid, host = process.split()
        return f"rank {rank} (process {pid} on {host}, last seen at {beat.partition(' ')[2]}) {what}"

    def get(self, keys: Sequence[str]) -> list[str]:
        return [value.decode() for value in self.store.multi_get(list(keys))]

    def give_up(self, verdict: str) -> None:
        """Says what happened, then ends the process, showing where every thread is, unless it ends by itself."""
        logger.critical("rank %d, at %s, stops: %s", self.world.rank, self.world.doing, verdict)
        self.named.set()
        if not wait([self.ended], GRACE):
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
