"""Causal attention within each segment of a packed sequence, and none across.

With a mask over the whole sequence, every dialogue would be scored against all others and most scores
discarded: eight ninths of the work for 4,096 tokens of nine dialogues. Registered with transformers
(https://huggingface.co/docs/transformers/attention_interface) under the name `PACKED_ATTENTION`.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

PACKED_ATTENTION = "packed"


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Compute the attention of one layer; transformers calls it.

    Args:
        module: the layer.
        query: of shape (1, heads, tokens, head size).
        key: of shape (1, heads of keys and values, tokens, head size), as is `value`.
        value: the values.
        attention_mask: none; transformers creates none for a custom attention.
        scaling: factor of the scores.
        dropout: probability of dropping a weight.
        sliding_window: how many tokens, itself included, a token attends to; None: all before it.
        softcap: the bound of the scores of Gemma 2.
        s_aux: of shape (heads,): the sinks of gpt-oss, scores of a token that has no value.
        cu_seq_lens_q: int32 of shape (segments + 1,): the start of each segment, and the end of the last.
        max_length_q: tokens of the longest segment.

    Returns:
        Shape (1, tokens, heads, head size), and no weights.
    """
    window = sliding_window or max_length_q
    plain = softcap is None and s_aux is None
    if plain and query.is_cuda and query.dtype != torch.float32 and not dropout:
        from torch.nn.attention.varlen import varlen_attn  # FlashAttention, all dialogues at once

        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        together = varlen_attn(
            q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
            scale=scaling, window_size=(window - 1 if window < max_length_q else -1, 0), enable_gqa=True,
        )  # fmt: skip
        assert isinstance(together, torch.Tensor)
        return together[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    parts = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=True)
        if plain and q.shape[2] <= window
        else _by_scores(q, k, v, scaling, dropout, window, softcap, s_aux)
        for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _by_scores(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    dropout: float,
    window: int,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Compute the attention of one segment by its scores, which take memory by the square of its length."""
    heads, tokens = query.shape[1:3]
    key, value = (states.repeat_interleave(heads // states.shape[1], dim=1) for states in (key, value))
    scores = (query @ key.transpose(2, 3)).float() * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    position = torch.arange(tokens, device=query.device)
    distance = position[:, None] - position
    scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().view(1, heads, 1, 1).expand(1, heads, tokens, 1)], dim=3)
    weights = torch.nn.functional.dropout(scores.softmax(dim=3)[..., :tokens], dropout)
    return weights.to(value.dtype) @ value


def register() -> None:
    """Register the attention with transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
