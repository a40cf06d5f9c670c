"""How much memory a process has needed. Knows nothing of what it holds."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> int:
    """The most bytes that were in use at once: of the device's tensors on CUDA, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def resident_memory() -> int:
    """The bytes of memory this process holds now; where the system does not say, the most it has held."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory(torch.device("cpu"))
    return int(statm.read_text().split()[1]) * resource.getpagesize()


def free_memory(device: torch.device) -> int:
    """The bytes that a run on the device may take: what the system says is available, or all there is."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1024 * int(meminfo.read_text().partition("MemAvailable:")[2].split()[0])
