"""The cross-entropy kernel against PyTorch's; without a GPU, under Triton's interpreter."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="triton is not installed")

from glassgpt.kernels.cross_entropy import cross_entropy_

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-3)])
@pytest.mark.parametrize(("vocab_size", "width"), [(97, 97), (97, 128), (5000, 5120)])
def test_losses_and_gradients_equal_pytorchs_and_padding_has_none(vocab_size, width, dtype, tolerance):
    generator = torch.Generator().manual_seed(1)
    logits = (4 * torch.randn(5, width, generator=generator)).to(DEVICE, dtype)
    targets = torch.randint(vocab_size, (5,), generator=generator).to(DEVICE)
    leaf = logits[:, :vocab_size].float().requires_grad_()
    expected = F.cross_entropy(leaf, targets, reduction="none")
    (0.25 * expected.sum()).backward()
    losses = cross_entropy_(logits, targets, 0.25, vocab_size)
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[:, :vocab_size].float(), leaf.grad, rtol=0, atol=tolerance)
    assert not logits[:, vocab_size:].any()
