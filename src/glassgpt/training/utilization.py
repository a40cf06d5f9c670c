"""How much of its devices' peak rate a run uses: model FLOPs utilisation, MFU. Knows no model, only FLOPs a token.

MFU = tokens/s x FLOPs a token / (devices x peak FLOP/s), attention counted in full and recomputation not at all.
Source: Chowdhery et al. 2022, appendix B, https://arxiv.org/abs/2204.02311.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassgpt.training.accelerators import accelerator_of


@dataclass(frozen=True)
class Utilization:
    """``num_devices`` devices that their driver calls ``device`` spend ``flops`` on a token, in ``dtype``."""

    flops: int
    device: str
    dtype: str
    num_devices: int = 1

    @property
    def peak(self) -> float | None:
        """FLOP/s of all devices together, or None: a peak that no data sheet states is not made up."""
        row = accelerator_of(self.device)
        teraflops = getattr(row, self.dtype, None)
        return None if teraflops is None else teraflops * 1e12 * self.num_devices

    def share(self, tokens_per_second: float) -> float | None:
        """The MFU at a speed."""
        return None if self.peak is None else tokens_per_second * self.flops / self.peak

    def __str__(self) -> str:
        """The formula with its numbers, or what is missing of them."""
        work = f"{self.flops / 1e9:,.3g} GFLOP"
        if self.peak is None:
            return f"no MFU: a token takes {work}, but no peak rate of {self.device} in {self.dtype} is known"
        devices = f"{self.num_devices} x {self.device}" if self.num_devices > 1 else self.device
        peak = f"{self.peak / 1e12:,.0f} TFLOP/s"
        return f"MFU = tokens/s x {work} a token / {peak} ({devices}, {self.dtype}, data sheet)"
