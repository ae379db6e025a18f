"""Causal attention within each dialogue of a packed sequence, and none across.

A mask over the whole sequence would have every dialogue scored against all others and thrown away:
with 4,096 tokens of nine dialogues, eight ninths of the work. Registered with transformers
(https://huggingface.co/docs/transformers/attention_interface) under the name `PACKED`.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

PACKED = "packed"


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What a model's attention layer calls.

    Args:
        module: the layer.
        query: of shape (1, heads, tokens, head size).
        key: of shape (1, heads of keys and values, tokens, head size), as is `value`.
        value: the values.
        attention_mask: none; transformers makes none for an attention that it does not know.
        scaling: what scores are multiplied by.
        dropout: the share of weights that is left out.
        cu_seq_lens_q: int32 of shape (dialogues + 1,), where each dialogue begins, and the end of the last.
        max_length_q: tokens of the longest dialogue.

    Returns:
        Shape (1, tokens, heads, head size), and no weights.
    """
    if query.is_cuda and query.dtype != torch.float32 and not dropout:
        from torch.nn.attention.varlen import varlen_attn  # FlashAttention, all dialogues at once

        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        together = varlen_attn(
            q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
            scale=scaling, window_size=(-1, 0), enable_gqa=True,
        )  # fmt: skip
        assert isinstance(together, torch.Tensor)
        return together[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    parts = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=True)
        for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def register() -> None:
    """Let transformers know of it."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, packed_attention)
