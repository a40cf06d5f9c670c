"""One preparation under way: its blocks, written one after the other, and the record of what is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from pydantic import Field

from glassgpt.data.blocks import Block
from glassgpt.data.canonical import seal, unseal
from glassgpt.data.documents import pieces
from glassgpt.data.encoding import encoder
from glassgpt.data.formats import Piece
from glassgpt.data.manifest import MANIFEST, PROGRESS, Count, Facts, Manifest, Request, Shard, Split
from glassgpt.data.pipeline import Labelled, encode_all
from glassgpt.data.splits import Rule
from glassgpt.data.token_file import dtype_name, write_file
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.training import train

Report = Callable[[int, int, int], None]


class Progress(Facts):
    """What is finished: some blocks, and the pieces of documents in them."""

    request: Request
    rule: Rule
    num_blocks: Count = 0
    num_pieces: Count = 0
    splits: dict[Split, list[Shard]] = Field(default_factory=lambda: {"train": [], "val": []})


class Job:
    """One preparation under way."""

    def __init__(
        self,
        out: Path,
        paths: Sequence[Path],
        request: Request,
        vocabulary: Tokenizer | int,
        workers: int,
        report: Report,
    ):
        self.out = out
        self.paths = paths
        self.request = request
        self.vocabulary = vocabulary
        self.workers = workers
        self.report = report
        self.num_bytes = 0  # of text, encoded so far

    def begin(self, rule: Rule) -> None:
        """Starts from nothing: learns the vocabulary if it is to be learnt, and writes it beside the shards to come."""
        self.progress = Progress(request=self.request, rule=rule)
        if isinstance(self.vocabulary, int):
            self.tokenizer = train((p.text for split, p in self.pieces() if split == "train"), self.vocabulary)
        else:
            self.tokenizer = self.vocabulary
        for name, content in self.tokenizer.files().items():
            write_file(self.out / name, content)
        self.save()

    def resume(self) -> None:
        """Goes on where a run stopped that was asked for the same."""
        self.progress = Progress.model_validate(unseal((self.out / PROGRESS).read_bytes(), str(self.out / PROGRESS)))
        require_same(self.progress.request, self.request, self.out)
        self.tokenizer = Tokenizer.load(self.out) if isinstance(self.vocabulary, int) else self.vocabulary

    def save(self) -> None:
        write_file(self.out / PROGRESS, seal(self.progress.model_dump()))

    def pieces(self) -> Iterator[Labelled]:
        """All pieces of all sources with the split they belong to; positions count through all sources."""

        def found() -> Iterator[Piece]:
            start = 0
            for path, source in zip(self.paths, self.request.sources, strict=True):
                for piece in pieces(path, self.request.field):
                    yield piece._replace(position=start + piece.position)
                start += source.bytes

        return self.progress.rule.assign(found())

    def write(self) -> None:
        """Writes the blocks that are missing."""
        rest = islice(self.pieces(), self.progress.num_pieces, None)
        total = sum(source.bytes for source in self.request.sources)
        block = self.new_block()
        for encoded in encode_all(rest, encoder(self.tokenizer), self.tokenizer.eot, self.workers):
            block.add(encoded)
            self.num_bytes += encoded.num_bytes
            self.report(encoded.position, total, self.num_bytes)
            if block.num_tokens >= self.request.shard_tokens:
                self.close(block)
                block = self.new_block()
        self.close(block)

    def new_block(self) -> Block:
        return Block(self.out, self.progress.num_blocks, self.tokenizer.vocab_size)

    def close(self, block: Block) -> None:
        """Completes the files of a block, and only then notes that it is finished."""
        shards = block.close()
        self.progress = self.progress.model_copy(
            update={
                "num_blocks": self.progress.num_blocks + 1,
                "num_pieces": self.progress.num_pieces + block.num_pieces,
                "splits": {split: [*done, *shards[split]] for split, done in self.progress.splits.items()},
            }
        )
        self.save()

    def finish(self) -> Manifest:
        """Writes the manifest and removes what it does not name."""
        splits = {split: shards for split, shards in self.progress.splits.items() if shards}
        if "train" not in splits:
            raise ValueError(
                "all documents went to validation, none are left to train on: give a smaller val_fraction or more "
                "documents; copies of one are always on the same side"
            )
        manifest = Manifest(
            dtype=dtype_name(self.tokenizer.vocab_size),
            vocab_size=self.tokenizer.vocab_size,
            eot=self.tokenizer.eot,
            tokenizer_sha256=self.tokenizer.sha256,
            splits=splits,
            divided="by document" if self.progress.rule.cut is None else "by position",
            request=self.request,
        )
        write_file(self.out / MANIFEST, manifest.encode())
        named = {shard.name for shards in splits.values() for shard in shards}
        for path in [self.out / PROGRESS, *self.out.glob("tokens_*.bin"), *self.out.glob("*.partial")]:
            if path.name not in named:
                path.unlink(missing_ok=True)
        return manifest


def require_same(made: Request | None, wanted: Request, out: Path) -> None:
    """Refuses to mix what ``out`` holds with something else.

    Raises:
        ValueError: ``out`` was, or is being, made from something else; the message says what differs.
    """
    if made == wanted:
        return
    differing = [name for name in Request.model_fields if made is None or getattr(made, name) != getattr(wanted, name)]
    raise ValueError(
        f"{out} holds tokens made with other {', '.join(differing)}: name another directory or delete this one"
    )
