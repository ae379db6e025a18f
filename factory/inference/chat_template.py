"""Chat messages to token ids, so that text inside a message is never a special token.

Rendering a chat template and tokenizing the result would turn a persona that contains `<|im_end|>`
into the end of its own message. Here the template is rendered around placeholders; the control
tokens that the template itself wrote become ids, and everything else is tokenized as plain text.
Control tokens are the special ones and all others that were added to the vocabulary, such as
Qwen3's `<think>` and `<tool_call>`, but for runs of spaces, which are text. For messages without
such strings the ids are those of `apply_chat_template`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from factory.errors import ModelError
from factory.records import Message


class NoTemplateError(ModelError):
    """A tokenizer has no chat template, as those of Base models."""


@dataclass(frozen=True)
class Encoded:
    """A dialogue as token ids.

    `mask[i]` is True if the assistant writes token i: its text and the token that ends its turn.
    `ends` has the number of tokens up to the end of each assistant turn.
    """

    ids: list[int]
    mask: list[bool]
    ends: list[int]


class ChatTokenizer:
    """A model's tokenizer and chat template.

    Args:
        folder: a local Hugging Face folder.
        template: a Jinja chat template in place of the tokenizer's own.

    Raises:
        NoTemplateError: it has no chat template.
        ModelError: its files cannot be read, or its chat templates have names and none is called default.
    """

    def __init__(self, folder: str, template: str | None = None) -> None:
        self._folder = folder
        self._tokenizer = _load(folder)
        if template:
            self._tokenizer.chat_template = template
        if not self._tokenizer.chat_template:
            raise NoTemplateError(f"model {folder!r}: its tokenizer has no chat template; use an instruct model")
        named = self._tokenizer.chat_template
        if isinstance(named, dict) and "default" not in named:
            raise ModelError(
                f"model {folder!r}: its chat templates are named {', '.join(map(repr, list(named)[:8]))}, and none is "
                "the 'default'; take a folder of it with the one that you need as its chat_template.jinja"
            )
        self._control = re.compile("|".join(map(re.escape, _control_tokens(self._tokenizer))) or "(?!)")
        if self._tokenizer.is_fast:
            # Added a second time, as special, they keep their ids, and `split_special_tokens` splits them too.
            again = [_special(token) for token in _added_tokens(self._tokenizer)]
            self._tokenizer.backend_tokenizer.add_special_tokens(again)

    def encode(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """Token ids of a chat, with the opening of the next assistant turn behind it by default.

        Raises:
            ModelError: the template refuses such a chat.
        """
        ids: list[int] = []
        plain: list[str] = []
        for piece in self._pieces(messages, add_generation_prompt):
            if isinstance(piece, int):
                ids += [*self._encode_plain("".join(plain)), piece]
                plain.clear()
            else:
                plain.append(piece[1])
        return ids + self._encode_plain("".join(plain))

    def encode_dialogue(self, messages: Sequence[Message]) -> Encoded:
        """Token ids of a finished dialogue, and which of them the assistant wrote.

        An assistant's text is tokenized apart from what comes before it, as when it is generated.

        Raises:
            ModelError: the template refuses such a chat, leaves out a message, or ends a turn without a special token.
        """
        ids: list[int] = []
        mask: list[bool] = []
        ends: list[int] = []
        shown: set[int] = set()
        plain: list[str] = []
        replied = False

        def add(new: list[int], learned: bool) -> None:
            ids.extend(new)
            mask.extend([learned] * len(new))

        for piece in self._pieces(messages, add_generation_prompt=False):
            if isinstance(piece, int):
                add(self._encode_plain("".join(plain)), False)
                plain.clear()
                add([piece], replied)
                if replied:
                    ends.append(len(ids))
                replied = False
                continue
            number, text = piece
            if replied:
                raise ModelError("chat template: an assistant's turn ends without a special token; name another one")
            shown.update([] if number is None else [number])
            replied = number is not None and messages[number].role == "assistant"
            if not replied:
                plain.append(text)
                continue
            add(self._encode_plain("".join(plain)), False)
            plain.clear()
            add(self._encode_plain(text), True)
        add(self._encode_plain("".join(plain)), False)
        for number, message in enumerate(messages):
            if number not in shown:
                raise ModelError(f"chat template: it leaves out the {message.role} message; name another one")
        return Encoded(ids, mask, ends)

    @cached_property
    def end_of_turn(self) -> int:
        """The id of the token that ends an assistant's turn.

        Raises:
            ModelError: there is none.
        """
        encoded = self.encode_dialogue([Message("system", "s"), Message("user", "u"), Message("assistant", "a")])
        return encoded.ids[encoded.ends[-1] - 1]

    def save(self, folder: str) -> None:
        """Write tokenizer and chat template to a Hugging Face folder.

        A Base model's tokenizer ends a text with another token than a chat template ends a turn with;
        what it saves ends at the turn's, where a tuned model stops.
        """
        saved = _load(self._folder)  # as it came: ours takes all control tokens for special ones
        saved.chat_template = self._tokenizer.chat_template
        saved.eos_token = saved.convert_ids_to_tokens(self.end_of_turn)
        saved.save_pretrained(folder)

    def check_roles(self) -> None:
        """Check that the template takes a system message and several turns.

        Raises:
            ModelError: it refuses them.
        """
        turns = [Message("user", "u"), Message("assistant", "a")] * 3
        for number in (3, 1, 5, 6):
            self.encode([Message("system", "s"), *turns[:number]], add_generation_prompt=number < 6)

    def _pieces(
        self, messages: Sequence[Message], add_generation_prompt: bool
    ) -> Iterator[int | tuple[int | None, str]]:
        """Yield the parts of a rendered chat: a special token's id, or text with the number of its message."""
        # Private-use characters: no template writes them, and data never meets them. The spaces
        # tell whether the template trims what it is given (LLaMA-3's does).
        chat = [{"role": m.role, "content": f" \ue000{number}\ue001 "} for number, m in enumerate(messages)]
        try:
            frame = self._tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as problem:  # a template is somebody's program, and raises anything
            roles = ", ".join(dict.fromkeys(m.role for m in messages))
            kind = "" if isinstance(problem, TemplateError) else f"{type(problem).__name__}: "
            said = kind + " ".join(str(problem)[:300].split())
            raise ModelError(
                f"model {self._folder!r}: its chat template refuses a chat of {roles} ({said}); "
                "take another model, or a folder of it with a chat_template.jinja that takes them"
            ) from None
        for piece in re.split("( ?\ue000[0-9]{1,9}\ue001 ?)", frame):
            if re.search("\ue000[0-9]{1,9}\ue001", piece):
                number = int(piece.strip()[1:-1])
                if number >= len(messages):
                    raise ModelError(f"model {self._folder!r}: its chat template writes private-use characters")
                content = messages[number].content
                yield number, content if piece.startswith(" ") else content.strip()
                continue
            start = 0
            for match in self._control.finditer(piece):
                if match.start() > start:
                    yield None, piece[start : match.start()]
                yield self._tokenizer.convert_tokens_to_ids(match.group())
                start = match.end()
            if start < len(piece):
                yield None, piece[start:]

    def _encode_plain(self, text: str) -> list[int]:
        if not text:
            return []
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])


def control_tokens(folder: str) -> tuple[str, ...]:
    """Return the strings that a Hugging Face folder's tokenizer treats as control tokens anywhere in a text."""
    return _control_tokens(_load(folder))


def _control_tokens(tokenizer: Any) -> tuple[str, ...]:
    names = {*map(str, tokenizer.all_special_tokens), *map(str, _added_tokens(tokenizer))}
    return tuple(sorted(names, key=lambda name: (-len(name), name)))


def _added_tokens(tokenizer: Any) -> list[Any]:
    """Also those that are not marked as special, such as Qwen3's `<think>`; those of white space alone are text."""
    return [token for token in tokenizer.added_tokens_decoder.values() if str(token).strip(" \t\r\n\u2581")]


def _special(token: Any) -> Any:
    from tokenizers import AddedToken

    kept = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word", "normalized")}
    return AddedToken(str(token), special=True, **kept)


def _load(folder: str) -> Any:
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
