"""The model that everything else uses, holding the book's weights: one definition, the same logits."""

import torch

from glassgpt.book import GPT_CONFIG_124M, GPTModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.book import from_book

settings = {**GPT_CONFIG_124M, "n_layers": 4, "emb_dim": 192, "drop_rate": 0.0}
torch.manual_seed(123)
book = GPTModel(settings).eval()

config = ModelConfig.from_book(settings)
model = GPT(config).eval()
model.load_state_dict(from_book(book.state_dict(), config))

tokens = torch.tensor([[6109, 3626, 6100, 345]])
print("largest difference:", (model(tokens) - book(tokens)).abs().max().item())

# On the meta device a model has shapes but no storage: GPT-3 costs nothing to build.
with torch.device("meta"):
    gpt3 = GPT(ModelConfig.named("gpt3-175b"))
print(f"GPT-3: {sum(parameter.numel() for parameter in gpt3.parameters()):,} parameters")
