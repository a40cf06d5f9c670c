"""What the main rank does alone is known to all, whether it succeeds or fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import worlds

from glassgpt.parallel.conduct import conduct, on_main
from glassgpt.parallel.world import OtherRankFailed, World


def compute(world: World) -> dict[str, Any]:
    return on_main(world, lambda: {"computed by": world.rank})


def test_all_ranks_return_what_the_main_one_computed():
    assert compute(World()) == {"computed by": 0}
    assert worlds.run(compute, 2) == [{"computed by": 0}] * 2


def help_out(world: World) -> list[str]:
    heard: list[str] = []

    def work(call) -> None:
        for name in ("a", "b"):
            call(name)

    conduct(world, work, heard.append)
    return heard


def test_the_others_serve_every_call_in_order():
    assert worlds.run(help_out, 2) == [[], ["a", "b"]]


def fail(world: World) -> str:
    with pytest.raises((OSError, OtherRankFailed)) as error:
        on_main(world, lambda: Path("/nowhere/file").write_bytes(b""))
    return f"{error.type.__name__}: {error.value}"


def test_a_failure_of_the_main_rank_is_one_of_all():
    main, other = worlds.run(fail, 2)
    assert main == "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/file'"
    assert other == f"OtherRankFailed: rank 0 failed: {main}"
