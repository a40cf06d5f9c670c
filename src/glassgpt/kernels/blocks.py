"""All blocks of a GPT in one call of the compiled library, for a few new tokens over the cache: generation on the CPU.

PyTorch takes some 150 small operations a token, which cost as much time as reading the weights once these are
quantized. The twin is ``GPT.hidden``, which also does what does not fit: prompts, gradients, another attention, hooks.

B sequences, T new tokens, C emb_dim
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from glassgpt.kernels import prompts
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import MOST_ROWS, FewRows, Matrix, Storage
from glassgpt.kernels.prompts import read_prompt
from glassgpt.model.attention import attend
from glassgpt.model.cache import Cache, LayerCache
from glassgpt.model.gpt import GPT, MLP, Attention, Block

Call = Callable[..., None]  # a function of the compiled library that sends tokens through all blocks
FEW_OF_A_PROMPT = 24  # tokens of a bfloat16 prompt: more are faster in a way of their own


def use_fused_blocks(model: GPT) -> None:
    """Lets generation go through the library a whole model at a time. Its linear layers must be made for it."""
    model.hidden = FusedHidden(model)  # pyrefly: ignore[bad-assignment] - takes the method's place


class FusedHidden:
    """``GPT.hidden`` of a model, with all blocks in one call where that is possible.

    Looks at the model when it meets a cache: what changes in the model later is seen with the next cache.
    """

    def __init__(self, model: GPT):
        self.model = model
        self._prepared: WeakKeyDictionary[Cache, Prepared] = WeakKeyDictionary()

    def __call__(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        model = self.model
        if cache is None or model.training or torch.is_grad_enabled():
            return GPT.hidden(model, tokens, cache)
        prepared = self._prepared.get(cache)
        if prepared is None:
            prepared = self._prepared[cache] = Prepared(model, cache)
        is_prompt = prepared.is_bfloat16 and tokens.shape[1] > 1
        is_few = tokens.numel() <= (FEW_OF_A_PROMPT if is_prompt else prepared.most)
        call = prepared.few if is_few else prepared.many
        if call is None:
            return (read_prompt if prepared.is_bfloat16 else GPT.hidden)(model, tokens, cache)
        x = model.token_embedding(tokens) + model.position_embedding(cache.begin(tokens.shape[1]))  # (B, T, C)
        prepared.run(call, x, cache)
        cache.end(tokens.shape[1])
        return model.final_norm(x)

    def __reduce__(self) -> tuple[type[FusedHidden], tuple[GPT]]:
        return FusedHidden, (self.model,)  # a copy prepares itself


class Prepared:
    """A model and a cache as the library sees them. Its function ``few`` computes up to ``most`` tokens at once, its
    function ``many`` any number of a bfloat16 model; a function is None where it cannot.

    In float32 ``most`` is any number: whatever reads a token, in whatever company, then gives it the same bits.
    """

    def __init__(self, model: GPT, cache: Cache):
        self.most, self.is_bfloat16 = 0, False
        self.few: Call | None = None
        self.many: Call | None = None
        if not fits(model, cache):
            return
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        storages = {linear.matrix()[0] for block in blocks for linear in linears(block)}
        self.most = sys.maxsize if storages == {Storage.FLOAT32} else MOST_ROWS
        self.is_bfloat16 = storages == {Storage.BFLOAT16} and prompts.is_available()
        self.few = lib.glassgpt_blocks if (lib := library()) else None
        if self.is_bfloat16 and prompts.fits(blocks[0]):
            self.many = lib.glassgpt_prompt if (lib := prompts.library()) else None
        # Storages, not tensors: the memory must stay, even if a parameter is given other contents.
        self.kept = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
        self.blocks = (BlockPointers * len(blocks))(*map(pointers, blocks))
        addresses = ctypes.c_void_p * len(cache.layers)
        keys = addresses(*(layer.k.data_ptr() for layer in cache.layers))
        values = addresses(*(layer.v.data_ptr() for layer in cache.layers))
        self.cache = CachePointers(keys, values, *cache.layers[0].k.stride()[:3])

    def run(self, call: Call, x: Tensor, cache: Cache) -> None:
        """Sends x (B, T, C) through all blocks, in place, and appends keys and values to the cache."""
        B, T, _ = x.shape
        rows, lengths = (ctypes.c_int64 * B)(*cache.rows), (ctypes.c_int64 * B)(*cache.lengths)
        blocks, places, num_threads = self.blocks, ctypes.byref(self.cache), torch.get_num_threads()
        call(blocks, len(blocks), x.data_ptr(), B, T, places, rows, lengths, num_threads)


def fits(model: GPT, cache: Cache) -> bool:
    """Whether the library computes what the model would, and nobody has asked to see what happens inside."""
    return (
        library() is not None
        and type(cache) is Cache
        and all(type(layer) is LayerCache and is_plain(layer.k) for layer in cache.layers)
        and is_plain(model.position_embedding.weight)
        and all(map(is_known, model.blocks))
        and not any(module._forward_hooks or module._forward_pre_hooks for module in model.blocks.modules())
    )


def is_known(block: nn.Module) -> bool:
    """Whether a block is made of the parts that the library computes."""
    return (
        type(block) is Block
        and type(block.attention) is Attention
        and block.attention.attend is attend
        and type(block.mlp) is MLP
        and all(type(norm) is nn.LayerNorm and is_plain(norm.weight) for norm in (block.attention_norm, block.mlp_norm))
        and len(linears(block)) == 4
    )


def is_plain(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def pointers(block: Block) -> BlockPointers:
    """A block as the library sees it."""
    attention, norms = block.attention, (block.attention_norm, block.mlp_norm)
    return BlockPointers(
        attention.qkv.out_features // (3 * attention.head_dim),
        attention.head_dim,
        block.attention_norm.eps,
        *(NormPointers(norm.weight.data_ptr(), norm.bias.data_ptr()) for norm in norms),
        *(Matrix(*linear.matrix()) for linear in linears(block)),
    )


def linears(block: Block) -> tuple[FewRows, ...]:
    parts = block.attention.qkv, block.attention.out, block.mlp.up, block.mlp.down
    return tuple(part for part in parts if isinstance(part, FewRows))


class NormPointers(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


class BlockPointers(ctypes.Structure):
    _fields_ = [
        ("num_heads", ctypes.c_int64),
        ("head_dim", ctypes.c_int64),
        ("eps", ctypes.c_double),
        ("attention_norm", NormPointers),
        ("mlp_norm", NormPointers),
        ("qkv", Matrix),
        ("out", Matrix),
        ("up", Matrix),
        ("down", Matrix),
    ]


class CachePointers(ctypes.Structure):
    _fields_ = [
        ("k", ctypes.POINTER(ctypes.c_void_p)),
        ("v", ctypes.POINTER(ctypes.c_void_p)),
        ("row", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("slot", ctypes.c_int64),
    ]
