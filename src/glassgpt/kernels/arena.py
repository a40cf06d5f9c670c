"""The weights of a model in one piece of memory made of huge pages, where the system has them.

With pages of 4 KB a processor reads weights at two thirds of what memory gives: it waits for addresses to be looked up.
Pages of 2 MB are asked for (Linux, transparent huge pages); elsewhere the weights stay where they are.
"""

from __future__ import annotations

import mmap

import torch
from torch import Tensor, nn

PAGE = 2**21
LINE = 64  # where a tensor may begin


def use_huge_pages(model: nn.Module) -> None:
    """Moves all parameters and buffers of a model on the CPU into huge pages; whoever holds them sees them move."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.device.type == "cpu"}
    size = sum(round_up(tensor.nbytes) for tensor in tensors.values())
    if size < PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    arena, start = huge_pages(size), 0
    for tensor in tensors.values():
        place = arena[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        tensor.data = place.copy_(tensor.data)
        start += round_up(place.nbytes)


def huge_pages(size: int) -> Tensor:
    """At least ``size`` bytes, (size,) uint8, from the beginning of a huge page on; its views keep the memory."""
    memory = mmap.mmap(-1, size + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    everything = torch.frombuffer(memory, dtype=torch.uint8)
    start = -everything.data_ptr() % PAGE
    return everything[start : start + size]


def round_up(size: int) -> int:
    return -(-size // LINE) * LINE
