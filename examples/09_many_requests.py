"""Many requests share one model: they come and go while others write, and each gets what it would get alone."""

from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2

model = initialize(GPT(ModelConfig(emb_dim=96, num_layers=3, num_heads=3, context_length=64)), seed=1).eval()
gpt = LanguageModel(model, gpt2())

writer = gpt.writer(num_rows=2)  # two write at a time, a third waits
params = SamplingParams(max_new_tokens=8)
first = writer.add("Once upon a time", params, seed=1)
second = writer.add("Once upon a midnight dreary", params, seed=1)  # copies what it shares with the first
writer.step()

third = writer.add("To be, or not to be", params, seed=1)
writer.cancel(second)  # its row is free at once
while not writer.is_idle:
    for completion, token, _ in writer.step():
        print(f"{completion.prompt!r}: token {token.id}, logprob {token.logprob:.2f}, text so far {completion.text!r}")

alone = gpt.generate("To be, or not to be", max_new_tokens=8, seed=1)
print(second.finish_reason, third.finish_reason, third.text == alone)
