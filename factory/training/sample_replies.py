"""What the model in training says to a few held-out characters, so that one can read how it changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from factory.inference.chat_template import ChatTokenizer
from factory.training.model import build_batch

REPLY_TOKENS = 48
"""Of a sample reply: each takes a forward pass, and under ZeRO-3 gathers all weights."""
PROMPT_TOKENS = 1024
"""Dialogues with longer prompts are left out."""
HEAD = 256
"""Tokens by which two prompts are of one character: the system prompts of two differ before."""


@dataclass(frozen=True)
class SamplePrompt:
    """The beginning of a validation dialogue, up to its first reply."""

    dialogue_id: str
    ids: tuple[int, ...]


def choose_prompts(own_rows: Sequence[dict[str, Any]], count: int) -> list[SamplePrompt]:
    """Return the prompts of the first dialogues by id, of different characters; every worker must call it.

    Args:
        own_rows: this worker's packed sequences of the validation split.
        count: how many at most.
    """
    own = [prompt for row in own_rows for prompt in _prompts(row)]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, _first(own, count))
    return _first([prompt for part in parts for prompt in part], count)


def _prompts(row: dict[str, Any]) -> list[SamplePrompt]:
    found, start = [], 0
    for name, length in zip(row["dialogue_ids"], row["lengths"], strict=True):
        learned = np.flatnonzero(row["loss_mask"][start : start + length])
        if len(learned) and 0 < learned[0] <= PROMPT_TOKENS:
            found.append(SamplePrompt(name, tuple(row["input_ids"][start : start + int(learned[0])])))
        start += length
    return found


def _first(prompts: list[SamplePrompt], count: int) -> list[SamplePrompt]:
    chosen: dict[tuple[int, ...], SamplePrompt] = {}
    for prompt in sorted(prompts, key=lambda each: (each.dialogue_id, len(each.ids))):
        if len(chosen) == count:
            break
        chosen.setdefault(prompt.ids[:HEAD], prompt)
    return list(chosen.values())


def write_replies(
    engine: Any, prompts: Sequence[SamplePrompt], end_of_turn: int, device: torch.device
) -> list[list[int]]:
    """Return the ids of the most likely reply to each prompt; every worker must call it.

    All write all of them, packed into one sequence, because under ZeRO-3 they must run the same forward passes. No
    random number is drawn, so that training goes on as without samples.
    """
    texts = [list(prompt.ids) for prompt in prompts]
    engine.eval()
    with torch.no_grad():
        for _ in range(REPLY_TOKENS):
            row = {
                "input_ids": [token for text in texts for token in text],
                "loss_mask": [False] * sum(map(len, texts)),
                "lengths": [len(text) for text in texts],
            }
            batch = build_batch(row, device)[0]
            batch["target_positions"] = batch["boundaries"][1:].long() - 1
            batch["labels"] = torch.zeros_like(batch["target_positions"])
            following = engine(**batch, predicts=True)
            # The first worker's: on GPUs two may differ in the last digit.
            dist.broadcast(following, 0)
            for text, prompt, token in zip(texts, prompts, following.tolist(), strict=True):
                if end_of_turn not in text[len(prompt.ids) :]:
                    text.append(token)
            if all(end_of_turn in text[len(prompt.ids) :] for text, prompt in zip(texts, prompts, strict=True)):
                break
    engine.train()
    return [text[len(prompt.ids) :] for text, prompt in zip(texts, prompts, strict=True)]


def describe(prompt: SamplePrompt, reply: Sequence[int], tokenizer: ChatTokenizer) -> dict[str, str]:
    """Return the dialogue, its last message before the reply, and the reply, as text."""
    ends = [place for place, token in enumerate(prompt.ids) if token == tokenizer.end_of_turn]
    message = prompt.ids[ends[-2] + 1 : ends[-1]] if len(ends) > 1 else prompt.ids
    said, answered = (tokenizer.decode(ids).strip() for ids in (message, reply))
    return {"dialogue_id": prompt.dialogue_id, "message": said.removeprefix("user").strip(), "reply": answered}
