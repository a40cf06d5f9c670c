"""The plan's arithmetic against the real thing: built models, and what autograd really keeps."""

import pytest
import torch
from pytest import approx
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from glassgpt.inspection.plan import (
    activation_bytes,
    block_parameters,
    cache_bytes,
    generation_memory,
    logit_bytes,
    parameters,
    training_memory,
)
from glassgpt.model.cache import Cache
from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.training.loss import NextTokenLoss

TINY = ModelConfig(vocab_size=101, context_length=32, emb_dim=48, num_heads=3, num_layers=2)
VARIANTS = [{}, {"tied_head": False}, {"qkv_bias": False}, {"tied_head": False, "qkv_bias": False}]


def count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


class TestParameters:
    @pytest.mark.parametrize("size", SIZES)
    def test_parts_add_up_to_the_whole(self, size):
        config = ModelConfig.named(size)
        assert sum(parameters(config).values()) == config.num_parameters

    @pytest.mark.parametrize("changes", VARIANTS)
    @pytest.mark.parametrize("size", ["gpt2", "gpt2-xl", "gpt3-xl"])
    def test_parts_are_those_of_the_built_model(self, size, changes):
        config = ModelConfig.named(size, **changes)
        with torch.device("meta"):
            model = GPT(config)
        norms = sum(count(block.attention_norm) + count(block.mlp_norm) for block in model.blocks)
        assert parameters(config) == {
            "token_embedding": count(model.token_embedding),
            "position_embedding": count(model.position_embedding),
            "attention": sum(count(block.attention) for block in model.blocks),
            "feed_forward": sum(count(block.mlp) for block in model.blocks),
            "norms": norms + count(model.final_norm),
            "head": count(model.head),
        }
        assert sum(block_parameters(config).values()) == count(model.blocks[0])

    def test_the_chapters_exercise_on_feed_forward_and_attention(self):
        block = block_parameters(ModelConfig(qkv_bias=False))
        assert (block["feed_forward"], block["attention"]) == (4_722_432, 2_360_064)


class TestMemory:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_activations_are_what_autograd_keeps(self, dtype):
        """The formula leaves out one or two numbers a token and norm, visible only in so narrow a model."""
        batch, T = 2, TINY.context_length
        objective = NextTokenLoss(GPT(TINY).to(getattr(torch, dtype)))
        own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
        kept = {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage
            return tensor

        tokens = torch.zeros(batch, T, dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            objective(tokens, tokens)
        log_probabilities = 4 * TINY.vocab_size
        measured = sum(storage.nbytes() for storage in kept.values()) / (batch * T) - log_probabilities
        assert measured == approx(activation_bytes(TINY, dtype), rel=0.03)

    @pytest.mark.parametrize(("batch", "micro_steps"), [(1, 1), (1, 2), (4, 2)])
    def test_the_whole_is_what_torch_tracks(self, batch, micro_steps):
        """The last micro-batch of GPT-2 124M, on tensors without storage."""
        config = ModelConfig()
        with FakeTensorMode():
            objective = NextTokenLoss(GPT(config))
            optimizer = torch.optim.AdamW(objective.parameters(), foreach=False)
            for parameter in objective.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            if micro_steps == 1:
                optimizer.zero_grad()
            tokens = torch.zeros(batch, config.context_length, dtype=torch.long)
            tracker = MemTracker()
            tracker.track_external(objective, optimizer)
            with tracker:
                objective(tokens, tokens).backward()
            peak = sum(kinds["Total"] for kinds in tracker.get_tracker_snapshot("peak").values())
        planned = sum(training_memory(config, "float32", batch, config.context_length, micro_steps).values())
        assert planned == approx(peak, rel=0.001)

    def test_the_cache_is_the_one_that_is_built(self):
        cache = Cache(TINY, batch=3, dtype=torch.bfloat16)
        built = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.k, layer.v))
        assert generation_memory(TINY, "bfloat16", 3, TINY.context_length)["key_value_cache"] == built

    def test_adamw_keeps_two_moments_beside_weight_and_gradient(self):
        config = TINY.model_copy(update={"tied_head": False})
        model = GPT(config)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
        optimizer.step()
        state = [tensor for moments in optimizer.state.values() for tensor in moments.values() if tensor.dim()]
        memory = training_memory(config, "float32", 1, 4)
        assert memory["optimizer"] == sum(tensor.nbytes for tensor in state)
        assert memory["gradients"] == sum(parameter.grad.nbytes for parameter in model.parameters())

    def test_bfloat16_keeps_a_float32_master_and_sums_gradients_in_float32(self):
        memory = training_memory(TINY, "bfloat16", 1, 1)
        assert memory["weights"] == 6 * TINY.num_parameters
        assert memory["gradients"] == 6 * TINY.num_parameters + 2 * 2 * TINY.vocab_size * TINY.emb_dim

    def test_gradients_of_earlier_micro_batches_stand_beside_the_activations(self):
        config = ModelConfig()
        one, two = (training_memory(config, "float32", 1, 1024, micro_steps) for micro_steps in (1, 2))
        assert (one["gradients"], two["gradients"]) == (0, 4 * config.num_parameters)
        assert one["activations"] == two["activations"] == 1024 * activation_bytes(config, "float32")

    def test_a_fused_loss_keeps_a_chunk_of_logits_and_the_gradients_of_the_head(self):
        V, d, tokens = 50257, 768, 8 * 1024
        plain, whole, chunks = (
            training_memory(ModelConfig(), "bfloat16", 8, 1024, fused_logits=fused)["logits"]
            for fused in (None, 2**40, 2**27)
        )
        assert plain == 12 * V * tokens
        assert whole == 2 * (V * tokens + d * tokens + V * d)
        assert chunks == 2**27 + 2 * (d * tokens + 2 * V * d)

    def test_short_windows_are_fullest_when_all_gradients_are_there(self):
        assert training_memory(ModelConfig(), "float32", 1, 64)["activations"] == 0

    def test_muon_keeps_one_moment_of_the_matrices_it_is_for(self):
        config = ModelConfig()
        adamw, muon = (training_memory(config, "float32", 1, 1024, optimizer=name) for name in ("adamw", "muon"))
        assert adamw["optimizer"] - muon["optimizer"] == 4 * 12 * config.num_layers * config.emb_dim**2

    def test_published_figures(self):
        """Bytes a token of the cache, and of a layer's activations (32 d), in bfloat16."""
        small, large = ModelConfig.named("gpt2"), ModelConfig.named("gpt2-xl")
        assert cache_bytes(small, "bfloat16") == 36_864
        assert cache_bytes(large, "bfloat16") == 307_200
        assert activation_bytes(small, "bfloat16") == 12 * 32 * 768 + 4 * 768
        assert logit_bytes(small) == 12 * 50257
