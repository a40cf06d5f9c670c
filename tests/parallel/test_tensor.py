"""What a rank holds under tensor parallelism."""

from __future__ import annotations

import pytest
import worlds

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.plan import parallelize
from glassgpt.parallel.world import World
from glassgpt.training.loss import NextTokenLoss


def shapes(world: World, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    model = GPT(config)
    parallelize(NextTokenLoss(model), world, ParallelConfig(data="fsdp", tensor=2))
    return {name: tuple(parameter.to_local().shape) for name, parameter in model.named_parameters()}


def refusal(world: World, config: ModelConfig) -> str:
    with pytest.raises(ValueError) as error:
        shapes(world, config)
    return str(error.value)


def test_a_rank_holds_half_of_every_matrix_and_all_of_every_norm():
    config = ModelConfig(vocab_size=258, context_length=16, emb_dim=16, num_heads=2, num_layers=1)
    for found in worlds.run(shapes, 2, config):
        assert found == {
            "token_embedding.weight": (129, 16),
            "position_embedding.weight": (16, 16),
            "blocks.0.attention_norm.weight": (16,),
            "blocks.0.attention_norm.bias": (16,),
            "blocks.0.attention.qkv.weight": (24, 16),
            "blocks.0.attention.qkv.bias": (24,),
            "blocks.0.attention.out.weight": (16, 8),
            "blocks.0.attention.out.bias": (16,),
            "blocks.0.mlp_norm.weight": (16,),
            "blocks.0.mlp_norm.bias": (16,),
            "blocks.0.mlp.up.weight": (32, 16),
            "blocks.0.mlp.up.bias": (32,),
            "blocks.0.mlp.down.weight": (16, 32),
            "blocks.0.mlp.down.bias": (16,),
            "final_norm.weight": (16,),
            "final_norm.bias": (16,),
        }


def test_heads_are_never_cut():
    config = ModelConfig(vocab_size=258, context_length=16, emb_dim=15, num_heads=3, num_layers=1)
    for message in worlds.run(refusal, 2, config):
        assert message == "3 heads cannot be shared by tensor 2: choose a divisor of 3"
