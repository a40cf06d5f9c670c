"""A run directory: the text prepared, the parts checked, the configuration written. Knows nothing of steps.

runs/<name>/{config.toml, data/, metrics.jsonl, loss.svg, checkpoints/step-00000100/}
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from glassgpt.data.manifest import MANIFEST
from glassgpt.data.prepare import Report, prepare
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.config import DataConfig, RunConfig
from glassgpt.training.run import Run

CONFIG = "config.toml"


def start(
    config: RunConfig,
    directory: Path,
    resume: bool = False,
    report: Report = lambda done, total, text: None,
) -> Run:
    """The run of ``config`` in ``directory``, ready for its first or its next step. ``report`` hears of the text being
    prepared: bytes done, bytes in all, bytes of text.

    Raises:
        FileExistsError: the directory holds a run, and ``resume`` was not asked for.
        FileNotFoundError: a source is not there.
        ValueError: text, tokenizer, context and batch do not fit each other, or the data of a resumed run changed.
    """
    path = directory / CONFIG
    if path.exists():
        if not resume:
            raise FileExistsError(
                f"{directory} holds a run: continue it with --resume, or choose another directory with --name"
            )
        before = RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        if before.data != config.data:
            raise ValueError(f"[data] is not what {path} says: resume with the same, or start another run")
    is_new = not directory.exists()
    try:
        run = Run(config, *tokenize(config.data, directory / "data", report))
    except (ValueError, FileNotFoundError):
        if is_new:  # what does not fit together leaves nothing behind; a kill leaves what it had prepared
            shutil.rmtree(directory, ignore_errors=True)
        raise
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(config.toml(), encoding="utf-8")
    return run


def tokenize(config: DataConfig, directory: Path, report: Report) -> tuple[Tokenizer, Path]:
    """The tokenizer and the directory of shards: what was named as the source, or is now made of the sources."""
    if not config.sources:
        raise ValueError("data.sources is empty: name a text, such as my.txt")
    [*others, source] = map(Path, config.sources)
    if not others and is_tokenized(source):
        beside = Tokenizer.load(source) if (source / "tokenizer.json").exists() else None
        return beside or find_tokenizer(config.tokenizer), source
    if not (directory / MANIFEST).exists() or all(Path(source).exists() for source in config.sources):
        vocabulary = config.vocab_size or find_tokenizer(config.tokenizer)
        prepare(config.sources, directory, vocabulary, config.field, config.validation, report=report)
    return Tokenizer.load(directory), directory


def is_tokenized(source: Path) -> bool:
    """Whether a source is a directory of shards already."""
    return (source / MANIFEST).exists() or any(source.glob("*train*.bin"))


def find_tokenizer(name: str) -> Tokenizer:
    """GPT-2's tokenizer, or the one in a directory."""
    return gpt2() if name == "gpt2" else Tokenizer.load(name)
