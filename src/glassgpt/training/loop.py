"""Training: batches in, weights out; a run that can be stopped and continued anywhere without changing a bit.

Knows nothing of text, terminals or file formats.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from glassgpt.data.batches import Ahead, Batch, fixed_batches
from glassgpt.data.token_file import write_file
from glassgpt.model.keys import key
from glassgpt.parallel.conduct import on_main
from glassgpt.parallel.finite import first_not_finite
from glassgpt.parallel.gradients import clip, total_norm
from glassgpt.parallel.plan import micro_step
from glassgpt.training.adoption import adopt
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.hooks import Evaluation, Event, Hook, Saved, Update, tell
from glassgpt.training.interrupt import Interrupt
from glassgpt.training.memory import peak_memory
from glassgpt.training.metrics import MetricsLog, last_losses
from glassgpt.training.run import Run
from glassgpt.training.schedule import decay_share, learning_rate
from glassgpt.training.spikes import WINDOW, Spikes
from glassgpt.training.start import CONFIG
from glassgpt.training.state import Progress, restore, save
from glassgpt.training.throughput import Throughput
from glassgpt.training.validation import measure
from glassgpt.weights.checkpoint import candidates

logger = logging.getLogger(__name__)


def train(
    run: Run, directory: Path, hooks: Sequence[Hook] = (), resume: bool = False, allow: Collection[str] = ()
) -> int:
    """Trains to the last step, or until a signal asks to stop, and commits what was learnt to
    ``directory/checkpoints``. Returns 0, or the exit code that belongs to the signal.

    With ``resume`` the run goes on from its newest checkpoint. On the same CPU with as many threads, weights, optimizer
    state and metrics then equal those of a run that was never interrupted. Fields of the manifest that are named in
    ``allow`` may have changed since.

    Raises:
        FloatingPointError: a loss, gradient or weight is not finite; nothing of that step was applied or saved.
        FileExistsError: there are checkpoints, and ``resume`` was not asked for.
        ValueError: the checkpoint belongs to another run, or the disk has no room for two.
        OSError: a checkpoint could not be written; earlier ones are intact.
    """
    config = run.config
    checkpoints = Checkpoints(directory / "checkpoints", config.checkpoint.keep, config.checkpoint.keep_every)
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())

        def claim() -> None:
            stack.enter_context(checkpoints)
            if not resume and candidates(checkpoints.directory):  # what is newest would be what has most steps
                raise FileExistsError(
                    f"{checkpoints.directory} holds checkpoints of a run: continue it with --resume, or choose another "
                    "directory with --name"
                )
            checkpoints.preflight(sum(p.nbytes for p in run.model.parameters()) + run.optimizer.num_bytes)

        on_main(run.world, claim)
        progress = restore(run, checkpoints, allow) if resume else Progress()
        if progress.step == 0 and config.model.start_from:
            adopt(run, config.model.start_from)
        # Only now: a resume that is refused, or meets a run under way, must not change what the directory says.
        on_main(run.world, lambda: write_file(directory / CONFIG, config.toml().encode()))
        metrics = stack.enter_context(MetricsLog(directory, progress.log_bytes)) if run.world.is_main else None
        batches = stack.enter_context(closing(Ahead(run.batch)))
        training = Training(run, progress, interrupt, checkpoints, metrics, hooks)
        interrupt.watch(config.checkpoint.deadline, training.give_up)
        while True:
            if training.is_due(config.evaluation.every):
                training.evaluate()
            code = training.stop_code()
            if training.is_due(config.checkpoint.every) or code:
                training.save()
            if progress.step == config.steps or code:
                return code
            training.update(batches.at(progress.step))


class Training:
    """A run under way. An interrupt cuts evaluations and updates short, and leaves no trace of them. The main rank
    alone has ``metrics`` and tells hooks."""

    def __init__(
        self,
        run: Run,
        progress: Progress,
        interrupt: Interrupt,
        checkpoints: Checkpoints,
        metrics: MetricsLog | None,
        hooks: Sequence[Hook],
    ):
        self.run = run
        self.progress = progress
        self.interrupt = interrupt
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.hooks: list[Hook] = []
        if metrics:
            spikes = Spikes(lambda step: windows(run, step - 1), last_losses(metrics.path, WINDOW))
            self.hooks = [metrics, spikes, *hooks]
        self.saved = progress.step
        self.throughput = Throughput()

    def is_due(self, every: int) -> bool:
        """Whether what happens every so many steps, and at the end, happens now."""
        step = self.progress.step
        return step > 0 and (step % every == 0 or step == self.run.config.steps)

    def stop_code(self) -> int:
        """The exit code of an interrupt that reached any rank, or 0; all ranks must ask together."""
        return self.run.world.max(self.interrupt.exit_code)

    def update(self, batch: Batch) -> None:
        """Learns from one global batch.

        Raises:
            FloatingPointError: the loss or the gradient is not finite.
        """
        run, config, step = self.run, self.run.config, self.progress.step
        run.world.doing = f"step {step + 1}"
        self.throughput.start()
        # F.dropout takes no generator, so the default one is set to what this step's masks shall be.
        seed(run.device, key("dropout", 1, config.seed, step, run.replica))
        loss = torch.zeros((), device=run.device)
        parts = list(zip(*(part.split(run.rows) for part in batch), strict=True))
        for number, rows in enumerate(parts, 1):
            if self.stop_code():
                run.model.zero_grad()
                return
            inputs, targets = (part.to(run.device, non_blocking=True) for part in rows)
            with micro_step(run.objective, is_last=number == len(parts)):
                share = run.objective(inputs, targets) * (targets.numel() / batch[1].numel())
                share.backward()
            run.working.collect()
            loss += share.detach()

        loss = run.world.mean(loss)
        parameters = list(run.model.parameters())
        grad_norm = total_norm(parameters, run.world)
        if not (loss + grad_norm).isfinite():
            raise FloatingPointError(describe_failure(run, step, loss.item()))
        clip(parameters, config.optimizer.clip, grad_norm)
        lr = learning_rate(step, config.steps, config.optimizer.lr, config.schedule)
        run.optimizer.step(lr, decay_share(step, config.steps, config.schedule))
        run.working.refresh()
        run.model.zero_grad()
        run.world.hurry()
        self.progress.step = step + 1
        self.progress.loss, self.progress.grad_norm = loss.item(), grad_norm.item()
        tokens = run.tokens_before(step + 1)
        self.throughput.stop(tokens - run.tokens_before(step))
        self.tell(
            Update(
                step + 1,
                tokens,
                self.progress.loss,
                self.progress.grad_norm,
                lr,
                self.throughput.tokens_per_second,
                self.throughput.seconds,
                run.utilization.share(self.throughput.tokens_per_second),
                peak_memory(run.device),
            )
        )

    def evaluate(self) -> None:
        """Measures the held-out windows, unless that was done at this step.

        Raises:
            FloatingPointError: the loss is not finite, so a weight is not either.
        """
        run, step = self.run, self.progress.step
        if step == self.progress.evaluated:
            return
        run.world.doing = f"the evaluation after step {step}"
        windows = fixed_batches(run.held_out, run.context_length, run.rows, run.config.evaluation.windows)
        measured = measure(run.objective, windows, run.bytes_per_token, stop=lambda: self.stop_code() > 0)
        if measured is not None:
            if not math.isfinite(measured[0]):
                raise FloatingPointError(
                    f"the held-out loss after step {step} is {measured[0]}: a weight is not finite, and nothing of it "
                    "was saved. Resume from the last checkpoint with a lower optimizer.lr"
                )
            self.progress.evaluated = step
            self.tell(Evaluation(step, run.tokens_before(step), *measured))

    def save(self) -> None:
        """Commits a checkpoint, unless this step has one.

        Raises:
            FloatingPointError: a weight is not finite.
            OSError: the checkpoint could not be written.
        """
        progress = self.progress
        if progress.step == self.saved:
            return
        self.run.world.doing = f"the checkpoint of step {progress.step}"
        if self.metrics:
            progress.log_bytes = self.metrics.sync()
        path = save(self.run, progress, self.checkpoints)
        self.saved = progress.step
        self.tell(Saved(progress.step, path))

    def tell(self, event: Event) -> None:
        tell(self.hooks, event)

    def give_up(self) -> None:
        """Ends the process, because what a signal interrupted takes too long; nothing that was committed is touched."""
        written, size = self.checkpoints.written()
        progress = f" ({written:,} of some {size:,} bytes written)" if written else ""
        safe = f"step {self.saved} is saved, and --resume goes on from there" if self.saved else "nothing was saved yet"
        logger.critical(
            "%g s after the signal this process is still at %s%s, and stops there: %s. "
            "A save that takes longer needs a longer checkpoint.deadline",
            self.run.config.checkpoint.deadline, self.run.world.doing, progress, safe,
        )  # fmt: skip
        os._exit(1)


def seed(device: torch.device, number: int) -> None:
    """Sets a device's default generator."""
    # torch.manual_seed sets those of all devices, and takes longer than a small block.
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(number)


def windows(run: Run, step: int) -> list[int]:
    """The windows of the training tokens that the batch of a step is made of."""
    return run.batches.indices(step, 0, run.batches.ramp.at(step)).tolist()


def describe_failure(run: Run, step: int, loss: float) -> str:
    """What is known about an update that is not finite, for whoever has to find out why."""
    gradients = {name: parameter.grad for name, parameter in run.model.named_parameters() if parameter.grad is not None}
    bad = first_not_finite(gradients, run.world) or "none"
    shown = ", ".join(map(str, windows(run, step)))
    return (
        f"step {step + 1} is not finite and was not applied: loss {loss}, first bad gradient {bad}, windows {shown} "
        "of the training tokens. Resume from the last checkpoint with a lower optimizer.lr, or look at the data: "
        f"glassgpt replay RUN --step {step + 1}"
    )
