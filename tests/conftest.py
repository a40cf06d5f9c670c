"""What all tests share: no network, a tiny model, a small tokenizer."""

from __future__ import annotations

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: its kernels then run on the CPU

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES

# A shell lets what it starts in the background ignore Ctrl-C, and what that starts ignores it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """Three layers, 48 wide, 32 tokens of context."""
    return ModelConfig(vocab_size=257, context_length=32, emb_dim=48, num_heads=3, num_layers=3)


@pytest.fixture
def model(tiny: ModelConfig) -> GPT:
    """A tiny model in evaluation mode with weights large enough that its choices differ clearly."""
    model = initialize(GPT(tiny), seed=1).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(5.0)
    return model


@pytest.fixture(scope="session")
def bytes_tokenizer() -> Tokenizer:
    """The smallest tokenizer there is: 256 bytes and <|endoftext|>."""
    return Tokenizer(BYTES)


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> Tokenizer:
    return gpt2()
