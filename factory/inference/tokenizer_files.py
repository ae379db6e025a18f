"""Reads tokenizers from local Hugging Face folders, with their chat templates and control tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.errors import ModelError
from factory.text.control_tokens import find_family_tokens, is_plain_text


class NoTemplateError(ModelError):
    """A tokenizer has no chat template, as those of Base models."""


def load_tokenizer(folder: str) -> Any:
    """Return the tokenizer of a folder.

    Raises:
        ModelError: its files cannot be read, or need code of their own.
    """
    try:
        # A folder with a tokenizer.json needs no more than that: AutoTokenizer imports torch and half of
        # transformers, 7 s in each process that tokenizes against 1 s.
        if Path(folder, "tokenizer.json").exists():
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as problem:  # of a broken file the libraries raise anything, also a plain Exception
        said = " ".join(str(problem)[:300].split())
        if "trust_remote_code" in str(problem):
            raise ModelError(
                f"model {folder!r}: its tokenizer needs code of its own, which is not run here; take a model that "
                "transformers has code for, or a folder of it with a tokenizer.json"
            ) from None
        raise ModelError(f"model {folder!r}: its tokenizer cannot be read ({type(problem).__name__}: {said})") from None


def add_control_tokens(tokenizer: Any, folder: str, tokens: Sequence[str]) -> dict[str, int]:
    """Add control tokens to a tokenizer that lacks them, and return the added ones with their ids.

    Raises:
        ModelError: the tokenizer has no tokenizer.json, which an exported model would have them in.
    """
    vocabulary = tokenizer.get_vocab() if tokens else {}
    missing = [token for token in tokens if token not in vocabulary]
    if not missing:
        return {}
    if not Path(folder, "tokenizer.json").exists():
        raise ModelError(
            f"model {folder!r}: its vocabulary lacks {missing[0]!r}, and it has no tokenizer.json to add it to; name "
            "another chat template, or take a folder of the model with a tokenizer.json"
        )
    tokenizer.add_tokens(missing, special_tokens=True)
    return {token: int(tokenizer.convert_tokens_to_ids(token)) for token in missing}


def template_source(tokenizer: Any, folder: str) -> str:
    """Return the chat template of a tokenizer; of several with names, the default one.

    Raises:
        NoTemplateError: it has none.
        ModelError: its templates have names, and none is called default.
    """
    found = tokenizer.chat_template
    if not found:
        raise NoTemplateError(f"model {folder!r}: its tokenizer has no chat template; use an instruct model")
    if not isinstance(found, dict):
        return str(found)
    if "default" not in found:
        raise ModelError(
            f"model {folder!r}: its chat templates are named {', '.join(map(repr, list(found)[:8]))}, and none is "
            "the 'default'; take a folder of it with the one that you need as its chat_template.jinja"
        )
    return str(found["default"])


def find_control_tokens(tokenizer: Any, template: str) -> tuple[str, ...]:
    """Return the strings by which a tokenizer and its chat template separate turns, longest first.

    These are the special tokens; all others that were added to the vocabulary, such as Qwen3's `<think>`, but for white
    space and HTML that the template does not write; and what the template writes as text, such as LLaMA-2's `[INST]`.
    """
    added = {str(token): token.special for token in tokenizer.added_tokens_decoder.values()}
    names = {name for name, special in added.items() if special or not is_plain_text(name) or _writes(template, name)}
    names |= {*map(str, tokenizer.all_special_tokens), *find_family_tokens(template)}
    return tuple(sorted(names, key=lambda name: (-len(name), name)))


def _writes(template: str, name: str) -> bool:
    return bool(name.strip()) and name in template
