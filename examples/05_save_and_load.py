"""One directory is a model: what we save, transformers opens with equal logits, and the other way round."""

import tempfile
from pathlib import Path

import torch

import glassgpt
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.gpt2 import gpt2

# As in the chapter: output layer of its own, no query/key/value bias.
config = ModelConfig(emb_dim=96, num_layers=3, num_heads=3, context_length=64, tied_head=False, qkv_bias=False)
gpt = LanguageModel(GPT(config).eval(), gpt2())

with tempfile.TemporaryDirectory() as folder:
    directory = Path(folder) / "my-model"
    gpt.save(directory)
    print(sorted(path.name for path in directory.iterdir()))
    again = glassgpt.load(directory)
    tokens = torch.tensor([gpt.tokenizer.encode("Every day holds a")])
    print("after a round trip:", (again.model(tokens) - gpt.model(tokens)).abs().max().item())

    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("transformers is not installed")
    else:
        theirs = AutoModelForCausalLM.from_pretrained(directory)
        print("in transformers:   ", (theirs(tokens).logits - gpt.model(tokens)).abs().max().item())
