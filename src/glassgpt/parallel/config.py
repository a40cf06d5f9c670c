"""How a model is divided among the ranks, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ParallelConfig(BaseModel):
    """``tensor`` neighbouring ranks share every matrix; what ``data`` says happens among those groups.

    With "ddp" each group holds the whole model and the groups average their gradients. With "fsdp" they also divide
    weights, gradients and optimizer state among themselves, and lend each other a block's weights while it computes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Literal["ddp", "fsdp"] = Field(default="ddp", description="copies of the model, or shares of it (FSDP2)")
    tensor: int = Field(default=1, ge=1, description="ranks that share each matrix; needs fsdp")
    start_timeout: float = Field(default=300, gt=0, description="seconds a collective may take in the first step")
    timeout: float = Field(default=120, gt=0, description="seconds it may take later, and a rank may be silent")

    @model_validator(mode="after")
    def _tensor_needs_fsdp(self) -> ParallelConfig:
        if self.tensor > 1 and self.data == "ddp":
            raise ValueError(f"tensor {self.tensor} does not go with data 'ddp': choose data 'fsdp'")
        return self

    def __str__(self) -> str:
        return self.data if self.tensor == 1 else f"{self.data}, tensor {self.tensor}"

    def is_divided(self, size: int) -> bool:
        """Whether each rank of a world of ``size`` holds only its part of the model."""
        return size > 1 and self.data == "fsdp"

    def replicas(self, size: int) -> int:
        """How many groups of ``tensor`` ranks a world of ``size`` has; each computes rows of its own.

        Raises:
            ValueError: the groups do not fill the world.
        """
        if size % self.tensor:
            raise ValueError(f"{size} processes are no whole groups of tensor {self.tensor}: start a multiple of it")
        return size // self.tensor
