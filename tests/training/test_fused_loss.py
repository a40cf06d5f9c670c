"""The objective of a GPU against the plain one; without a GPU, under Triton's interpreter."""

from functools import partial

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from glassgpt.kernels.cross_entropy import cross_entropy_
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.loss import ChunkedNextTokenLoss, NextTokenLoss
from glassgpt.training.precision import WorkingCopy

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("tied_head", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
def test_loss_and_gradients_equal_the_plain_ones_with_a_padded_vocabulary_too(tied_head, dtype, tolerance):
    config = ModelConfig(vocab_size=97, context_length=8, emb_dim=24, num_heads=3, num_layers=2, tied_head=tied_head)
    master = initialize(GPT(config), seed=3).to(DEVICE)
    windows = torch.randint(97, (3, 9), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    tokens, targets = windows[:, :-1], windows[:, 1:]
    plain = NextTokenLoss(master)(tokens, targets)
    expected = torch.autograd.grad(plain, list(master.parameters()))
    working = WorkingCopy(master, dtype, vocab_multiple=128)
    loss = ChunkedNextTokenLoss(working.model, 16, partial(cross_entropy_, vocab_size=97))(tokens, targets)
    loss.backward()
    working.collect()
    torch.testing.assert_close(loss, plain, rtol=0, atol=tolerance)
    for parameter, gradient in zip(master.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=tolerance)
