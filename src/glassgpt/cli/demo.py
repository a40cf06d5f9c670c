"""``glassgpt demo``: the whole way from text to text in some two minutes, on any computer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from glassgpt.cli import train
from glassgpt.cli.generate import generate
from glassgpt.cli.options import UsageError, console
from glassgpt.cli.settings import resolve, split

PROMPT = "ROMEO:"


def demo(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)], seed: int = 1, overwrite: bool = False
) -> int:
    """Train a small GPT on Shakespeare's plays and let it write, all on this computer in some two minutes.

    It is `glassgpt train` with a configuration that comes with the package, and takes the same options. A demo that was
    stopped goes on where it was, and a finished one writes at once.

    Args:
        arguments: Options for values of the configuration, such as --steps 500.
        seed: Of the text that is written. The same seed gives the same text.
        overwrite: Delete an earlier demo and begin anew.
    """
    from glassgpt.training.config import RunConfig
    from glassgpt.training.start import CONFIG
    from glassgpt.weights.checkpoint import newest

    named, overrides = split(RunConfig, arguments)
    if named:
        raise UsageError(f"the demo brings its own text: to train on {named[0]}, run glassgpt train {named[0]}")
    config = resolve(RunConfig, Path(__file__).with_name("demo.toml"), overrides)
    directory, log = Path("runs") / config.name, console(stderr=True)
    if overwrite and (directory / CONFIG).exists():
        shutil.rmtree(directory)
    checkpoint = newest(directory / "checkpoints")
    if checkpoint is not None and checkpoint.step >= config.steps:
        log.print(f"{directory} is trained already; --overwrite trains it anew", markup=False)
    else:
        if checkpoint is not None:
            log.print(f"going on with {directory} at step {checkpoint.step:,}; --overwrite begins anew", markup=False)
        if code := train.run(config, directory, resume=True):
            return code
    train.show(directory)
    generate(str(directory), PROMPT, seed=seed, overflow="slide")
    print(f"""
the same again     glassgpt generate {directory} "{PROMPT}" --seed {seed} --overflow slide
something else     glassgpt generate {directory} "JULIET:"
your own text      glassgpt train my.txt""")
    return 0
