"""Chat messages to token ids, so that text inside a message is never a special token.

Rendering a chat template and tokenising the result would turn a persona that says `<|im_end|>`
into the end of its own message. Here the template is rendered around placeholders; the special
tokens that the template itself wrote become ids, and everything else is tokenised as plain text.
For messages without such strings the ids are those of `apply_chat_template`.
"""

import re
from collections.abc import Sequence
from typing import Any

from factory.errors import ModelError
from factory.records import Message


class ChatTokenizer:
    """A model's tokenizer and chat template.

    Args:
        folder: a local Hugging Face folder.

    Raises:
        ModelError: it has no chat template.
    """

    def __init__(self, folder: str) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        if not self._tokenizer.chat_template:
            raise ModelError(f"model {folder!r}: its tokenizer has no chat template; use an instruct model")
        special = sorted(map(str, self._tokenizer.all_special_tokens), key=len, reverse=True)
        added = (str(token) for token in self._tokenizer.added_tokens_decoder.values() if token.special)
        names = sorted({*special, *added}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)))

    def encode(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """Token ids of a chat, with the opening of the next assistant turn behind it by default."""
        # Private-use characters: no template writes them, and data never meets them.
        marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
        chat = [{"role": m.role, "content": mark} for m, mark in zip(messages, marks, strict=True)]
        frame = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt)
        ids: list[int] = []
        plain: list[str] = []
        for piece in re.split("(\ue000[0-9]+\ue001)", frame):
            if piece.startswith("\ue000"):
                plain.append(messages[int(piece[1:-1])].content)
                continue
            start = 0
            for match in self._special.finditer(piece):
                plain.append(piece[start : match.start()])
                ids += self._encode_plain("".join(plain))
                plain.clear()
                ids.append(self._tokenizer.convert_tokens_to_ids(match.group()))
                start = match.end()
            plain.append(piece[start:])
        return ids + self._encode_plain("".join(plain))

    def _encode_plain(self, text: str) -> list[int]:
        if not text:
            return []
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])
