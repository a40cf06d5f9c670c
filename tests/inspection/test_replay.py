"""A replayed batch is the one that training saw; it is refused where that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from glassgpt.data.packing import document_starts
from glassgpt.data.shards import write
from glassgpt.inspection.replay import Piece, check, measure, rebuild, show
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.config import DataConfig, RunConfig
from glassgpt.training.hooks import Event, Update
from glassgpt.training.loop import train
from glassgpt.training.run import Run
from glassgpt.training.start import CONFIG, reopen
from glassgpt.weights.checkpoint import newest
from glassgpt.weights.directory import load_model

TEXTS = [f"Document {number} says {'so ' * number}much." for number in range(1, 40)]
SHAPE = {"context_length": 16, "emb_dim": 32, "num_heads": 2, "num_layers": 1}


@pytest.fixture(scope="module")
def prepare(bytes_tokenizer: Tokenizer):
    """``prepare(directory, texts)``: a directory of shards with its tokenizer, in which tokens are bytes."""

    def prepare(directory: Path, texts: list[str]) -> Path:
        facts = bytes_tokenizer.vocab_size, bytes_tokenizer.eot, bytes_tokenizer.sha256
        documents = [bytes_tokenizer.encode(text) for text in texts]
        write(directory, {"train": documents, "val": documents[:5]}, *facts)
        for name, content in bytes_tokenizer.files().items():
            (directory / name).write_bytes(content)
        return directory

    return prepare


@pytest.fixture(scope="module")
def config(tmp_path_factory, prepare) -> RunConfig:
    """A run over 39 short documents, eight steps of four windows, a checkpoint each second step."""
    tokens = prepare(tmp_path_factory.mktemp("tokens"), TEXTS)
    return RunConfig.model_validate(
        {
            "steps": 8, "batch_size": 4, "data": {"sources": [str(tokens)]}, "model": SHAPE,
            "checkpoint": {"every": 2, "keep_every": 2},
        }
    )  # fmt: skip


@pytest.fixture
def directory(config, tmp_path, bytes_tokenizer) -> Path:
    """The directory of that run when it is over."""
    (tmp_path / CONFIG).write_text(config.toml())
    train(Run(config, bytes_tokenizer, Path(config.data.sources[0])), tmp_path)
    return tmp_path


def test_the_rows_are_those_that_training_saw_in_their_order(directory, config, bytes_tokenizer):
    run = reopen(directory)
    tokens, targets = run.batches.at(4)
    shown = rebuild(run, 5)
    assert [row.row for row in shown] == [0, 1, 2, 3]
    for row, seen, last in zip(shown, tokens, targets[:, -1:], strict=True):
        text = bytes_tokenizer.decode([*seen.tolist(), *last.tolist()])
        assert "".join(piece.text for piece in row.pieces) == text.replace("<|endoftext|>", "")


def test_pieces_are_cut_at_documents_and_say_where_they_come_from(directory):
    run = reopen(directory)
    for row in rebuild(run, 1):
        assert row.start == row.window * 16 == row.file_start
        assert row.file == "tokens_train_000000.bin"
        for piece in row.pieces:
            document = TEXTS[piece.number - 1]
            assert document[max(0, piece.offset - 1) :].startswith(piece.text)
    assert any(len(row.pieces) > 1 and row.pieces[1].offset == 0 for row in rebuild(run, 1))


def test_a_window_may_begin_with_the_mark_of_a_document(directory):
    run = reopen(directory)
    first = show(run, 0, 0, np.array(document_starts(run.train, run.tokenizer.eot)))
    assert first.pieces == [Piece(1, 0, TEXTS[0][:16])]


def test_the_losses_of_the_windows_make_the_loss_that_was_recorded(directory, config, bytes_tokenizer, tmp_path):
    run, before = reopen(directory), newest(directory / "checkpoints", until=4)
    assert before is not None and before.step == 4
    measured = measure(run, rebuild(run, 5), load_model(before.path))
    losses = [row.loss or 0.0 for row in measured]
    assert losses == sorted(losses, reverse=True)

    recorded: list[float] = []

    def hook(event: Event) -> None:
        if isinstance(event, Update) and event.step == 5:
            recorded.append(event.loss)

    train(Run(config, bytes_tokenizer, Path(config.data.sources[0])), tmp_path / "again", [hook])
    assert np.mean(losses) == pytest.approx(recorded[0], rel=1e-6)


def test_changed_tokens_are_refused(directory, config, bytes_tokenizer):
    check(reopen(directory), newest(directory / "checkpoints"))
    path = Path(config.data.sources[0]) / "tokens_train_000000.bin"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + b"\x01")
        with pytest.raises(ValueError, match=r"tokens_train_000000\.bin has SHA-256"):
            check(reopen(directory), newest(directory / "checkpoints"))
    finally:
        path.write_bytes(whole)


def test_another_order_is_refused(directory, config):
    other = config.model_copy(update={"seed": 2, "batch_size": 8})
    (directory / CONFIG).write_text(other.toml())
    with pytest.raises(ValueError, match=r"since the checkpoint of step 8: seed: 1 -> 2; batch\.global: 4 -> 8"):
        check(reopen(directory), newest(directory / "checkpoints"))


def test_a_batch_that_grows_is_rebuilt_and_another_growth_is_refused(config, bytes_tokenizer, tmp_path):
    def growing(steps: int) -> RunConfig:
        schedule = {"ramp": 0.5, "first_batch": 1}
        return RunConfig.model_validate({**config.model_dump(), "steps": steps, "micro_batch": 1, "schedule": schedule})

    (tmp_path / CONFIG).write_text(growing(8).toml())
    train(Run(growing(8), bytes_tokenizer, Path(config.data.sources[0])), tmp_path)
    run, saved = reopen(tmp_path), newest(tmp_path / "checkpoints")
    check(run, saved)
    sizes = [len(rebuild(run, step)) for step in range(1, 9)]
    assert sizes == sorted(sizes) and (sizes[0], sizes[-1]) == (1, 4)
    windows = [row.window for step in range(1, 9) for row in rebuild(run, step)]
    assert len(set(windows)) == sum(sizes), "no window comes twice in an epoch"
    (tmp_path / CONFIG).write_text(growing(16).toml())
    with pytest.raises(ValueError, match="tokens_seen"):
        check(reopen(tmp_path), saved)


def test_tokens_that_were_prepared_anew_from_another_text_are_refused(directory, config, tmp_path, prepare):
    other = config.model_copy(update={"data": DataConfig(sources=(str(prepare(tmp_path / "other", TEXTS[::-1])),))})
    (directory / CONFIG).write_text(other.toml())
    with pytest.raises(ValueError, match=r"data\.fingerprint: \w{64} -> \w{64}\. Put back the tokens"):
        check(reopen(directory), newest(directory / "checkpoints"))


def test_a_step_that_was_never_taken_and_what_is_no_run_are_refused(directory, tmp_path):
    with pytest.raises(ValueError, match="choose 1 to 8"):
        rebuild(reopen(directory), 9)
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config\.toml"):
        reopen(tmp_path / "checkpoints")
