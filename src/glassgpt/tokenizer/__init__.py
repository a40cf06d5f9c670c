"""Text to token ids and back: GPT-2's vocabulary, vocabularies learnt from texts, and their files."""
