"""The core of attention as a function, ``attend``: the seam where a faster or a recording one takes its place.

B batch, T query tokens, S key tokens, H heads, D head_dim
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention of q (B, H, T, D) over k and v (B, H, S, D); returns (B, H, T, D).

    ``visible`` is True where a query may look at a key, broadcastable to (B, H, T, S). None means causal order when
    the queries are the keys (T equal to S), and every key for a single query.
    """
    causal = visible is None and q.shape[2] > 1
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout, is_causal=causal)
