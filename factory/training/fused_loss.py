"""Cross-entropy from hidden states, in chunks of tokens: the logits of all tokens never exist at once.

Liger's fused cross-entropy has one sum for all tokens; ours keeps the loss of each, which validation and the search
for a spoiled dialogue need.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from factory.training.token_rows import HeadRows

CHUNK_TOKENS = 512
"""With a vocabulary of 128,000 they take 0.6 GiB in bfloat16; smaller chunks only repeat the reading of the weights."""
Finish = Callable[[torch.Tensor], torch.Tensor]
"""What a model does to the output layer's logits, such as a soft cap: from and to shape (tokens, vocabulary)."""


class OutputError(Exception):
    """A model computes its logits in a way that cannot be divided into chunks."""


class TokenLosses(torch.autograd.Function):
    """The loss of each token from its hidden state, computed again for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        own: torch.Tensor | None,
        tokens: torch.Tensor | None,
        labels: torch.Tensor,
        finish: Finish,
    ) -> torch.Tensor:
        """Return float32 of shape (tokens,).

        Args:
            ctx: torch's.
            hidden: of shape (tokens, hidden).
            weight: of the output layer, of shape (vocabulary, hidden).
            bias: of shape (vocabulary,).
            own: of shape (tokens, rows): logits in place of the layer's own.
            tokens: of shape (rows,), whose.
            labels: of shape (tokens,).
            finish: the model's.
        """
        ctx.save_for_backward(hidden, weight, bias, own, tokens, labels)
        ctx.finish = finish
        losses = hidden.new_empty(len(labels), dtype=torch.float32)
        for part in _chunks(len(labels)):
            logits = finish(_logits(part, hidden, weight, bias, own, tokens))
            losses[part] = functional.cross_entropy(logits.float(), labels[part], reduction="none")
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the inputs of `forward`."""
        hidden, weight, bias, own, tokens, labels = ctx.saved_tensors
        wanted = zip(ctx.needs_input_grad, (hidden, weight, bias, own), strict=False)
        found = [torch.zeros_like(tensor) if needed else None for needed, tensor in wanted]
        of_hidden, of_weight, of_bias, of_own = found
        for part in _chunks(len(labels)):
            logits = _logits(part, hidden, weight, bias, own, tokens).requires_grad_()
            with torch.enable_grad():
                finished = ctx.finish(logits)
            scores = torch.softmax(finished.detach().float(), dim=-1)
            scores[torch.arange(len(scores), device=scores.device), labels[part]] -= 1
            outward = scores.mul_(gradients[0][part, None]).to(finished.dtype)
            del scores  # each of these has the size of a chunk's logits
            (gradient,) = torch.autograd.grad(finished, logits, outward)
            del logits, finished, outward
            if tokens is not None:
                if of_own is not None:
                    of_own[part] = gradient[:, tokens]
                gradient[:, tokens] = 0
            if of_hidden is not None:
                torch.mm(gradient, weight, out=of_hidden[part])
            if of_weight is not None:
                of_weight.addmm_(gradient.T, hidden[part])
            if of_bias is not None:
                of_bias += gradient.sum(0)
            del gradient
        return (*found, None, None, None)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK_TOKENS) for start in range(0, count, CHUNK_TOKENS))


def _logits(
    part: slice,
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    own: torch.Tensor | None,
    tokens: torch.Tensor | None,
) -> torch.Tensor:
    logits = functional.linear(hidden[part], weight, bias)
    return logits if own is None or tokens is None else logits.index_copy_(-1, tokens, own[part])


class LossHead(nn.Linear):
    """An output layer that returns losses where it is given labels.

    It is one call, so that ZeRO-3 gathers the weights once forward and once backward, however many chunks there are.
    """

    def forward(
        self,
        hidden: torch.Tensor,
        labels: torch.Tensor | None = None,
        finish: Finish | None = None,
        own: torch.Tensor | None = None,
        tokens: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits, or with labels the losses of `TokenLosses`, whose inputs these are."""
        if labels is None:
            return super().forward(hidden)
        losses: torch.Tensor = TokenLosses.apply(hidden, self.weight, self.bias, own, tokens, labels, finish)  # type: ignore[no-untyped-call]
        return losses


@dataclass(frozen=True)
class FusedLoss:
    """The parts of a model that its loss needs."""

    body: nn.Module
    head: nn.Module
    finish: Finish

    def losses(self, target_positions: torch.Tensor, labels: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Return the loss of each label: float32 of shape (learned,).

        Args:
            target_positions: int64 of shape (learned,): whose next token is learned.
            labels: int64 of shape (learned,).
            inputs: of the model.
        """
        hidden = self.body(**inputs)[0][0, target_positions]
        losses: torch.Tensor = self.head(hidden, labels=labels, finish=self.finish)
        return losses


def divide(model: Any) -> FusedLoss:
    """Divide a causal language model for its loss, and make a `LossHead` of its output layer.

    Args:
        model: with adapters and trained rows, or without; its weights may be partitioned or on the device `meta`.

    Raises:
        OutputError: its output layer is no linear layer, or something is done to what that receives.
    """
    owner = getattr(model, "get_base_model", lambda: model)()
    body, head = owner.base_model, owner.get_output_embeddings()
    linear = head.base if isinstance(head, HeadRows) else head
    if type(linear) not in (nn.Linear, LossHead):
        raise OutputError(f"its output layer is {type(linear).__name__}, not a linear layer")
    finish = _finish(owner, body, head, linear.out_features)
    linear.__class__ = LossHead  # the names of its parameters, which checkpoints have, stay
    return FusedLoss(body, head, finish)


class _Nothing:
    """The output of a body: hidden states, and none of what else a model may ask for."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, _: int) -> torch.Tensor:
        return self.last_hidden_state

    def __getattr__(self, _: str) -> None:
        return None


class _Stub(nn.Module):
    """Returns what it is given, whatever its inputs are, and keeps the tensors among these."""

    given: Any = None
    received: tuple[torch.Tensor, ...] = ()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        self.received = tuple(each for each in (*inputs, *named.values()) if isinstance(each, torch.Tensor))
        return self.given


def _finish(owner: Any, body: nn.Module, head: nn.Module, vocabulary: int) -> Finish:
    """Return what a model's own forward pass does to the output layer's logits: it runs with stubs for its parts."""
    names = {id(part): name for name, part in owner.named_children()}
    if id(body) not in names or id(head) not in names or next(owner.parameters(recurse=False), None) is not None:
        raise OutputError(f"{type(owner).__name__} has another structure")
    first, last = _Stub(), _Stub()
    shell = copy.copy(owner)
    shell.__dict__["_modules"] = owner._modules | {names[id(body)]: first, names[id(head)]: last}

    def finish(logits: torch.Tensor) -> torch.Tensor:
        last.given = logits[None]
        found: torch.Tensor = shell.forward(input_ids=ids, use_cache=False).logits[0]
        last.given = None
        return found

    ids, hidden = torch.zeros(1, 3, dtype=torch.long, device="cpu"), torch.arange(6.0, device="cpu").view(1, 3, 2)
    first.given = _Nothing(hidden)
    try:
        found = finish(torch.zeros(3, vocabulary, device="cpu"))
    except Exception as problem:  # an architecture's own code, which may ask for more than hidden states
        raise OutputError(f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}") from None
    if len(first.received) != 1 or first.received[0] is not ids:
        raise OutputError(f"{type(owner).__name__} has more inputs for its layers")
    if found.shape != (3, vocabulary) or not torch.equal(last.received[0], hidden):
        raise OutputError(f"{type(owner).__name__} changes hidden states before its output layer")
    return finish
