"""The chapter's first model, a placeholder, and its last: same tokens in, logits out, the printed digits."""

import torch

from glassgpt.book import GPT_CONFIG_124M, DummyGPTModel, GPTModel, text_to_token_ids
from glassgpt.tokenizer.gpt2 import gpt2

tokenizer = gpt2()
batch = torch.cat([text_to_token_ids(text, tokenizer) for text in ("Every effort moves you", "Every day holds a")])
print(batch)

torch.manual_seed(123)
logits = DummyGPTModel(GPT_CONFIG_124M)(batch)  # with dropout, as in the chapter: not every machine draws the same
print("placeholder:", logits.shape, logits[0, 0, :3])

torch.manual_seed(123)
model = GPTModel(GPT_CONFIG_124M).eval()
logits = model(batch)
print("real model: ", logits.shape, logits[0, 0, :3])
print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
