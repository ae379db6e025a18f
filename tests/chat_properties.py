"""What holds for every chat template and tokenizer, and tokenizers of single bytes to show it with."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from factory.inference.chat_template import ChatTokenizer
from factory.records import Message

TALK = (
    Message("system", "You are Ada, a baker."),
    Message("user", "Why is my bread flat?\n"),
    Message("assistant", "The yeast!  It sleeps… 빵 🍞\n\n1. Wait"),
    Message("user", "And now?"),
    Message("assistant", " Bake it. "),
    Message("user", "Thanks"),
    Message("assistant", "*waves*"),
)
ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    "<|>[]/sINSTthink_\u200b\n ▁", max_size=20
)


def save_byte_tokenizer(folder: Path, special: Iterable[str] = (), added: Iterable[str | AddedToken] = ()) -> str:
    """Write a tokenizer of bytes, of special tokens, and of others that are only added."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens([*special, "<s>", "</s>"])
    core.add_tokens([*added])
    PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>").save_pretrained(str(folder))
    return str(folder)


def odd_talks(tokens: Sequence[str]) -> st.SearchStrategy[list[Message]]:
    """Return dialogues of any text, with control tokens in it, whole, cut and escaped."""
    broken = st.sampled_from(tokens).flatmap(
        lambda t: st.sampled_from([t, t[1:], t[:-1], t[0] + "\u200b" + t[1:], t[0] + t, t + t, f" {t}\n"])
    )
    text = st.lists(ODD | broken, min_size=1, max_size=4).map("".join)
    roles = ["system", *["user", "assistant"] * 3]
    return st.integers(1, 3).flatmap(
        lambda turns: st.tuples(*[text] * (1 + 2 * turns)).map(
            lambda texts: [Message(role, content) for role, content in zip(roles, texts, strict=False)]
        )
    )


def asked(tokenizer: ChatTokenizer, messages: Sequence[Message], **kwargs: Any) -> list[int]:
    """Token ids by `apply_chat_template` alone, of the messages without control tokens."""
    form = tokenizer._form
    chat = [
        {"role": m.role, "content": [{"type": "text", "text": text}] if form.in_parts else text}
        for m in messages
        for text in [tokenizer.escape(m.content)]
    ]
    variables = {"strftime_now": datetime(2024, 7, 26).strftime} | tokenizer._kwargs | kwargs
    return tokenizer._tokenizer.apply_chat_template(
        chat, chat_template=form.template, add_generation_prompt=True, return_dict=False, **variables
    )


def learned(tokenizer: ChatTokenizer, talk: Sequence[Message], thoughts: Sequence[str] = ()) -> list[Any]:
    """Return, for each reply, the token ids before it and its own."""
    found = []
    for sequence in tokenizer.encode_dialogue(talk, thoughts):
        assert len(sequence.ids) == len(sequence.mask)
        starts = [n for n, mask in enumerate(sequence.mask) if mask and not sequence.mask[n - 1]]
        found += [(sequence.ids[:a], sequence.ids[a:b]) for a, b in zip(starts, sequence.ends, strict=True)]
    return found


def check_contexts(tokenizer: ChatTokenizer, talk: Sequence[Message], thoughts: Sequence[str] = ()) -> None:
    """Check that every reply is learned once, behind what `encode` asks for it with."""
    replies = [(turn, m.content) for turn, m in enumerate(talk) if m.role == "assistant"]
    for (before, ids), (turn, reply) in zip(learned(tokenizer, talk, thoughts), replies, strict=True):
        assert before == tokenizer.encode(talk[:turn])
        text = tokenizer._tokenizer.decode(ids)
        assert _normalized(tokenizer.escape(reply)) in _normalized(text)
        assert text.endswith(tokenizer._tokenizer.convert_ids_to_tokens(tokenizer.end_of_turn))


def _normalized(text: str) -> str:
    """Return a text as tokenizers that normalize would decode it: SentencePiece's have a space of their own."""
    return unicodedata.normalize("NFC", text).replace("▁", " ").strip()


def check_hostile(tokenizer: ChatTokenizer, talk: Sequence[Message]) -> None:
    """Check that data adds no control token to prompts and replies, and that escaping is reversible."""
    control = {tokenizer.token_id(token) for token in tokenizer._real if len(token) > 1}

    def control_ids(messages: Sequence[Message]) -> list[list[int]]:
        return [[n for n in ids if n in control] for pair in learned(tokenizer, messages) for ids in pair]

    # An empty message stays empty: templates leave out its marks.
    assert control_ids(talk) == control_ids([Message(m.role, "x" if m.content.strip() else "") for m in talk])
    for message in talk:
        assert tokenizer.unescape(tokenizer.escape(message.content)) == message.content
