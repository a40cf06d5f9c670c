"""Tokens in, text out: choosing the next token, continuing a batch, text around it. Knows nothing of training."""
