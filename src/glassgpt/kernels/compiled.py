"""The C++ in ``native``, compiled when it is first needed and kept in the user's cache directory.

Where that cannot be (no compiler, most often) there is no library, which is logged once, and PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import torch
from platformdirs import user_cache_path

logger = logging.getLogger(__name__)

NATIVE = Path(__file__).with_name("native")
COMMON = [
    "-O3",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wno-psabi",
]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma"]
# Instruction sets by torch's names for them; any other is left to what the compiler takes for granted.
INSTRUCTIONS = {"AVX512_BF16": [*AVX512, "-mavx512bf16"], "AVX512": AVX512, "AVX2": ["-mavx2", "-mfma"]}


@functools.cache
def library(instructions: str | None = None) -> ctypes.CDLL | None:
    """The kernels of generation, ``native/decode.cpp``, or None; arguments as in ``load``."""
    if (lib := load("decode", instructions)) is None:
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    lib.glassgpt_product.argtypes = [pointer, pointer, count, pointer, ctypes.c_int]
    lib.glassgpt_blocks.argtypes = [pointer, count, pointer, count, count, pointer, pointer, pointer, ctypes.c_int]
    return lib


@functools.cache
def load(name: str, instructions: str | None = None) -> ctypes.CDLL | None:
    """``native/<name>.cpp`` for a set of instructions, by default the best that torch finds on this processor, or None.

    torch honours ATEN_CPU_CAPABILITY (avx512, avx2, default). The first call on a machine takes some five seconds.
    """
    instructions = instructions or torch.backends.cpu.get_cpu_capability()
    try:
        return ctypes.CDLL(str(_compiled(NATIVE / f"{name}.cpp", instructions)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip().splitlines() if isinstance(error, subprocess.CalledProcessError) else []
        logger.warning("no compiled kernels, the CPU is slower without them: %s", said[0] if said else error)
        return None


def _compiled(source: Path, instructions: str) -> Path:
    """The shared library's file, compiled unless it is there."""
    # CXX is where a machine says which compiler to take.
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    command = [*compiler, *COMMON, *INSTRUCTIONS.get(instructions, []), str(source), *_openmp()]
    sources = b"".join(path.read_bytes() for path in [source, *sorted(NATIVE.glob("*.h"))])
    key = hashlib.sha256(sources + "\0".join(command).encode()).hexdigest()[:16]
    path = user_cache_path("glassgpt") / "kernels" / f"{source.stem}-{instructions.lower().replace(' ', '-')}-{key}.so"
    if not path.is_file():
        logger.info("compiling kernels for %s, once on this machine", instructions)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            subprocess.run([*command, "-o", str(made)], check=True, capture_output=True, text=True)
            made.replace(path)  # whole or not at all, also when two processes compile
    return path


def _openmp() -> list[str]:
    """torch's own OpenMP library where it brings one, so that its threads are ours too."""
    return [str(path) for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))[:1]]
