"""A batch of a past step, exactly as training saw it: its windows, their documents, their losses. Prints nothing.

T tokens
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from glassgpt.data.packing import document_starts
from glassgpt.model.gpt import GPT
from glassgpt.training.environment import at
from glassgpt.training.loop import windows
from glassgpt.training.run import Run
from glassgpt.training.spikes import score
from glassgpt.training.state import Progress, checkpoint_facts
from glassgpt.weights.checkpoint import Checkpoint

# The facts of a checkpoint's manifest that decide what a batch is; a batch that grew otherwise has seen other tokens.
DECIDING = (
    "data.fingerprint", "data.tokenizer_sha256", "seed", "order_version", "batch.global", "batch.n_ctx", "tokens_seen",
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """What a window shows of one document: the ``number``-th of the training tokens (0: before the first mark of one),
    from its token ``offset`` on."""

    number: int
    offset: int
    text: str


@dataclass(frozen=True)
class Shown:
    """One row of a batch: window number ``window``, which begins at token ``start`` of the training tokens and at token
    ``file_start`` of ``file``. ``score`` says how far its loss stands out from the batch's."""

    row: int
    window: int
    start: int
    file: str
    file_start: int
    pieces: list[Piece]
    loss: float | None = None
    score: float | None = None


def check(run: Run, checkpoint: Checkpoint | None) -> None:
    """Makes sure that the tokens are those the run was trained on, as far as manifest and checkpoint can tell.

    Raises:
        ValueError: a file of tokens changed, or they, or what decides their order, are not those of the checkpoint.
    """
    if run.train.manifest is not None:
        run.train.verify()
    if checkpoint is None:
        return
    then, now = checkpoint.manifest.model_dump(), checkpoint_facts(run, Progress(step=checkpoint.step))
    facts = [(name, at(then, name), at(now, name)) for name in DECIDING]
    if changed := [f"{name}: {before} -> {after}" for name, before, after in facts if before != after]:
        raise ValueError(
            f"the batch cannot be rebuilt, because something changed since the checkpoint of step {checkpoint.step}: "
            f"{'; '.join(changed)}. Put back the tokens and the settings of then"
        )


def rebuild(run: Run, step: int) -> list[Shown]:
    """The rows of the batch behind update ``step``, in the order in which training saw them.

    Raises:
        ValueError: the run has no such step.
    """
    if not 1 <= step <= run.config.steps:
        raise ValueError(f"step {step:,} is not one of the run's: choose 1 to {run.config.steps:,}")
    eot = run.train.manifest.eot if run.train.manifest else run.tokenizer.eot
    documents = np.array(document_starts(run.train, eot), np.int64)
    return [show(run, row, window, documents) for row, window in enumerate(windows(run, step - 1))]


def show(run: Run, row: int, window: int, documents: np.ndarray) -> Shown:
    """One row, cut where ``documents`` begin."""
    shards, start = run.train, int(run.batches.windows.starts[window])
    end = start + run.context_length + 1  # the last token is predicted only
    inside = documents[(documents > start) & (documents < end)].tolist()
    pieces = []
    for first, last in zip([start, *inside], [*inside, end], strict=True):
        number = int(np.searchsorted(documents, first, side="right"))
        offset = first - int(documents[number - 1]) if number else first
        ids = shards.read(first, last - first).tolist()
        pieces.append(Piece(number, offset, run.tokenizer.decode(ids[1:] if number and offset == 0 else ids)))
    index = bisect_right(shards.ends, start)
    file = shards.files[index]
    return Shown(row, window, start, file.path.name, start - (shards.ends[index] - file.num_tokens), pieces)


@torch.inference_mode()
def measure(run: Run, shown: list[Shown], model: GPT) -> list[Shown]:
    """The rows with the loss of each under ``model``, without dropout, the highest first."""
    losses = []
    for row in shown:
        tokens, targets = run.batches.windows.gather(np.array([row.window]))  # (1, T) each
        losses.append(F.cross_entropy(model(tokens)[0].float(), targets[0]).item())
    ranked = sorted(zip(losses, shown, strict=True), key=lambda pair: -pair[0])
    return [replace(row, loss=loss, score=score(loss, losses)) for loss, row in ranked]
