"""Rows of the embeddings that a base model has not trained, such as those of `<|eot_id|>` in a LLaMA-3 Base.

They begin at the mean of the trained rows. With adapters, which leave embeddings as they are, these rows alone are
trained beside them. peft's own layer for that copies both embeddings in each forward pass, and computes the gradients
of all their rows.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from factory.config import Training
from factory.training.partitioned_loading import whole
from factory.training.turn_tokens import TurnTokens, no_room

FAR_BELOW = 0.1
"""A row whose norm is a smaller part of the median is untrained. In SmolLM2 the smallest of 49,152 rows has 0.57."""
ROWS, TOKENS = ".rows.weight", ".tokens"
"""How the names of the state of `EmbeddingRows` and `HeadRows` end."""


def untrained_rows(weight: torch.Tensor) -> torch.Tensor:
    """Return which rows of an embedding were never trained: (rows,) of bool.

    They are as they were created, all but zero (LLaMA-3), or have taken the same steps as others and are equal to them
    bit for bit (12 reserved tokens in SmolLM2). Those that were created at random and are still so are not found.
    """
    weight = weight.detach().cpu().contiguous()
    norms = weight.float().norm(dim=1)
    hashes = [hash(row.tobytes()) for row in weight.view(torch.uint8).numpy()]
    seen = Counter(hashes)
    repeated = torch.tensor([seen[one] > 1 for one in hashes])
    return torch.logical_or(norms < FAR_BELOW * norms.median(), repeated)


def prepare_for_chats(model: Any, training: Training, tokens: TurnTokens) -> dict[str, list[int]]:
    """Give a model a row for every token of its chats, and start untrained ones at the mean of the trained ones.

    Args:
        model: the base model.
        training: the settings.
        tokens: those of its chat template.

    Returns:
        The tokens whose rows are `initialized`, and those to train beside adapters (`trained`), in order.

    Raises:
        ConfigError: adapters left apart cannot hold new rows.
    """
    lora, before = training.lora, model.get_input_embeddings().num_embeddings
    if lora and not lora.merge and before < tokens.vocabulary:
        raise no_room(before, tokens.vocabulary)
    initialize = bool(lora) if training.initialize_untrained_rows is None else training.initialize_untrained_rows
    with whole(part.weight for part in embeddings(model)):
        found = [untrained_rows(part.weight) for part in embeddings(model)]
        means = [part.weight[~bad].float().mean(0) for part, bad in zip(embeddings(model), found, strict=True)]
    resize(model, tokens.vocabulary)
    begun: set[int] = set()
    for part, bad, mean in zip(embeddings(model), found, means, strict=True):
        rows = [number for number in tokens.names if number >= before or (initialize and bad[number])]
        with torch.no_grad(), whole([part.weight], changes=True):
            part.weight[rows] = mean.to(part.weight)
        begun.update(rows)
    untrained = {number for number in tokens.names if number >= before or any(bad[number] for bad in found)}
    trained = untrained if tokens.named is None else tokens.named
    return {"initialized": sorted(begun), "trained": sorted(trained) if lora else []}


def resize(model: Any, vocabulary: int) -> None:
    """Give a model a number of embeddings; one with more keeps them."""
    if model.get_input_embeddings().num_embeddings < vocabulary:
        model.resize_token_embeddings(vocabulary, mean_resizing=False)


def embeddings(model: Any) -> list[Any]:
    """Return the input and the output embeddings, or one if they are tied."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    return [first] if last is None or last.weight is first.weight else [first, last]


class EmbeddingRows(nn.Module):
    """Input embeddings of which some rows are trained."""

    tokens: torch.Tensor

    def __init__(self, base: nn.Module, tokens: torch.Tensor, rows: nn.Embedding) -> None:
        super().__init__()
        self.base, self.rows = base, rows
        self.register_buffer("tokens", tokens)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return embeddings of shape (..., hidden) for ids of shape (...)."""
        found = self.base(ids)
        hits = ids[..., None] == self.tokens
        own = self.rows(hits.int().argmax(-1))
        scale = getattr(self.base, "embed_scale", None)  # Gemma's
        own = own if scale is None else own * torch.as_tensor(scale, dtype=own.dtype, device=own.device)
        return torch.where(hits.any(-1, keepdim=True), own.to(found.dtype), found)


class HeadRows(nn.Module):
    """An output layer of which some rows are trained."""

    tokens: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, base: Any, tokens: torch.Tensor, rows: nn.Embedding) -> None:
        super().__init__()
        self.base, self.rows = base, rows
        self.register_buffer("tokens", tokens)
        bias = getattr(base, "bias", None)
        self.register_buffer("bias", None if bias is None else bias.detach()[tokens].clone(), persistent=False)

    def forward(self, hidden: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Return logits of shape (..., vocabulary) for hidden states of shape (..., hidden).

        Args:
            hidden: the hidden states.
            inputs: `labels` and `finish` of a `LossHead`; it then returns the losses.
        """
        rows = self.rows(torch.arange(len(self.tokens), device=hidden.device))
        own = functional.linear(hidden, rows.to(hidden.dtype), self.bias)
        if inputs:
            losses: torch.Tensor = self.base(hidden, own=own, tokens=self.tokens, **inputs)
            return losses
        # In place, as the logits of 2,048 tokens take 0.5 GB; no gradient needs them as they were.
        logits: torch.Tensor = self.base(hidden).index_copy_(-1, self.tokens, own)
        return logits


def train_rows(model: Any, tokens: Collection[int]) -> None:
    """Train some rows of a model's embeddings, input and output, and leave the others as they are.

    Args:
        model: a model with adapters.
        tokens: whose rows.
    """
    inner = model.get_base_model()
    first, last = inner.get_input_embeddings(), inner.get_output_embeddings()
    ids = torch.tensor(sorted(tokens), device=first.weight.device)
    with whole([first.weight, *([] if last.weight is first.weight else [last.weight])]):
        rows = _rows(first.weight, ids)
        head = rows if last.weight is first.weight else _rows(last.weight, ids)
    _replace(inner, first, EmbeddingRows(first, ids, rows))
    _replace(inner, last, HeadRows(last, ids.clone(), head))


def _rows(weight: torch.Tensor, ids: torch.Tensor) -> nn.Embedding:
    rows = weight.detach()[ids].clone()
    return nn.Embedding(rows.shape[0], rows.shape[1], _weight=rows)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    parent, _, name = module_name(model, old).rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def module_name(model: nn.Module, part: nn.Module) -> str:
    """Return the name of a part of a model."""
    names = {id(module): name for name, module in model.named_modules()}
    return str(names[id(part)])


def trained_tokens(weights: Mapping[str, torch.Tensor]) -> list[int]:
    """Return the tokens whose rows are in the weights of a training."""
    return next((tensor.tolist() for name, tensor in weights.items() if name.endswith(TOKENS)), [])


def as_peft_names(weights: Mapping[str, torch.Tensor], tied: bool) -> dict[str, torch.Tensor]:
    """Return trained rows by the names that peft has for them in a file of adapters.

    Args:
        weights: of a training.
        tied: whether the embeddings are tied: peft then has their rows once, at the input.
    """
    found = {name.removesuffix(ROWS): tensor for name, tensor in weights.items() if name.endswith(ROWS)}
    parts = list(found)[:1] if tied else list(found)
    return {f"{part}.token_adapter.trainable_tokens_delta": found[part] for part in parts}
