"""The machine that a measurement was taken on: what it is, and how fast it reads memory. Knows no model."""

from __future__ import annotations

import mmap
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import glassgpt
from glassgpt.kernels.arena import huge_pages
from glassgpt.training.calibration import synchronize
from glassgpt.training.environment import device_name

READ_BYTES = 2**28  # several times what a processor's cache holds
NUM_READS = 5


def machine(device: torch.device) -> dict[str, Any]:
    """Processor or accelerator, threads, load of the last minute and versions."""
    return {
        "processor": processor() if device.type == "cpu" else device_name(device),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "glassgpt": glassgpt.__version__,
    }


def processor() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read_rate(device: torch.device) -> float:
    """Bytes a second that the device reads from memory in order, at best: adding up numbers does little else."""
    has_huge_pages = device.type == "cpu" and hasattr(mmap, "MADV_HUGEPAGE")  # as weights have them there
    buffer = huge_pages(READ_BYTES) if has_huge_pages else torch.empty(READ_BYTES, dtype=torch.uint8, device=device)
    numbers = buffer.view(torch.float32).fill_(1.0)
    laps = []
    for _ in range(1 + NUM_READS):
        start = time.perf_counter()
        numbers.sum()
        synchronize(device)
        laps.append(time.perf_counter() - start)
    return READ_BYTES / min(laps[1:])
