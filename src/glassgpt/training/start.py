"""A run directory: the text prepared, the parts checked. Knows nothing of steps.

runs/<name>/{config.toml, data/, metrics.jsonl, loss.svg, checkpoints/step-00000100/}
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from glassgpt.data.manifest import MANIFEST
from glassgpt.data.prepare import Busy, Report, prepare
from glassgpt.data.shards import Shards
from glassgpt.parallel.conduct import on_main
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.world import World
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.config import DataConfig, RunConfig
from glassgpt.training.run import Run, layout

CONFIG = "config.toml"


def start(
    config: RunConfig,
    directory: Path,
    resume: bool = False,
    report: Report = lambda done, total, text: None,
    world: World | None = None,
) -> Run:
    """The run of ``config`` in ``directory``, ready for its first or its next step. ``report`` hears of the text being
    prepared: bytes done, bytes in all, bytes of text.

    Raises:
        FileExistsError: the directory holds a run, and ``resume`` was not asked for.
        FileNotFoundError: a source is not there.
        ValueError: text, tokenizer, context and batch do not fit each other, the data of a resumed run changed, or
            tokens are not those that were written.
    """
    world = world or World()

    def claim() -> str:
        check(config, directory, resume)
        layout(config, world.size)  # not after hours of preparing
        shards = find_shards(config.data, directory / "data", report)
        verify(shards, report)
        return str(shards)

    with tentative(directory) if world.is_main else nullcontext():
        shards = Path(on_main(world, claim))
        return Run(config, tokenizer_of(shards, config.data), shards, world)


@contextmanager
def tentative(directory: Path) -> Iterator[None]:
    """Makes the directory of a run, and removes it if the block finds that something does not fit together; a kill
    leaves what was prepared. What was there, or what another process is just preparing in it, stays."""
    try:
        directory.mkdir(parents=True)
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if is_new and not isinstance(error, Busy):
            shutil.rmtree(directory, ignore_errors=True)
        raise


def reopen(directory: Path) -> Run:
    """The run in a directory, to look at: on the CPU, in one process, its weights not trained. Writes nothing.

    Raises:
        FileNotFoundError: it is no run, or its tokens are gone.
        ValueError: its tokens do not fit it any more.
    """
    path, own = directory / CONFIG, directory / "data"
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory} is not a run: it has no {CONFIG}; name a directory that glassgpt train made"
        )
    config = read_config(path)
    shards = own if (own / MANIFEST).exists() else Path(config.data.sources[0])
    here = {"device": "cpu", "precision": "float32", "compile": False, "parallel": ParallelConfig()}
    return Run(config.model_copy(update=here), tokenizer_of(shards, config.data), shards)


def read_config(path: Path) -> RunConfig:
    """The configuration in a TOML file."""
    return RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def check(config: RunConfig, directory: Path, resume: bool) -> None:
    """Raises FileExistsError or ValueError if ``directory`` holds a run that this is not the continuation of."""
    path = directory / CONFIG
    if not path.exists():
        return
    if not resume:
        raise FileExistsError(
            f"{directory} holds a run: continue it with --resume, or choose another directory with --name"
        )
    before = read_config(path)
    if before.data != config.data:
        raise ValueError(f"[data] is not what {path} says: resume with the same, or start another run")


def find_shards(config: DataConfig, directory: Path, report: Report) -> Path:
    """The directory of shards: what was named as the source, or what is now made of the sources."""
    if not config.sources:
        raise ValueError("data.sources is empty: name a text, such as my.txt")
    [*others, source] = map(Path, config.sources)
    if not others and is_tokenized(source):
        return source
    if not (directory / MANIFEST).exists() or all(Path(source).exists() for source in config.sources):
        vocabulary = config.vocab_size or find_tokenizer(config.tokenizer)
        prepare(config.sources, directory, vocabulary, config.field, config.validation, report=report)
    return directory


def verify(directory: Path, report: Report) -> None:
    """Hashes all tokens that have a manifest to compare with: one flipped bit would be learnt without a word."""
    if not (directory / MANIFEST).exists():
        return
    shards = [Shards.open(directory, split) for split in ("train", "val")]
    done, total = 0, sum(file.path.stat().st_size for split in shards for file in split.files)

    def hashed(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        report(done, total, 0)

    for split in shards:
        split.verify(hashed)


def is_tokenized(source: Path) -> bool:
    """Whether a source is a directory of shards already."""
    return (source / MANIFEST).exists() or any(source.glob("*train*.bin"))


def tokenizer_of(shards: Path, config: DataConfig) -> Tokenizer:
    """The tokenizer that lies beside the shards, or else the one that was named."""
    return Tokenizer.load(shards) if (shards / "tokenizer.json").exists() else find_tokenizer(config.tokenizer)


def find_tokenizer(name: str) -> Tokenizer:
    """GPT-2's tokenizer, or the one in a directory."""
    return gpt2() if name == "gpt2" else Tokenizer.load(name)
