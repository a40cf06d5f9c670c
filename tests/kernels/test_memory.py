"""A process that was told to keeps the memory it frees, and so takes no page faults for it again."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from glassgpt.kernels.memory import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("this C library cannot keep memory")
malloc, free, memset = (getattr(ctypes.CDLL(None), name) for name in ("malloc", "free", "memset"))
malloc.restype, SIZE = ctypes.c_void_p, 2**26

def touch():
    memory = ctypes.c_void_p(malloc(ctypes.c_size_t(SIZE)))
    memset(memory, 1, ctypes.c_size_t(SIZE))
    free(memory)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True)
    if "cannot keep" in done.stderr:
        pytest.skip(done.stderr.strip())
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_page_faults():
    pages = 5 * 2**26 // 4096
    assert faults("give back") > pages / 2  # as C libraries do by themselves
    assert faults("keep") < pages / 100
