"""The processes that train together, as one of them sees it. Knows nothing of models."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from glassgpt.parallel.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

COUNTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(hours=12)


class OtherRankFailed(RuntimeError):
    """Another rank failed, and it is that one which says why."""


class World:
    """``rank`` is one of ``size`` processes; on its own machine it is ``local_rank`` of ``local_size``.

    A process that was started alone is a world of one, in which everything below works and costs nothing. ``doing`` is
    what this process is at, for the others to read should it fall silent.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1, address: tuple[str, int] = ("", 0)
    ):
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size
        self.address = address
        self.device = torch.device("cpu")
        self.doing = "the start"
        self.start_timeout = timedelta(seconds=300)
        self.timeout = timedelta(seconds=120)
        self._groups: list[dist.ProcessGroup] = []
        self._control: Any = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The world that torchrun, or whoever sets the same variables, has started this process in.

        Raises:
            ValueError: some of the variables are missing, or are not the numbers they should be.
        """
        if not {"RANK", "WORLD_SIZE"} & environment.keys():
            return cls()
        if missing := [name for name in (*COUNTS, *ADDRESS) if name not in environment]:
            raise ValueError(f"the environment has no {', '.join(missing)}: start with torchrun, which sets them all")
        try:
            rank, size, local_rank, local_size, port = (int(environment[name]) for name in (*COUNTS, "MASTER_PORT"))
        except ValueError as error:
            raise ValueError(f"{', '.join(COUNTS)} and MASTER_PORT must be whole numbers: {error}") from None
        if not (0 <= local_rank < local_size <= size and 0 <= rank < size):
            raise ValueError(
                f"rank {rank} of {size}, on its machine {local_rank} of {local_size}, cannot be: start with torchrun"
            )
        return cls(rank, size, local_rank, local_size, (environment["MASTER_ADDR"], port))

    @property
    def is_main(self) -> bool:
        """Whether this rank is the one that prints and writes."""
        return self.rank == 0

    @property
    def backend(self) -> str | None:
        """What carries the collectives of the device; nothing if there are none."""
        return dist.get_default_backend_for_device(self.device) if self.size > 1 else None

    @contextmanager
    def joined(self, device: torch.device, start_timeout: float = 300.0, timeout: float = 120.0) -> Iterator[Self]:
        """Connects the ranks while the block runs; each computes on a ``device`` of its own.

        A collective that takes longer than ``start_timeout`` seconds, or than ``timeout`` once ``hurry`` was called,
        fails on all ranks. A rank that dies, or is silent for ``timeout`` seconds, ends all of them with its name.

        Raises:
            ValueError: this machine has fewer devices than processes.
        """
        if self.size == 1:
            self.device = device
            yield self
            return
        self.device = own_device(device, self.local_rank, self.local_size)
        self.start_timeout, self.timeout = timedelta(seconds=start_timeout), timedelta(seconds=timeout)
        kind = self.device.type
        # Flags and files go through gloo, so that asking for one never waits for the accelerator.
        backend = "gloo" if kind == "cpu" else f"cpu:gloo,{kind}:{self.backend}"
        dist.init_process_group(backend, timeout=self.start_timeout, world_size=self.size, rank=self.rank)
        assert dist.group.WORLD is not None
        self._groups = [dist.group.WORLD]
        # Waiting for the main rank to read or write gigabytes is no failure for as long as its heart beats.
        self._control = dist.new_group(backend="gloo", timeout=PATIENCE)
        # A silent rank is to be named before the collectives that wait for it fail.
        heartbeat = Heartbeat(self, self.from_main(secrets.token_hex(4)), limit=0.75 * timeout)
        try:
            yield self
        except BaseException as error:
            # A collective fails with a RuntimeError, which does not say whose connection it was that broke.
            may_be_lost = isinstance(error, RuntimeError) and not isinstance(error, OtherRankFailed)
            heartbeat.stop(f"{type(error).__name__}: {error}", wait_for_name=may_be_lost)
            raise
        heartbeat.stop()
        # Without it a rank may tear down connections that another still needs, and abort that one after the last step.
        self.barrier()
        dist.destroy_process_group()
        self._groups = []

    def hurry(self) -> None:
        """From now on a collective may take ``timeout``: whatever is slow only once, such as compilation, is done."""
        for group in self._groups:
            group.set_timeout(self.timeout)

    def mesh(self, tensor: int) -> DeviceMesh:
        """All ranks as a grid of ``data`` rows with ``tensor`` neighbouring ranks each."""
        shape = (self.size // tensor, tensor)
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("data", "tensor"))
        for group in mesh.get_all_groups():
            group.set_timeout(self.start_timeout)
            self._groups.append(group)
        return mesh

    def sum(self, x: Tensor) -> Tensor:
        """The sum over all ranks, on every rank."""
        if self.size == 1:
            return x
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def mean(self, x: Tensor) -> Tensor:
        """The mean over all ranks, on every rank."""
        return self.sum(x) / self.size

    def max(self, x: int) -> int:
        """The largest over all ranks, on every rank."""
        if self.size == 1:
            return x
        largest = torch.tensor(int(x))
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.max(flag))

    def broadcast(self, x: Tensor) -> Tensor:
        """What the main rank has in ``x``; the others pass anything of its shape and dtype."""
        if self.size == 1:
            return x
        x = x.contiguous()  # of a transposed tensor the bytes would arrive, in another order
        dist.broadcast(x, 0)
        return x

    def barrier(self) -> None:
        """Waits until all ranks are here."""
        self.any(False)

    def from_main(self, value: Any) -> Any:
        """What the main rank passes, on every rank: anything JSON can say. Others pass what they like and wait."""
        if self.size == 1:
            return value
        content = json.dumps(value).encode() if self.is_main else b""
        length = torch.tensor(len(content))
        dist.broadcast(length, 0, self._control)
        text = torch.frombuffer(bytearray(content or bytes(int(length))), dtype=torch.uint8)
        dist.broadcast(text, 0, self._control)
        return json.loads(text.numpy().tobytes())


def own_device(device: torch.device, local_rank: int, local_size: int) -> torch.device:
    """The device of this rank, which becomes the current one: the CPU, or the accelerator number ``local_rank``.

    Raises:
        ValueError: there are fewer of them than ranks on this machine, or ``device`` cannot be shared.
    """
    if device.type == "cpu":
        return device
    if (count := torch.accelerator.device_count()) < local_size or device.type == "mps":
        raise ValueError(
            f"{local_size} processes need a {device.type} device each, this machine has {count}: "
            f"start {count}, or choose device cpu"
        )
    torch.accelerator.set_device_index(local_rank)
    return torch.device(device.type, local_rank)
