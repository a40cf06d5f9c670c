"""``glassgpt train``: a configuration or a text becomes a run directory, and what happens meanwhile is shown."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.minutes import Dial
from glassgpt.cli.options import UsageError, console, print_json, progress
from glassgpt.cli.settings import resolve, split
from glassgpt.cli.texts import for_texts

if TYPE_CHECKING:
    from glassgpt.parallel.world import World
    from glassgpt.training.config import RunConfig

NON_FINITE = 3  # exit code
Tracker = Literal["tensorboard", "wandb", "trackio"]


def train(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    resume: bool = False,
    allow: tuple[str, ...] = (),
    minutes: float | None = None,
    processes: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    gpus: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    track: tuple[Tracker, ...] = (),
    json: bool = False,
) -> int:
    """Train a model on a text, or as a TOML file says; the result is a run directory in runs/.

    Any value of a TOML file is also an option, such as --steps 500; docs/training.md lists them.

        glassgpt train my.txt
        glassgpt train my.txt --minutes 10
        glassgpt train my.toml --optimizer.lr 3e-4
        glassgpt train runs/my --resume

    Args:
        arguments: Texts (.txt, .jsonl, .parquet), prepared tokens, a TOML file, or a run directory to resume.
        resume: Continue from the newest checkpoint, bit for bit.
        allow: A value that may differ from the checkpoint's, such as seed; may be given several times.
        minutes: Choose model, batch and steps for this machine and text, so that training ends after this time.
        processes: Train in so many processes on this machine; torchrun -m glassgpt train does on several.
        gpus: The same with a GPU for each.
        track: Tell a tracker of experiments, too, on this machine only; may be given several times.
        json: Print the result as JSON.
    """
    from glassgpt.parallel.world import World
    from glassgpt.training.config import RunConfig

    named, overrides = split(RunConfig, arguments)
    processes = count(processes, gpus)
    paths, dial = [Path(name) for name in named], None
    if minutes is None:
        config, directory = choose(paths, overrides)
    else:
        dial = Dial(minutes)
        config, directory = dial.choose(paths, overrides, is_alone=not resume and processes == 1)
    if processes > 1:
        from glassgpt.parallel.launch import launch

        options = [*(["--resume"] * resume), *(["--json"] * json), *(f"--allow={field}" for field in allow)]
        options += [f"--track={name}" for name in track]
        return launch(["-m", "glassgpt", "train", *arguments, *options], processes)
    code = run(config, directory, resume, allow, track)
    if not World.from_environment().is_main:
        return code
    if json:
        from glassgpt.inspection.curves import summary
        from glassgpt.training.metrics import METRICS

        times = {"seconds_asked": dial.seconds, "seconds_taken": dial.elapsed} if dial else {}
        # A run that stopped before its first step has measured nothing.
        result = summary([directory])[0] if (directory / METRICS).stat().st_size else {"steps": 0}
        print_json({"directory": str(directory), "exit_code": code, **result, **times})
    elif code == 0:
        show(directory)
        if dial:
            print(f"time               {dial.outcome()}")
        print(f'next: glassgpt generate {directory} "Once upon a time"')
    return code


def count(processes: int | None, gpus: int | None) -> int:
    """How many processes to start.

    Raises:
        UsageError: both were given, or there are not so many GPUs.
    """
    if gpus is None:
        return processes or 1
    if processes is not None:
        raise UsageError("--gpus starts a process a GPU: leave out --processes")
    import torch

    there = torch.accelerator.device_count()
    if gpus > there:
        advice = f"choose --gpus {there}" if there else f"choose --processes {gpus}, which train on its CPU"
        raise UsageError(f"--gpus {gpus}: this machine has {there}; {advice}")
    return gpus


def choose(paths: list[Path], overrides: dict[str, Any]) -> tuple[RunConfig, Path]:
    """The configuration and the run directory that the arguments mean.

    Raises:
        UsageError: they mean nothing.
    """
    from glassgpt.training.config import RunConfig
    from glassgpt.training.start import CONFIG

    if not paths and "data.sources" not in overrides:
        raise UsageError("name a text or a TOML file, as in: glassgpt train my.txt. Or try: glassgpt demo")
    if len(paths) == 1 and (paths[0] / CONFIG).is_file():
        return resolve(RunConfig, paths[0] / CONFIG, overrides), paths[0]
    if len(paths) == 1 and paths[0].suffix == ".toml":
        config = resolve(RunConfig, paths[0], overrides)
    else:
        config = resolve(RunConfig, None, for_texts(paths) | overrides)
    return config, Path("runs") / config.name


def run(
    config: RunConfig,
    directory: Path,
    resume: bool = False,
    allow: Collection[str] = (),
    track: Collection[Tracker] = (),
) -> int:
    """Trains, showing on stderr how it goes, and leaves a picture in the directory; returns the exit code."""
    from glassgpt.kernels.memory import keep_freed_memory
    from glassgpt.parallel.world import OtherRankFailed, World
    from glassgpt.training.run import find_device

    keep_freed_memory()
    world, parallel = World.from_environment(), config.parallel
    try:
        with world.joined(find_device(config.device), parallel.start_timeout, parallel.timeout):
            if world.is_main:
                return lead(world, config, directory, resume, allow, track)
            return follow(world, config, directory, resume, allow)
    except FloatingPointError as error:
        if world.is_main:
            print(f"glassgpt: error: {error}", file=sys.stderr)
        return NON_FINITE
    except OtherRankFailed:
        return 1


def lead(
    world: World,
    config: RunConfig,
    directory: Path,
    resume: bool,
    allow: Collection[str],
    track: Collection[Tracker],
) -> int:
    """What the main rank does, which alone shows anything."""
    from glassgpt.cli.status import Status
    from glassgpt.inspection.samples import samplers
    from glassgpt.training import loop
    from glassgpt.training.hooks import forgiving
    from glassgpt.training.start import start

    log = console(stderr=True)
    trackers = [import_module(f"glassgpt.training.tracking.{name}") for name in track]  # one may not be installed
    with progress("reading", 1.0) as update:
        run = start(config, directory, resume, lambda done, total, text: update(done / total), world)
    about = f"{run}" if run.device.type == "cpu" else f"{run}\n{run.utilization}"
    log.print(about, style="dim", markup=False, soft_wrap=True)
    with ExitStack() as stack:
        hooks = [forgiving(sampler, "sampling") for sampler in samplers(run)]
        for name, tracker in zip(track, trackers, strict=True):
            hooks.append(forgiving(stack.enter_context(tracker.track(config, directory)), name))
        status = Status(stack.enter_context(progress("training", config.steps)), directory)
        code = loop.train(run, directory, [*hooks, forgiving(status, "the display")], resume, allow)
    if code:
        saved = f"stopped, and saved what was learnt; to go on: glassgpt train {directory} --resume"
        log.print(saved, markup=False, soft_wrap=True)
    return code


def follow(world: World, config: RunConfig, directory: Path, resume: bool, allow: Collection[str]) -> int:
    """What every other rank does."""
    from glassgpt.training import loop
    from glassgpt.training.start import start

    return loop.train(start(config, directory, resume, world=world), directory, (), resume, allow)


def show(directory: Path) -> None:
    """Draws the loss curve on stdout and as loss.svg, and says what came of the run and what to do with it."""
    from glassgpt.inspection import braille, svg
    from glassgpt.inspection.curves import loss_curves, summary

    lines, [result] = loss_curves([directory]), summary([directory])
    picture = directory / "loss.svg"
    picture.write_text(svg.draw(lines, directory.name, "step", "loss (nats a token)"), encoding="utf-8")
    out = console()
    out.print(braille.draw(lines, min(out.width, 80)))
    out.print(f"""
{result["steps"]:,} steps, {result["tokens"]:,} tokens
best validation    {result["best_val_loss"]:.3f} nats a token, {result["best_bits_per_byte"]:.3f} bits a byte, at step \
{result["best_step"]:,}
model and metrics  {directory}
loss curve         {picture}
""")
