"""Writes checkpoints that survive a kill, a full disk and a power cut, and rotates old ones out.

Knows nothing of models or optimizers: a checkpoint is named streams of bytes and the facts of its manifest.
The protocol and what is promised about it: docs/reliability.md.
"""

from __future__ import annotations

import errno
import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from glassgpt.training import space
from glassgpt.training.lock import exclusive
from glassgpt.training.rotation import Rotation
from glassgpt.training.storage import Buffer, Storage, is_refusal, remove_tree, write_file
from glassgpt.weights.checkpoint import Checkpoint, candidates, newest, step_name, step_of
from glassgpt.weights.manifest import MANIFEST, File, Manifest, Parent, TensorFacts, build

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run, open for writing: ``with Checkpoints(run / "checkpoints") as checkpoints: ...``.

    Entering takes the lock, removes what a killed predecessor left half written, and tries a commit in small.
    After each commit the newest ``keep`` verified checkpoints stay, and every one whose step ``keep_every`` divides.
    """

    def __init__(
        self, directory: Path, keep: int = 2, keep_every: int | None = None, storage: Storage | None = None
    ) -> None:
        self.directory = directory
        self.rotation = Rotation(directory, keep, keep_every)
        self.storage = storage or Storage()
        self._size = 0  # bytes of a checkpoint, once known
        self._parent: Parent | None = None
        self._syncs_directories = True
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opening:
            opening.enter_context(exclusive(self.directory / ".lock"))
            try:
                for leftover in [*self.directory.glob(".stage-*"), *self.directory.glob(".trash-*")]:
                    remove_tree(self.storage, leftover)
                self._try_out()
            except OSError as error:
                raise self._explained(error, "no checkpoint can be saved") from error
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def preflight(self, size: int) -> None:
        """Checks, before the first step, that checkpoints of ``size`` bytes will fit.

        Raises:
            ValueError: there is no room for two.
        """
        self._size = size
        space.preflight(self.storage.free(self.directory), size, self.rotation.keep, self.directory)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies in full, or None in a new run; commits name it as their parent.

        Raises:
            CorruptCheckpoint: checkpoints exist, but none verifies.
        """
        checkpoint = newest(self.directory)
        if checkpoint is not None:
            self._adopt(checkpoint.manifest)
        return checkpoint

    def commit(self, step: int, files: Mapping[str, Iterable[Buffer]], facts: Mapping[str, Any]) -> Path:
        """Makes a checkpoint of ``files`` (name -> content as buffers) and returns its directory.

        When this returns, the checkpoint survives a power cut; until then nothing that was committed before is
        touched. ``facts`` are the fields of ``Manifest`` that are not found here.

        Raises:
            ValueError: the step is committed already, or a fact is missing or not finite.
            OSError: the disk refused; the message names the path, the bytes needed and the bytes free.
        """
        target = self.directory / step_name(step)
        self._clear_the_way(target)
        planned = {name: File(bytes=0, sha256="0" * 64) for name in files}
        own = {"parent": self._parent, "created": int(time.time()), "files": planned, "tensors": {}}
        draft = build({**own, **facts, "step": step})
        stage = self._hidden("stage", step)
        try:
            self._require_space()
            manifest = self._write(stage, files, draft)
            self._sync_directory(self.directory.parent)  # the names of the run's log and configuration
            self.storage.rename(stage, target)
            self._sync_directory(self.directory)
        except OSError as error:
            raise self._explained(error, f"step {step} could not be saved") from error
        finally:
            if stage.exists():
                with suppress(OSError):
                    remove_tree(self.storage, stage)
        self._adopt(manifest)
        self.rotation.rotate(self._delete)
        return target

    def written(self) -> tuple[int, int]:
        """How many bytes of a commit under way are written, and of how many; asked from another thread."""
        with suppress(OSError):  # a stage becomes a checkpoint at any moment
            files = [path for stage in self.directory.glob(".stage-*") for path in stage.rglob("*") if path.is_file()]
            return sum(path.stat().st_size for path in files), self._size
        return self._size, self._size

    def _write(self, stage: Path, files: Mapping[str, Iterable[Buffer]], draft: Manifest) -> Manifest:
        self.storage.make_directory(stage)
        folders = sorted({(stage / name).parent for name in files} - {stage})
        for folder in folders:
            self.storage.make_directory(folder)
        written: dict[str, File] = {}
        tensors: dict[str, TensorFacts] = {}
        for name, chunks in files.items():
            length, sha256 = write_file(self.storage, stage / name, chunks)
            written[name] = File(bytes=length, sha256=sha256)
            if name.endswith(".safetensors"):
                found = _tensors(stage, name)
                if twice := tensors.keys() & found.keys():
                    raise ValueError(f"{name} holds tensors that another file holds too: {', '.join(sorted(twice))}")
                tensors |= found
        manifest = draft.model_copy(update={"files": written, "tensors": tensors})
        write_file(self.storage, stage / MANIFEST, [manifest.encode()])
        for folder in (*folders, stage):
            self._sync_directory(folder)
        return manifest

    def _clear_the_way(self, target: Path) -> None:
        """Moves a damaged checkpoint of the same step aside: a run that fell back behind it must be able to pass it."""
        if not target.exists():
            return
        try:
            Checkpoint.open(target).verify()
        except ValueError as reason:
            aside = self.directory / f"rejected-{target.name}-{secrets.token_hex(4)}"
            logger.warning("%s is damaged (%s) and moves to %s", target, reason, aside.name)
            self.storage.rename(target, aside)
        else:
            raise ValueError(f"{target} is committed already: resume after it, or choose another run directory")

    def _delete(self, path: Path) -> None:
        trash = self._hidden("trash", step_of(path))
        self.storage.rename(path, trash)
        self._sync_directory(self.directory)  # or a power cut could bring the name back with half of its files
        remove_tree(self.storage, trash)

    def _adopt(self, manifest: Manifest) -> None:
        self.rotation.trust(manifest.step)
        self._parent = Parent(step=manifest.step, digest=manifest.digest)
        self._size = sum(file.bytes for file in manifest.files.values())

    def _hidden(self, kind: str, step: int) -> Path:
        return self.directory / f".{kind}-{step:08d}-{secrets.token_hex(4)}"

    def _try_out(self) -> None:
        """A commit in small: what this file system cannot do shows before the first step, not at the first save."""
        stage, trash = self._hidden("stage", 0), self._hidden("trash", 0)
        self.storage.make_directory(stage)
        write_file(self.storage, stage / "trial", [b"trial"])
        try:
            self.storage.sync_directory(stage)
        except OSError as error:
            if not is_refusal(error):
                raise
            self._syncs_directories = False
            what = "durability is not guaranteed on the file system of %s: it cannot sync a directory (%s)"
            logger.warning(what, self.directory, error.strerror)
        self.storage.rename(stage, trash)
        self._sync_directory(self.directory)
        if not candidates(self.directory):  # a new run: the way to it must survive a power cut, too
            for folder in self.directory.absolute().parents:
                with suppress(OSError):
                    self._sync_directory(folder)
        remove_tree(self.storage, trash)

    def _sync_directory(self, path: Path) -> None:
        if self._syncs_directories:
            self.storage.sync_directory(path)

    def _require_space(self) -> None:
        if self.storage.free(self.directory) < space.required(self._size):
            raise OSError(errno.ENOSPC, "No space left for another checkpoint", str(self.directory))

    def _explained(self, error: OSError, what: str) -> OSError:
        need, free = space.required(self._size), self.storage.free(self.directory)
        return OSError(
            error.errno,
            f"{what} to {error.filename or self.directory}: {error.strerror} "
            f"(needed with a margin: {need:,} bytes, free: {free:,}). Earlier checkpoints are untouched",
        )


def _tensors(stage: Path, name: str) -> dict[str, TensorFacts]:
    """What the header of a safetensors file that was just written lists."""
    with (stage / name).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return {key: TensorFacts(file=name, dtype=entry["dtype"], shape=entry["shape"]) for key, entry in header.items()}
