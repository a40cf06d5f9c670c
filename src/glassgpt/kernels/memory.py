"""Memory that is given back to the system costs a page fault a page when it is needed again.

In virtual machines that is a large part of a training step. Knows nothing of tensors.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """Makes this process keep the memory it frees, for its next tensors; False where the C library cannot.

    For processes that allocate the same sizes again and again. Source: mallopt(3) of glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(*setting) == 1 for setting in [(M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 * 2**20)]
    )
