"""Text to tokens and back; and a vocabulary of one's own."""

from glassgpt.tokenizer import training
from glassgpt.tokenizer.gpt2 import gpt2

tokenizer = gpt2()
ids = tokenizer.encode("Hello, 日本!")
print(ids, [tokenizer.token_bytes(id) for id in ids])
print(tokenizer.decode(ids))

# A token may be half a character. A stream waits until it is whole.
stream = tokenizer.stream()
print([stream.push(id) for id in ids] + [stream.finish()])

# <|endoftext|> in a text is ordinary text, unless asked otherwise.
print(tokenizer.encode("<|endoftext|>"), tokenizer.encode("<|endoftext|>", special=True))

own = training.train(["the cat sat on the mat, the cat sat on the hat"] * 10, vocab_size=280)
print(own.vocab_size, [own.token_bytes(id).decode() for id in own.encode("the cat on the hat")])
