"""What a directory of token shards says about itself: ``manifest.json``. Knows nothing of the tokens in the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from glassgpt.data.canonical import digest, seal, unseal

MANIFEST = "manifest.json"
PROGRESS = "progress.json"  # stands there while a preparation is unfinished

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Split = Literal["train", "val"]
Count = Annotated[int, Field(ge=0)]


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Shard(Facts):
    """One file of tokens; ``documents`` counts those that begin in it, ``sha256`` is of the whole file."""

    name: FileName
    tokens: Count
    documents: Count
    sha256: Sha256


class Source(Facts):
    """One file the tokens were made from."""

    name: str
    bytes: Count
    sha256: Sha256


class Request(Facts):
    """What was asked of ``prepare``: all that decides the bytes of the shards.

    ``vocabulary`` is the SHA-256 of a tokenizer, or the size of one that was learnt from the training documents.
    """

    sources: list[Source]
    field: str
    val_fraction: float
    vocabulary: Sha256 | int
    shard_tokens: Count


class Manifest(Facts):
    """What the shards hold. ``splits`` lists the shards of ``train`` and ``val`` in reading order.

    ``eot`` is the id of ``<|endoftext|>``, which stands before each document. ``divided`` says how validation was told
    from training: whole documents, or the end of the one document there is.
    """

    format: Literal["glassgpt-shards"] = "glassgpt-shards"
    version: Literal[1] = 1
    dtype: Literal["uint16", "uint32"]
    vocab_size: Annotated[int, Field(ge=1, le=2**32)]
    eot: Count
    eot_placement: Literal["before"] = "before"
    tokenizer_sha256: Sha256
    splits: dict[Split, list[Shard]]
    divided: Literal["by document", "by position"] | None = None
    request: Request | None = None

    @property
    def digest(self) -> str:
        """The identity of the data: SHA-256 of the manifest, which holds the hash of every shard."""
        return digest(self.model_dump())

    def encode(self) -> bytes:
        """The content of ``manifest.json``."""
        return seal(self.model_dump())

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest in a file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it was damaged, or written by something else.
        """
        fields = unseal(path.read_bytes(), str(path))
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: {where}: {first['msg']}: prepare the data again with this version") from None
