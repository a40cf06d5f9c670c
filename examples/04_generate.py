"""Generation by hand: read once, then one token at a time over the cache. Then the same in one call."""

import torch

from glassgpt.generation.text import LanguageModel
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2

tokenizer = gpt2()
model = initialize(GPT(ModelConfig(emb_dim=96, num_layers=3, num_heads=3, context_length=64)), seed=1).eval()

prompt = tokenizer.encode("Every effort moves you")
cache = Cache(model.config, batch=1)
with torch.inference_mode():
    logits = model(torch.tensor([prompt]), cache)  # the whole prompt at once
    tokens = list(prompt)
    for _ in range(8):
        tokens.append(logits[0, -1].argmax().item())
        logits = model(torch.tensor([tokens[-1:]]), cache)  # only the new token: the cache knows the rest
print(tokenizer.decode(tokens))

gpt = LanguageModel(model, tokenizer)
print("Every effort moves you" + gpt.generate("Every effort moves you", max_new_tokens=8, temperature=0))

# Prompts of different length share a batch, and each gets what it would get alone. A seed repeats a text.
for completion in gpt.complete(["Hello", "To be, or not to be"], max_new_tokens=8, seed=123):
    print(completion.seed, repr(completion.text), completion.finish_reason)
