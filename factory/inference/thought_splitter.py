"""Splits thoughts off a reply by its token ids: in its text the marks may be missing, as special tokens are left out.

vLLM's own parsers do this for its server. Offline, five of them take a reply without thoughts for a thought (a guided
verdict vanishes), gpt-oss' only raises, and Mistral's misses a thought without its first mark.
"""

import re
from collections.abc import Sequence
from typing import Any

from factory.inference.chat_form import OPEN_THOUGHT
from factory.text.thoughts import MARKS, SplitReply, join_thoughts, split_text

PROMPT_TOKENS = 8
"""More than the opening of a thought takes at the end of a prompt."""


class ThoughtSplitter:
    """Splits the replies of a model.

    Args:
        tokenizer: the model's, of transformers.
        control: matches its control tokens.
    """

    def __init__(self, tokenizer: Any, control: re.Pattern[str]) -> None:
        self._tokenizer = tokenizer
        pairs = [[self._encode(mark) for mark in pair] for pair in MARKS if all(map(control.match, pair))]
        self._starts, self._ends = [start for start, _ in pairs], [end for _, end in pairs]

    def split(self, prompt: Sequence[int], ids: Sequence[int], text: str) -> tuple[SplitReply, int]:
        """Split a reply at the last mark that ends a thought.

        Args:
            prompt: the token ids that were asked with; a thought may be open at their end.
            ids: those of the reply, without the one that ended it.
            text: of the reply, without special tokens.

        Returns:
            The reply, and the number of its tokens that are thoughts, marks included.
        """
        opening = OPEN_THOUGHT.search(self._decode(prompt[-PROMPT_TOKENS:], special=True))
        if not self._ends:  # the marks are text to this model
            split = split_text(opening[1] + text if opening else text)
            return split, 0 if split.text == text else max(0, len(ids) - len(self._encode(split.text)))
        ids = list(ids)
        end = max((at + len(mark) for mark in self._ends for at in _find(ids, mark)), default=0)
        begin = min((at for mark in self._starts for at in _find(ids, mark) if at >= end), default=len(ids))
        if opening and not end:
            begin = 0
        if not end and begin == len(ids):
            return SplitReply(text), 0
        thoughts = join_thoughts(*(self._decode(part, special=True) for part in (ids[:end], ids[begin:])))
        reply = self._decode(ids[end:begin], special=False).strip()
        return SplitReply(reply, thoughts, is_open=begin < len(ids) or not end), len(ids) - (begin - end)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _decode(self, ids: Sequence[int], special: bool) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False))


def _find(ids: list[int], mark: list[int]) -> list[int]:
    """Return the positions at which a mark begins."""
    if mark[0] not in ids:
        return []
    return [at for at, token in enumerate(ids) if token == mark[0] and ids[at : at + len(mark)] == mark]
