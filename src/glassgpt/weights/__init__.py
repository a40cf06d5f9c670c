"""Weights in and out of files: names, safetensors, Hugging Face directories. Knows nothing of training."""
