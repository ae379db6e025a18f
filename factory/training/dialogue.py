"""Tokenization of a curated dialogue, with the mask of the tokens that are learned."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from factory.config import EMBEDDED, Training
from factory.errors import ModelError
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer, NoTemplateError
from factory.inference.model_check import check_folder
from factory.records import Message, Reject
from factory.storage.rows import Row, to_messages

TEMPLATES = Path(__file__).parent / "templates"
"""Chat templates by family, for base models without one."""


@dataclass(frozen=True, slots=True)
class TokenizedDialogue:
    """Tokens of a dialogue; `loss_mask` marks the assistant's."""

    dialogue_id: str
    input_ids: list[int]
    loss_mask: list[bool]
    truncated: bool


@cache
def tokenizer_for(base_model: str, chat_template: str) -> ChatTokenizer:
    """Return the tokenizer of a base model with the chat template that the config names; cached per process.

    Raises:
        ModelError: the model has no chat template and the config names none.
    """
    try:
        return ChatTokenizer(model_files.fetch(base_model, weights=False), _template(chat_template))
    except NoTemplateError:
        raise _no_template(base_model) from None


def _template(name: str) -> str | None:
    return None if name == "tokenizer" else (TEMPLATES / f"{name}.jinja").read_text()


def _no_template(base_model: str) -> ModelError:
    return ModelError(
        f"training.base_model {base_model!r}: its tokenizer has no chat template, as is usual for a base model; "
        "name that of its family: training.chat_template=llama-3 or chatml"
    )


def check_template(training: Training) -> ChatTokenizer:
    """Check that the chat template shows every message and marks the end of a turn.

    Raises:
        ModelError: it leaves out the system prompt, for example, or uses tokens that the tokenizer does not have.
    """
    if training.base_model != EMBEDDED:
        _check_files(training)
    tokenizer = tokenizer_for(training.base_model, training.chat_template)
    probe = [Message("system", "s"), Message("user", "u"), Message("assistant", "a")]
    try:
        encoded = tokenizer.encode_dialogue(probe)
    except ModelError as problem:
        raise ModelError(f"training.base_model {training.base_model!r}: {problem}") from None
    if None in encoded.ids:
        raise ModelError(
            f"training.chat_template {training.chat_template!r}: its special tokens are not among those of "
            f"{training.base_model!r}; name another one"
        )
    return tokenizer


def _check_files(training: Training) -> None:
    folder = model_files.fetch(training.base_model, weights=False)
    try:
        check_folder(folder, _template(training.chat_template), by="transformers")
    except NoTemplateError:
        raise _no_template(training.base_model) from None
    if Path(folder, "generation_config.json").exists():
        model_files.read_json(folder, "generation_config.json")  # the export of the trained model copies it


def tokenize(
    tokenizer: ChatTokenizer, row: Row, max_tokens: int, overlong: Literal["truncate", "reject"]
) -> TokenizedDialogue | Reject:
    """Tokenize one dialogue; one that is too long is truncated at the end of a turn, or rejected.

    Raises:
        ModelError: none of its tokens would be learned.
    """
    encoded = tokenizer.encode_dialogue(to_messages(row))
    if not any(encoded.mask):
        raise ModelError(f"dialogue {row['dialogue_id']}: none of its tokens would be learned; check the chat template")
    length = len(encoded.ids)
    if length > max_tokens:
        fitting = [end for end in encoded.ends if end <= max_tokens]
        if overlong == "reject" or not fitting:
            return Reject("too_long", f"{length} tokens, a sequence has {max_tokens}")
        length = fitting[-1]
    return TokenizedDialogue(
        row["dialogue_id"], encoded.ids[:length], encoded.mask[:length], truncated=length < len(encoded.ids)
    )
