"""Chapter 4 of "Build a Large Language Model (From Scratch)", from placeholder to model, under the book's own names."""

from glassgpt.book.chapter import (
    GELU,
    ExampleDeepNeuralNetwork,
    FeedForward,
    GPTModel,
    LayerNorm,
    MultiHeadAttention,
    TransformerBlock,
    generate_text_simple,
    gradient_means,
    text_to_token_ids,
    token_ids_to_text,
)
from glassgpt.book.dummy import GPT_CONFIG_124M, DummyGPTModel, DummyLayerNorm, DummyTransformerBlock

__all__ = [
    "GELU",
    "GPT_CONFIG_124M",
    "DummyGPTModel",
    "DummyLayerNorm",
    "DummyTransformerBlock",
    "ExampleDeepNeuralNetwork",
    "FeedForward",
    "GPTModel",
    "LayerNorm",
    "MultiHeadAttention",
    "TransformerBlock",
    "generate_text_simple",
    "gradient_means",
    "text_to_token_ids",
    "token_ids_to_text",
]
