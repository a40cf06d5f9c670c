import pytest
import torch

from glassgpt.parallel.world import World
from glassgpt.training.environment import REFUSED, WARNED, compare, env_facts
from glassgpt.training.torture.savers import facts
from glassgpt.weights.manifest import Manifest, build


@pytest.fixture
def now() -> dict:
    return facts() | {"env": env_facts(torch.device("cpu"), torch.float32, compiled="oneDNN", world=World())}


@pytest.fixture
def manifest(now: dict) -> Manifest:
    return build({**now, "step": 7, "created": 1, "parent": None, "files": {}, "tensors": {}})


def changed(facts: dict, field: str, value: object) -> dict:
    part, _, name = field.rpartition(".")
    return facts | ({part: facts[part] | {name: value}} if part else {name: value})


def test_nothing_changed(manifest: Manifest, now: dict) -> None:
    assert compare(manifest, now) == []


@pytest.mark.parametrize("field", REFUSED)
def test_another_run_is_refused_by_name_and_can_be_allowed_by_name(manifest: Manifest, now: dict, field: str) -> None:
    with pytest.raises(ValueError, match=rf"step 7 belongs to another run: {field}: \S+ -> other.*by name: {field}"):
        compare(manifest, changed(now, field, "other"))
    (warning,) = compare(manifest, changed(now, field, "other"), allow={field})
    assert f"because {field}: " in warning


@pytest.mark.parametrize("field", WARNED)
def test_other_last_bits_are_a_warning(manifest: Manifest, now: dict, field: str) -> None:
    (warning,) = compare(manifest, changed(now, field, "other"))
    assert warning.startswith(f"bits will not match an uninterrupted run, because {field}: ")


def test_what_never_stops_a_resume_cannot_be_allowed(manifest: Manifest, now: dict) -> None:
    with pytest.raises(ValueError, match=r"env\.threads cannot be allowed to change: choose from"):
        compare(manifest, now, allow={"env.threads"})


def test_the_environment_says_what_decides_the_last_bits(now: dict) -> None:
    assert now["env"]["threads"] == torch.get_num_threads()
    assert now["env"]["dtype"] == "float32"
    assert {field.removeprefix("env.") for field in WARNED} < set(now["env"])
