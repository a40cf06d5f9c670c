"""One training run as data: what to read, what to build, how to learn, what to keep. A TOML file holds it.

Values are checked when a configuration is built; nothing here opens a file of the data.
"""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from glassgpt.data.ramp import Ramp
from glassgpt.model.config import ModelConfig
from glassgpt.parallel.config import ParallelConfig


class Section(BaseModel):
    """A part of a run's configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """Which text, how it becomes tokens, how much of it is held out."""

    sources: tuple[str, ...] = Field(default=(), description="text, JSONL or Parquet files, or a directory of shards")
    field: str = Field(default="text", description="where a JSONL or Parquet record holds its text")
    validation: float = Field(default=0.05, gt=0, lt=1, description="share of the text held out to measure on")
    tokenizer: str = Field(default="gpt2", description="gpt2, or a directory with a tokenizer")
    vocab_size: int | None = Field(default=None, ge=257, description="learn a tokenizer of this size instead")

    @field_validator("sources")
    @classmethod
    def _can_be_written_down(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if any("\ud800" <= char <= "\udfff" for char in source):  # how Python shows other bytes of a name
                raise ValueError(f"the name {source!r} is not UTF-8: rename the file")
        return sources


class ModelShape(Section):
    """The model; the size of its vocabulary is the tokenizer's."""

    size: str | None = Field(default=None, description="a published size such as gpt2; values below replace its own")
    context_length: int = Field(default=256, ge=1, description="tokens the model sees at once")
    emb_dim: int = Field(default=256, ge=1)
    num_heads: int = Field(default=4, ge=1)
    num_layers: int = Field(default=6, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    qkv_bias: bool = True
    tied_head: bool = True
    start_from: str | None = Field(default=None, description="a model whose weights to begin with: a run, gpt2, ...")
    zero_residual: bool = Field(default=False, description="start the projections into the residual stream at zero")

    @model_validator(mode="after")
    def _is_possible(self) -> ModelShape:
        self.build_config(vocab_size=1)
        return self

    def build_config(self, vocab_size: int) -> ModelConfig:
        """The full configuration for a tokenizer of ``vocab_size`` tokens."""
        values = self.model_dump(exclude={"size", "zero_residual", "start_from"}, exclude_unset=self.size is not None)
        if self.size is None:
            return ModelConfig(vocab_size=vocab_size, **values)
        return ModelConfig.named(self.size, vocab_size=vocab_size, **values)


class OptimizerConfig(Section):
    """How gradients become updates."""

    name: Literal["adamw", "muon"] = Field(default="adamw", description="muon is for the matrices in blocks")
    lr: float = Field(default=1e-3, gt=0, description="the highest learning rate of the schedule")
    weight_decay: float = Field(default=0.1, ge=0, description="of matrices; biases and norms never decay")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    momentum: float = Field(default=0.95, ge=0, lt=1, description="of muon")
    clip: float = Field(default=1.0, gt=0, description="longest gradient that is applied as it is")


class ScheduleConfig(Section):
    """How the learning rate changes; every value is a share."""

    name: Literal["cosine", "wsd"] = Field(default="cosine", description="wsd: warm-up, stable, linear decay")
    warmup: float = Field(default=0.05, ge=0, le=1, description="share of the steps that rise to the highest rate")
    cooldown: float = Field(default=0.4, ge=0, le=1, description="share of the steps that fall, of wsd")
    floor: float = Field(default=0.1, ge=0, le=1, description="last rate as a share of the highest")
    decay_floor: float = Field(default=1.0, ge=0, le=1, description="last weight decay as a share of the first")
    ramp: float = Field(default=0.0, ge=0, le=1, description="share of the steps in which the batch grows")
    first_batch: int | None = Field(default=None, ge=1, description="windows of the first step of the ramp")


class EvaluationConfig(Section):
    """When and how thoroughly the held-out text is measured."""

    every: int = Field(default=100, ge=1, description="steps between measurements; the last step is always measured")
    windows: int = Field(default=64, ge=1, description="held-out windows of context_length tokens, evenly spread")


class CheckpointConfig(Section):
    """When the run is saved and what stays."""

    every: int = Field(default=500, ge=1, description="steps between checkpoints; the last step is always saved")
    keep: int = Field(default=2, ge=2, description="newest checkpoints that stay")
    keep_every: int | None = Field(default=None, ge=1, description="checkpoints of every so many steps stay for good")
    deadline: float = Field(default=25.0, gt=0, description="seconds a save after a signal may take; inf is for ever")


class SamplesConfig(Section):
    """When the model is asked to write, and from what."""

    every: int | None = Field(default=None, ge=1, description="steps between samples; none are written without it")
    prompts: tuple[str, ...] = Field(default=("",), description="texts to continue; an empty one begins a document")
    tokens: int = Field(default=64, ge=1, description="tokens of each sample")


class RunConfig(Section):
    """Everything that decides the result of a run. One global batch is ``batch_size`` windows of ``context_length``."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the directory below runs/")
    seed: int = Field(default=1, ge=0)
    steps: int = Field(default=2000, ge=1, description="updates of the weights")
    batch_size: int = Field(default=16, ge=1, description="windows an update learns from")
    micro_batch: int | None = Field(default=None, ge=1, description="windows computed at once, to save memory")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="weights learn in float32")
    compile: bool = Field(default=False, description="compile the blocks with torch.compile")
    data: DataConfig = DataConfig()
    model: ModelShape = ModelShape()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    samples: SamplesConfig = SamplesConfig()
    parallel: ParallelConfig = ParallelConfig()

    @model_validator(mode="after")
    def _muon_sees_whole_matrices(self) -> RunConfig:
        if self.optimizer.name == "muon" and self.parallel.data == "fsdp":
            raise ValueError("optimizer.name muon needs whole matrices: choose adamw, or parallel.data ddp")
        return self

    @model_validator(mode="after")
    def _samples_see_whole_weights(self) -> RunConfig:
        if self.samples.every is not None and self.parallel.data == "fsdp":
            raise ValueError("samples.every needs whole weights: choose parallel.data ddp, or no samples")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> RunConfig:
        if self.batch_size % self.rows:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch {self.rows}: change one of them"
            )
        return self

    @model_validator(mode="after")
    def _schedule_is_possible(self) -> RunConfig:
        warmup, cooldown = self.schedule.warmup, self.schedule.cooldown
        if self.schedule.name == "wsd" and warmup + cooldown > 1:
            raise ValueError(f"schedule.warmup {warmup} and schedule.cooldown {cooldown} exceed 1 together: lower one")
        return self

    @model_validator(mode="after")
    def _ramp_is_possible(self) -> RunConfig:
        if (self.schedule.ramp > 0) != (self.schedule.first_batch is not None):
            raise ValueError("schedule.ramp and schedule.first_batch go together: give both, or neither")
        if self.ramp.first % self.rows:
            raise ValueError(
                f"schedule.first_batch {self.ramp.first} is not a multiple of micro_batch {self.rows}: change one"
            )
        return self

    @property
    def ramp(self) -> Ramp:
        """How many windows each step takes."""
        first = self.schedule.first_batch or self.batch_size
        return Ramp(self.batch_size, first, round(self.schedule.ramp * self.steps))

    @property
    def rows(self) -> int:
        """Windows computed at once."""
        return self.micro_batch or self.batch_size

    def toml(self) -> str:
        """The configuration as a TOML file, defaults included; what is not set is left out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
