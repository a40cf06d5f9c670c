"""Training: batches in, weights out; a run that can be stopped and continued anywhere without changing a bit.

Knows nothing of text, terminals or file formats.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from glassgpt.data.batches import Ahead, Batch, fixed_batches
from glassgpt.model.keys import key
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.environment import compare
from glassgpt.training.hooks import Evaluation, Event, Hook, Saved, Update
from glassgpt.training.interrupt import Interrupt
from glassgpt.training.metrics import MetricsLog
from glassgpt.training.run import Run
from glassgpt.training.schedule import learning_rate
from glassgpt.training.state import Progress, checkpoint_facts, checkpoint_files, restore
from glassgpt.training.throughput import Throughput
from glassgpt.training.validation import measure

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
        ValueError: the checkpoint belongs to another run, or the disk has no room for two.
        OSError: a checkpoint could not be written; earlier ones are intact.
    """
    config = run.config
    keep, keep_every = config.checkpoint.keep, config.checkpoint.keep_every
    with Interrupt() as interrupt, Checkpoints(directory / "checkpoints", keep, keep_every) as checkpoints:
        checkpoints.preflight(sum(p.nbytes for p in run.model.parameters()) + run.optimizer.num_bytes)
        progress = Progress()
        if resume and (checkpoint := checkpoints.newest()):
            progress = restore(run, checkpoint)
            for change in compare(checkpoint.manifest, checkpoint_facts(run, progress), allow):
                logger.warning(change)
        with MetricsLog(directory, progress.log_bytes) as metrics, closing(Ahead(run.batches.at)) as batches:
            training = Training(run, progress, interrupt, checkpoints, metrics, hooks)
            while True:
                if training.is_due(config.evaluation.every):
                    training.evaluate()
                if training.is_due(config.checkpoint.every) or interrupt:
                    training.save()
                if progress.step == config.steps or interrupt:
                    return interrupt.exit_code
                training.update(batches.at(progress.step))


class Training:
    """A run under way. An interrupt cuts evaluations and updates short, and leaves no trace of them."""

    def __init__(
        self,
        run: Run,
        progress: Progress,
        interrupt: Interrupt,
        checkpoints: Checkpoints,
        metrics: MetricsLog,
        hooks: Sequence[Hook],
    ):
        self.run = run
        self.progress = progress
        self.interrupt = interrupt
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.hooks = [metrics, *hooks]
        self.saved = progress.step
        self.throughput = Throughput()

    def is_due(self, every: int) -> bool:
        """Whether what happens every so many steps, and at the end, happens now."""
        step = self.progress.step
        return step > 0 and (step % every == 0 or step == self.run.config.steps)

    def update(self, batch: Batch) -> None:
        """Learns from one global batch.

        Raises:
            FloatingPointError: the loss or the gradient is not finite.
        """
        run, config, step = self.run, self.run.config, self.progress.step
        self.throughput.start()
        # F.dropout takes no generator, so the default one is set to what this step's masks shall be.
        torch.manual_seed(key("dropout", 1, config.seed, step, 0))
        loss = torch.zeros((), device=run.device)
        for rows in zip(*(part.split(config.rows) for part in batch), strict=True):
            if self.interrupt:
                run.model.zero_grad()
                return
            tokens, targets = (part.to(run.device) for part in rows)
            share = run.objective(tokens, targets) * (targets.numel() / run.tokens_per_step)
            share.backward()
            run.working.collect()
            loss += share.detach()

        parameters = list(run.model.parameters())
        grad_norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not (loss + grad_norm).isfinite():
            raise FloatingPointError(describe_failure(run, step, loss.item()))
        clip_grads_with_norm_(parameters, config.optimizer.clip, grad_norm)
        lr = learning_rate(step, config.steps, config.optimizer.lr, config.schedule)
        run.optimizer.step(lr)
        run.working.refresh()
        run.model.zero_grad()
        self.progress.step = step + 1
        self.progress.loss, self.progress.grad_norm = loss.item(), grad_norm.item()
        self.throughput.stop(run.tokens_per_step)
        self.tell(
            Update(
                step + 1,
                (step + 1) * run.tokens_per_step,
                self.progress.loss,
                self.progress.grad_norm,
                lr,
                self.throughput.tokens_per_second,
                self.throughput.seconds,
            )
        )

    def evaluate(self) -> None:
        """Measures the held-out windows, unless that was done at this step."""
        run, step = self.run, self.progress.step
        if step == self.progress.evaluated:
            return
        windows = fixed_batches(run.held_out, run.context_length, run.config.rows, run.config.evaluation.windows)
        measured = measure(run.objective, windows, run.bytes_per_token, stop=lambda: bool(self.interrupt))
        if measured is not None:
            self.progress.evaluated = step
            self.tell(Evaluation(step, step * run.tokens_per_step, *measured))

    def save(self) -> None:
        """Commits a checkpoint, unless this step has one.

        Raises:
            FloatingPointError: a weight is not finite.
            OSError: the checkpoint could not be written.
        """
        run, progress = self.run, self.progress
        if progress.step == self.saved:
            return
        progress.log_bytes = self.metrics.sync()
        path = self.checkpoints.commit(progress.step, checkpoint_files(run, progress), checkpoint_facts(run, progress))
        self.saved = progress.step
        self.tell(Saved(progress.step, path))

    def tell(self, event: Event) -> None:
        for hook in self.hooks:
            hook(event)


def describe_failure(run: Run, step: int, loss: float) -> str:
    """What is known about an update that is not finite, for whoever has to find out why."""
    gradients = ((name, parameter.grad) for name, parameter in run.model.named_parameters())
    bad = next((name for name, grad in gradients if grad is not None and not grad.isfinite().all()), "none")
    windows = ", ".join(map(str, run.batches.indices(step, 0, run.config.batch_size)))
    return (
        f"step {step + 1} is not finite and was not applied: loss {loss}, first bad gradient {bad}, windows {windows} "
        "of the training tokens. Resume from the last checkpoint with a lower optimizer.lr, or look at the data"
    )
