"""The manifest of a checkpoint: which bytes belong to it, and where they come from. Knows nothing of writing files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from glassgpt.data.canonical import digest, seal, unseal

MANIFEST = "manifest.json"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^(training/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)


class Parent(Facts):
    step: Count
    digest: Sha256


class Metrics(Facts):
    loss: Finite
    grad_norm: Finite


class File(Facts):
    bytes: Count
    sha256: Sha256


class TensorFacts(Facts):
    file: FileName
    dtype: str
    shape: list[Count]


class Data(Facts):
    fingerprint: str
    tokenizer_sha256: Sha256
    vocab_size: Count


class Batch(Facts):
    """Sequences per optimizer step and how they are cut up; ``n_ctx`` is the context length."""

    total: Count = Field(alias="global")
    micro: Count
    accumulation: Count
    n_ctx: Count


class Manifest(Facts):
    """What one checkpoint consists of (``files``, ``tensors``) and what produced it (everything else).

    ``created`` is seconds since 1970. ``log_bytes`` is the length of ``metrics.jsonl`` at this step. ``aliases`` name
    tensors that are stored once under another name. ``config_sha256`` is of the model configuration. ``env`` is what
    ``glassgpt.training.environment.env_facts`` found.
    """

    format: Literal["glassgpt-checkpoint"] = "glassgpt-checkpoint"
    version: Literal[1] = 1
    run_id: str
    step: Count
    epoch: Count
    tokens_seen: Count
    created: Count
    parent: Parent | None
    log_bytes: Count
    metrics: Metrics
    files: dict[FileName, File]
    tensors: dict[str, TensorFacts]
    aliases: dict[str, str] = {}
    seed: int
    order_version: Count
    data: Data
    batch: Batch
    config_sha256: Sha256
    env: dict[str, str | int | bool | None]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON without the digest itself."""
        return digest(self.model_dump())

    def encode(self) -> bytes:
        """The content of ``manifest.json``."""
        return seal(self.model_dump())


def decode(content: bytes) -> Manifest:
    """The manifest whose ``manifest.json`` holds ``content``.

    Raises:
        ValueError: not canonical JSON (which duplicate keys are not either), a wrong digest, an unknown version or
            field, a value out of range.
    """
    fields = unseal(content, MANIFEST)
    try:
        return build(fields)
    except ValueError as error:
        raise ValueError(f"{MANIFEST}: {error} (written by another version?)") from None


def build(fields: Mapping[str, Any]) -> Manifest:
    """The manifest with these fields.

    Raises:
        ValueError: a field is missing, unknown, of another type, out of range or not finite; the message names it.
    """
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
