import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

KERNELS = (
    "add_linear_kernel add_linear_of_parts_kernel cross_entropy_kernel embed_kernel merge_kernel norm_linear_kernel "
    "norm_qkv_kernel part_kernel part_peak_kernel peak_kernel store_kernel"
)


def test_every_triton_kernel_compiles_for_an_h100(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("triton_targets.py")
    result = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == KERNELS.split()
