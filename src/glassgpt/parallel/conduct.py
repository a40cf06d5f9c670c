"""Work that the main rank does alone, such as reading and writing files, while the others wait for it or help it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from glassgpt.parallel.world import OtherRankFailed, World

T = TypeVar("T")


def on_main(world: World, work: Callable[[], T]) -> T:
    """Runs ``work`` on the main rank; every rank returns its result, which JSON must be able to say.

    Raises:
        OtherRankFailed: on the other ranks, if ``work`` raises on the main one.
    """
    return conduct(world, lambda call: work(), lambda name: None)


def conduct(world: World, work: Callable[[Callable[[str], None]], T], serve: Callable[[str], object]) -> T:
    """The same with help: ``work(call)`` may call a name, for the other ranks to run ``serve`` with it.

    ``call`` returns at once, so that the main rank can take its own part in what ``serve`` does together.
    """
    if world.size == 1:
        return work(lambda name: None)
    if world.is_main:
        try:
            result = work(lambda name: world.from_main({"call": name}))
        except BaseException as error:
            world.from_main({"failure": f"{type(error).__name__}: {error}"})
            raise
        return world.from_main({"result": result})["result"]
    while "call" in (message := world.from_main(None)):
        serve(message["call"])
    if "failure" in message:
        raise OtherRankFailed(f"rank 0 failed: {message['failure']}")
    return message["result"]
