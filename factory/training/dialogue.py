"""Tokenization of a curated dialogue, with the mask of the tokens that are learned."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from factory.config import EMBEDDED, TEMPLATE_NAMES, Training
from factory.errors import ConfigError, ModelError
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer, Encoded
from factory.inference.model_check import check_folder
from factory.inference.tokenizer_files import NoTemplateError
from factory.records import Message, Reject
from factory.storage import file_io
from factory.storage.rows import Row, to_messages
from factory.training.turn_tokens import TurnTokens

TEMPLATES = Path(__file__).parent / "templates"
"""Chat templates by family, for base models without one."""
NEW_TOKENS = {"chatml": ("<|im_start|>", "<|im_end|>")}
"""The control tokens of a template that a vocabulary without them gets."""


@dataclass(frozen=True, slots=True)
class TokenizedDialogue:
    """Tokens of the sequences of a dialogue; `loss_mask` marks the assistant's."""

    dialogue_id: str
    input_ids: list[list[int]]
    loss_mask: list[list[bool]]
    truncated: bool


def tokenizer_for(base_model: str, training: Training) -> ChatTokenizer:
    """Return the tokenizer of a base model with the chat template that the config names; cached per process.

    Raises:
        ModelError: the model has no chat template and the config names none.
    """
    return _tokenizer(base_model, training.chat_template, json.dumps(training.chat_template_kwargs, sort_keys=True))


@cache
def _tokenizer(base_model: str, chat_template: str, kwargs: str) -> ChatTokenizer:
    folder = model_files.fetch(base_model, weights=False)
    try:
        return ChatTokenizer(
            folder, template_text(chat_template), json.loads(kwargs), NEW_TOKENS.get(chat_template, ())
        )
    except NoTemplateError:
        raise _no_template(base_model) from None


def template_text(name: str) -> str | None:
    """Return the chat template of `training.chat_template`; None for the tokenizer's own.

    Raises:
        ConfigError: its file cannot be read.
    """
    if name == "tokenizer":
        return None
    if name in TEMPLATE_NAMES:
        return (TEMPLATES / f"{name}.jinja").read_text()
    if not file_io.exists(name):
        raise ConfigError(f"training.chat_template is {name!r}, which does not exist; give the path of a Jinja file")
    try:
        return file_io.read_bytes(name).decode()
    except UnicodeDecodeError as problem:
        raise ConfigError(
            f"training.chat_template {name!r} is not UTF-8 ({problem.reason}); save it as UTF-8"
        ) from None


def template_identity(name: str) -> str:
    """Return what stands for a chat template in a fingerprint: its name, and of a file a hash of the text."""
    return name if name in TEMPLATE_NAMES else hashlib.sha256(str(template_text(name)).encode()).hexdigest()[:16]


def turn_tokens(base_model: str, training: Training) -> TurnTokens:
    """Return the control tokens that the config's chat template writes.

    Raises:
        ConfigError: `lora.trainable_tokens` has one that the tokenizer does not know.
    """
    tokenizer = tokenizer_for(base_model, training)
    wanted = training.lora.trainable_tokens if training.lora else "untrained"
    if wanted == "untrained":
        return TurnTokens(tokenizer.turn_tokens)
    ids = {token: tokenizer.token_id(token) for token in wanted}
    if unknown := [token for token, number in ids.items() if number is None]:
        raise ConfigError(f"training.lora.trainable_tokens has {unknown[0]!r}, which {base_model!r} has no token for")
    return TurnTokens(tokenizer.turn_tokens, frozenset(number for number in ids.values() if number is not None))


def _no_template(base_model: str) -> ModelError:
    return ModelError(
        f"training.base_model {base_model!r}: its tokenizer has no chat template, as is usual for a base model; "
        "name that of its family: training.chat_template=llama-3 or chatml, or the path of a Jinja file"
    )


