"""How many replicas a configuration makes of a world."""

from __future__ import annotations

import pytest

from glassgpt.parallel.config import ParallelConfig


def test_groups_of_tensor_ranks_are_the_replicas():
    assert ParallelConfig().replicas(8) == 8
    assert ParallelConfig(data="fsdp", tensor=4).replicas(8) == 2


def test_groups_must_fill_the_world():
    with pytest.raises(ValueError, match="6 processes are no whole groups of tensor 4"):
        ParallelConfig(data="fsdp", tensor=4).replicas(6)


def test_tensor_needs_fsdp():
    with pytest.raises(ValueError, match="choose data 'fsdp'"):
        ParallelConfig(tensor=2)
