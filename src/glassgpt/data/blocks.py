"""A block of work: what has been encoded since the last shard was finished. Knows nothing of what came before it."""

from __future__ import annotations

from pathlib import Path

from glassgpt.data.manifest import Shard, Split
from glassgpt.data.pipeline import Encoded
from glassgpt.data.token_file import TokenWriter


class Block:
    """One shard of training tokens, and one of the validation tokens that stood between them."""

    def __init__(self, out: Path, number: int, vocab_size: int):
        self.out = out
        self.number = number
        self.vocab_size = vocab_size
        self.writers: dict[Split, TokenWriter] = {}
        self.num_documents: dict[Split, int] = {"train": 0, "val": 0}
        self.num_pieces = 0

    @property
    def num_tokens(self) -> int:
        """Training tokens so far."""
        return self.writers["train"].num_tokens if "train" in self.writers else 0

    def add(self, encoded: Encoded) -> None:
        for split, ids in encoded.tokens.items():
            if split not in self.writers:
                self.writers[split] = TokenWriter(self.out / f"tokens_{split}_{self.number:06d}.bin", self.vocab_size)
            self.writers[split].add(ids)
            self.num_documents[split] += encoded.num_documents[split]
        self.num_pieces += encoded.num_pieces

    def close(self) -> dict[Split, list[Shard]]:
        """Completes the files and returns their lines for the manifest; a split without tokens has none."""
        shards: dict[Split, list[Shard]] = {"train": [], "val": []}
        for split, writer in self.writers.items():
            sha256 = writer.close()
            shards[split].append(
                Shard(
                    name=writer.path.name,
                    tokens=writer.num_tokens,
                    documents=self.num_documents[split],
                    sha256=sha256,
                )
            )
        return shards