def check_template(training: Training) -> ChatTokenizer:
    """Check that the chat template shows every message and marks the end of a turn.

    Raises:
        ModelError: it leaves out the system prompt, for example, or uses tokens that the tokenizer does not have.
    """
    if training.base_model != EMBEDDED:
        _check_files(training)
    tokenizer = tokenizer_for(training.base_model, training)
    try:
        _check_learned(tokenizer, training.learn_thoughts)
    except ModelError as problem:
        raise ModelError(
            f"training.base_model {training.base_model!r}, training.chat_template {training.chat_template!r}: {problem}"
        ) from None
    return tokenizer


def _check_learned(tokenizer: ChatTokenizer, learn_thoughts: bool) -> None:
    dialogue = [Message("system", "s"), Message("user", "u"), Message("assistant", "a")]
    without, found = (tokenizer.encode_dialogue(dialogue, ["", "", thought]) for thought in ("", "hm"))
    if learn_thoughts and found == without:
        raise ModelError(
            "it shows no thoughts, which training.learn_thoughts needs; set chat_template_kwargs.enable_thinking to "
            "true, here and for the candidate, if the template names it, or learn_thoughts to false"
        )


def _check_files(training: Training) -> None:
    folder = model_files.fetch(training.base_model, weights=False)
    try:
        check_folder(
            folder, template_text(training.chat_template), training.chat_template_kwargs, by="transformers",
            new_tokens=NEW_TOKENS.get(training.chat_template, ()),
        )  # fmt: skip
    except NoTemplateError:
        raise _no_template(training.base_model) from None
    except ModelError as problem:
        if training.chat_template in TEMPLATE_NAMES:
            raise
        raise ModelError(f"training.chat_template {training.chat_template!r}: {problem}") from None
    if Path(folder, "generation_config.json").exists():
        model_files.read_json(folder, "generation_config.json")  # the export of the trained model copies it


def splits_turns(tokenizer: ChatTokenizer) -> bool:
    """Return whether each reply is a segment of its own, because the template writes past turns in another way."""
    turns = [Message("user", "u"), Message("assistant", "a")]
    return len(tokenizer.encode_dialogue([Message("system", "s"), *turns, *turns])) > 1


def count_segments(curated: Mapping[str, Any], is_split: bool) -> int:
    """Return the training sequences before packing of a curated table, by its manifest."""
    return max(curated["ok"], (curated.get("figures") or {}).get("turns", 0)) if is_split else int(curated["ok"])


def tokenize(
    tokenizer: ChatTokenizer, row: Row, max_tokens: int, overlong: Literal["truncate", "reject"]
) -> TokenizedDialogue | Reject:
    """Tokenize one dialogue; a sequence of it that is too long is truncated at the end of a turn, or all is rejected.

    Sequences of which no turn fits are left out, as the turns are that a truncated one ends before.

    Thoughts are learned where the row has a column of them.

    Raises:
        ModelError: none of its tokens would be learned.
    """
    sequences = tokenizer.encode_dialogue(to_messages(row), _thoughts(row))
    if not sequences:
        raise ModelError(f"dialogue {row['dialogue_id']}: none of its tokens would be learned; check the chat template")
    longest = max(len(sequence.ids) for sequence in sequences)
    lengths = [_fitting_length(sequence, max_tokens) for sequence in sequences]
    if not any(lengths) or (overlong == "reject" and longest > max_tokens):
        return Reject("too_long", f"{longest} tokens, a sequence has {max_tokens}")
    kept = [(sequence, length) for sequence, length in zip(sequences, lengths, strict=True) if length]
    return TokenizedDialogue(
        row["dialogue_id"],
        [sequence.ids[:length] for sequence, length in kept],
        [sequence.mask[:length] for sequence, length in kept],
        truncated=longest > max_tokens,
    )


def _thoughts(row: Row) -> list[str]:
    """Return the thoughts before each message; those before a dialogue was rewritten are not the character's."""
    thoughts = iter(row.get("thoughts") or () if row.get("strategy") == "generate" else ())
    return [next(thoughts, "") if message["role"] == "assistant" else "" for message in row["messages"]]


def _fitting_length(sequence: Encoded, max_tokens: int) -> int:
    """Return how many tokens of a sequence can be kept; 0 if not even its first reply fits."""
    if len(sequence.ids) <= max_tokens:
        return len(sequence.ids)
    return max((end for end in sequence.ends if end <= max_tokens), default=0)
