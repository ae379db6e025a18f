"""Chat messages to token ids: what a model is asked with, and what it learns for each reply.

A model is asked with the ids of `apply_chat_template`, no more and no less. For a reply it learns what the template
writes behind exactly that. Templates may write the past differently from the present (Qwen3 drops thoughts, gpt-oss
ends the last reply with another token), so a dialogue is one sequence only as far as one turn's prompt begins with the
turns before it, as with LLaMA-3, and several otherwise.

Control tokens in data are broken by a zero-width space before the template is rendered, so text inside a message is
never a control token: a persona with `<|im_end|>` would end its own message.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from factory.errors import ModelError
from factory.inference import chat_form
from factory.inference.chat_form import ChatForm
from factory.inference.thought_splitter import ThoughtSplitter
from factory.inference.tokenizer_export import save_tokenizer
from factory.inference.tokenizer_files import (
    add_control_tokens,
    find_control_tokens,
    load_tokenizer,
    template_source,
)
from factory.records import Message
from factory.text.control_tokens import TokenEscape
from factory.text.thoughts import MARKS, SplitReply


@dataclass(frozen=True)
class Encoded:
    """One sequence of a dialogue as token ids.

    `mask[i]` is True if the assistant writes token i: its text and the tokens that end its turn.
    `ends` has the number of tokens up to the end of each reply that is learned.
    """

    ids: list[int] = field(default_factory=list)
    mask: list[bool] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, ids: list[int], learned: bool) -> None:
        """Append tokens."""
        self.ids.extend(ids)
        self.mask.extend([learned] * len(ids))
        if learned:
            self.ends.append(len(self.ids))


class ChatTokenizer:
    """A model's tokenizer and chat template.

    Args:
        folder: a local Hugging Face folder.
        template: a Jinja chat template in place of the tokenizer's own.
        kwargs: variables of the template, such as `enable_thinking`, which is false by default.
        new_tokens: control tokens of the template that the vocabulary gets if it lacks them.

    Raises:
        NoTemplateError: it has no chat template.
        ModelError: its files cannot be read, or its chat templates have names and none is called default.
    """

    def __init__(
        self,
        folder: str,
        template: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        new_tokens: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._tokenizer = load_tokenizer(folder)
        self._added = add_control_tokens(self._tokenizer, folder, new_tokens)
        self._source = template or template_source(self._tokenizer, folder)
        self._kwargs = chat_form.template_kwargs(self._source, kwargs or {})
        self._clock = chat_form.clock(self._kwargs)
        control = find_control_tokens(self._tokenizer, self._source)
        self._escape = TokenEscape(control)
        self._real = [token for token in control if self.token_id(token) is not None]
        self._names = re.compile("|".join(map(re.escape, self._real)) or "(?!)")

    def encode(self, messages: Sequence[Message], close_thoughts: bool = False) -> list[int]:
        """Token ids of a chat, with the opening of the next assistant turn behind it.

        Args:
            messages: the chat.
            close_thoughts: whether the reply itself begins there, also if the template leaves room for thoughts.

        Raises:
            ModelError: the template refuses such a chat.
        """
        prompt = self._render(self._form, self._escaped(messages), True, "")
        ids = self._encode(prompt)
        return ids + self._reply_ids(prompt, self.no_thoughts)[0] if close_thoughts and self.no_thoughts else ids

    @cached_property
    def no_thoughts(self) -> str:
        """What the template writes between a prompt and a reply without thoughts, such as gpt-oss' `final` channel.

        Empty if the model does not think, or if the prompt itself ends with that.
        """
        chat = [Message("system", "s"), Message("user", "u"), Message("assistant", "\ue000")]
        prompt = self._render(self._form, chat[:2], True, "")
        between = self._learned(prompt, chat, "").partition("\ue000")[0]
        return between if self._names.search(between) or any(end in between for _, end in MARKS) else ""

    def split_thoughts(self, prompt: Sequence[int], ids: Sequence[int], text: str) -> tuple[SplitReply, int]:
        """Split the thoughts off a reply, and count their tokens, as `ThoughtSplitter.split` does."""
        split, tokens = self._splitter.split(prompt, ids, text)
        return SplitReply(self.unescape(split.text), self.unescape(split.thoughts), split.is_open), tokens

    def encode_dialogue(self, messages: Sequence[Message], thoughts: Sequence[str] = ()) -> list[Encoded]:
        """Token ids of a finished dialogue, and which of them the assistant wrote.

        Args:
            messages: the dialogue; every reply in it is learned once.
            thoughts: those of each message, to learn them too; a later turn never shows them.

        Returns:
            As few sequences as give every reply the context that `encode` asks for it with.

        Raises:
            ModelError: the template refuses such a chat, leaves out a message, or changes the text of a reply.
        """
        found: list[Encoded] = []
        messages = self._escaped(messages)
        text = ""  # of the last sequence; empty where its ids are not those of its text
        for turn, message in enumerate(messages):
            if message.role != "assistant":
                continue
            prompt = self._render(self._form, messages[:turn], True, "")
            asked = self._continued(found[-1].ids, text, prompt) if text else self._encode(prompt)
            if not found or asked[: len(found[-1].ids)] != found[-1].ids:
                found.append(Encoded())
            found[-1].add(asked[len(found[-1].ids) :], False)
            thought = self.escape(thoughts[turn]) if turn < len(thoughts) else ""
            reply = self._learned(prompt, messages[: turn + 1], thought)
            ids, is_joined = self._reply_ids(prompt, reply)
            found[-1].add(ids, True)
            text = prompt + reply if is_joined else ""
        rest = self._form.after_reply
        if found and rest.startswith(self._form.close):  # as in `apply_chat_template`; nothing of it is learned
            found[-1].add(self._continued([], self._form.close, rest), False)
        return found

    @property
    def end_of_turn(self) -> int:
        """The id of the token that ends an assistant's turn.

        Raises:
            ModelError: there is none.
        """
        return self._form.end

    @property
    def end_of_turn_text(self) -> str:
        """That token as text; ModelError as `end_of_turn`."""
        return str(self._tokenizer.convert_ids_to_tokens(self.end_of_turn))

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return tokens as they stand in the vocabulary."""
        return list(self._tokenizer.convert_ids_to_tokens(list(ids)))

    @property
    def turn_tokens(self) -> dict[int, str]:
        """The control tokens that the template writes, by id."""
        turns = [Message("system", "s"), *[Message("user", "u"), Message("assistant", "a")] * 2]
        found = {token for sequence in self.encode_dialogue(turns) for token in sequence.ids}
        return {number: token for token in self._real if (number := self.token_id(token)) in found}

    @property
    def server_settings(self) -> dict[str, Any]:
        """What vLLM's server needs to ask with the same tokens.

        Raises:
            ModelError: the template refuses every form of a chat.
        """
        merged = {"chat_template": self._form.template} if self._form.template != self._source else {}
        return merged | ({"default_chat_template_kwargs": self._kwargs} if self._kwargs else {})

    def decode(self, ids: Sequence[int]) -> str:
        """Return tokens as text, without control tokens."""
        return self.unescape(str(self._tokenizer.decode(list(ids), skip_special_tokens=True)))

    def escape(self, text: str) -> str:
        """Break the control tokens in a text, as in all data that is encoded."""
        return self._escape.escape(text)

    def unescape(self, text: str) -> str:
        """Return the text that was escaped, also where a model repeats it."""
        return self._escape.unescape(text)

    def save(self, folder: str) -> None:
        """Write tokenizer and chat template to a Hugging Face folder; its end of a text is then that of a turn."""
        save_tokenizer(self._tokenizer, self._folder, folder, self._form.template, self.end_of_turn_text, self._added)

    def check_roles(self, vocabulary: int | None = None) -> None:
        """Check that the template takes a system message and several turns, and that data is never a control token.

        Args:
            vocabulary: number of the model's embeddings, if known.

        Raises:
            ModelError: it refuses them, or the model has no embedding for a token of it.
        """
        turns = [Message("user", "u"), Message("assistant", "a")] * 3
        prompts = [self.encode([Message("system", "s"), *turns[:number]]) for number in (3, 1, 5)]
        learned = [sequence.ids for sequence in self.encode_dialogue([Message("system", "s"), *turns])]
        largest = max(map(max, [*prompts, *learned]))
        if vocabulary and largest >= max(vocabulary, len(self._tokenizer) if self._added else 0):
            raise ModelError(
                f"model {self._folder!r}: its chat template writes {self._tokenizer.convert_ids_to_tokens(largest)!r}, "
                f"token {largest}, and its config.json has a vocab_size of {vocabulary}; name another chat template"
            )
        ids = {self.token_id(token) for token in self._real}
        data = [token for token in self._real if len(token) > 1]
        if ids & set(self._encode(" ".join(map(self.escape, data)))):
            read = next(token for token in data if ids & set(self._encode(f"a {self.escape(token)} b")))
            raise ModelError(
                f"model {self._folder!r}: its tokenizer ignores a zero-width space, so {read!r} in data would be a "
                "control token; take another model"
            )

    @cached_property
    def _splitter(self) -> ThoughtSplitter:
        return ThoughtSplitter(self._tokenizer, self._names)

    @cached_property
    def _form(self) -> ChatForm:  # on first use, as a foreign template may run for ever
        return chat_form.find_form(self._folder, self._source, self._render, self._names, self._closing_id)

    def _escaped(self, messages: Sequence[Message]) -> list[Message]:
        return [Message(m.role, self.escape(m.content)) for m in messages]

    def _render(self, form: ChatForm, messages: Sequence[Message], asks: bool, thoughts: str) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                chat_form.to_chat(messages, form.in_parts, thoughts),
                chat_template=form.template,
                tokenize=False,
                add_generation_prompt=asks,
                **{"strftime_now": self._clock, **self._kwargs},
            )
        except Exception as problem:  # a template is somebody's program
            raise chat_form.describe(self._folder, messages, problem) from None
        return str(text)

    def _learned(self, prompt: str, messages: Sequence[Message], thoughts: str) -> str:
        """Return what the template writes for the last message behind the prompt that asks for it."""
        form, reply = self._form, messages[-1].content
        shown = self._render(form, messages, False, thoughts).removesuffix(form.after_reply)
        if not shown.rstrip().endswith(reply.strip()):
            raise ModelError(f"model {self._folder!r}: its chat template changes the text of a reply; name another one")
        if shown.startswith(prompt):
            return shown[len(prompt) :] + form.close
        kept = reply if shown.endswith(reply) else reply.strip()
        if (thought_end := chat_form.open_thought_end(form, prompt)) is not None:
            return thoughts + thought_end + kept + form.close
        before = shown.removesuffix(kept)
        return before[len(before.rstrip()) :] + kept + form.close

    def _continued(self, ids: list[int], text: str, longer: str) -> list[int]:
        """Return the ids of a text that may begin with another, which ends with a control token and has these ids."""
        if not longer.startswith(text):
            return self._encode(longer)
        last: str = self._tokenizer.convert_ids_to_tokens(self._form.end)
        return ids + self._encode(last + longer[len(text) :])[1:]

    def _reply_ids(self, prompt: str, reply: str) -> tuple[list[int], bool]:
        """Return the ids of a reply behind its prompt, and whether both are tokenized like that as one text.

        They are not where the prompt's end and the reply's beginning would be one token. A control token parts what
        stands before it from what stands behind it, so the end of the prompt is enough.
        """
        start = max((match.start() for match in self._names.finditer(prompt)), default=0)
        before, both = self._encode(prompt[start:]), self._encode(prompt[start:] + reply)
        is_joined = both[: len(before)] == before
        return (both[len(before) :] if is_joined else self._encode_apart(reply)), is_joined

    def _encode_apart(self, text: str) -> list[int]:
        """Return the ids of a text in the middle of another, whatever that is: some tokenizers put a space in front."""
        for anchor in ("\n", ".", "a", "0"):
            before, both = self._encode(anchor), self._encode(anchor + text)
            if both[: len(before)] == before:
                return both[len(before) :]
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def token_id(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary; None if it has none."""
        number = self._tokenizer.convert_tokens_to_ids(token)
        unknown = number is None or (number == self._tokenizer.unk_token_id and token != self._tokenizer.unk_token)
        return None if unknown else int(number)

    def _closing_id(self, token: str) -> int | None:
        number = self.token_id(token)
        return number if self._encode(f"a{token}")[-1] == number else None


def control_tokens(folder: str) -> tuple[str, ...]:
    """Return the strings that a Hugging Face folder's tokenizer and chat template use as control tokens."""
    tokenizer = load_tokenizer(folder)
    return find_control_tokens(tokenizer, str(tokenizer.chat_template or ""))
