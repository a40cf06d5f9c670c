"""What a run was computed with, and whether a resumed one computes the same. Knows nothing of files."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from typing import Any

import torch

import glassgpt
from glassgpt.parallel.world import World
from glassgpt.weights.manifest import Manifest

# Resuming with one of these changed is another run, not the same one.
REFUSED = (
    "config_sha256", "data.fingerprint", "data.tokenizer_sha256", "data.vocab_size", "seed", "order_version",
    "batch.global", "batch.n_ctx", "tokens_seen", "env.dtype",
)  # fmt: skip

# Resuming with one of these changed is the same run with other last bits.
WARNED = (
    "env.torch", "env.threads", "env.interop_threads", "env.world_size", "env.backend", "env.device",
    "env.cpu_capability", "env.matmul_precision", "env.deterministic", "env.compiled",
)  # fmt: skip


def env_facts(
    device: torch.device, dtype: torch.dtype, compiled: str, world: World
) -> dict[str, str | int | bool | None]:
    """The ``env`` of a manifest: versions, threads and the switches that decide the last bits of a result."""
    return {
        "glassgpt": glassgpt.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "os": platform.platform(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "world_size": world.size,
        "backend": world.backend,
        "device": device_name(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": str(dtype).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "compiled": compiled,
    }


def device_name(device: torch.device) -> str:
    """What the driver of a device calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def compare(manifest: Manifest, facts: Mapping[str, Any], allow: Collection[str] = ()) -> list[str]:
    """Warnings about what changed since ``manifest`` was written; ``facts`` are those of the next commit.

    A changed field named in ``allow`` (such as ``seed`` or ``batch.global``) is a warning too.

    Raises:
        ValueError: a field of ``REFUSED`` changed, or ``allow`` names none of them.
    """
    if unknown := set(allow) - set(REFUSED):
        raise ValueError(f"{', '.join(sorted(unknown))} cannot be allowed to change: choose from {', '.join(REFUSED)}")
    then = manifest.model_dump()
    changes = {
        field: f"{field}: {old} -> {new}"
        for field in (*REFUSED, *WARNED)
        if (old := at(then, field)) != (new := at(facts, field))
    }
    if refused := [field for field in REFUSED if field in changes and field not in allow]:
        raise ValueError(
            f"the checkpoint of step {manifest.step} belongs to another run: "
            f"{'; '.join(changes[field] for field in refused)}. "
            f"Undo the change, or allow it by name: {', '.join(refused)}"
        )
    return [f"bits will not match an uninterrupted run, because {change}" for change in changes.values()]


def at(facts: Mapping[str, Any], field: str) -> Any:
    """The fact at a dotted path."""
    for part in field.split("."):
        facts = facts[part]
    return facts
