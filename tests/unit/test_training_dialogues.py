"""Tokens and loss mask of a dialogue, on both chat formats, with a tokenizer of single bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from factory.config import Training
from factory.errors import ModelError
from factory.inference.chat_template import ChatTokenizer
from factory.records import Message, Reject
from factory.training.dialogue import TEMPLATES, tokenize

SPECIAL = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "llama-3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
}
ADDED = ["<think>", "</think>", "<tool_call>"]
RUN = "\n\n"
END = {"chatml": "<|im_end|>", "llama-3": "<|eot_id|>"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A tokenizer of bytes and of the special tokens of both formats, without a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([token for tokens in SPECIAL.values() for token in tokens])
    core.add_tokens([*ADDED, RUN])  # as Qwen3 and Gemma have them: in the vocabulary, and not marked as special
    path = str(tmp_path_factory.mktemp("bytes"))
    PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizers(folder) -> dict[str, ChatTokenizer]:
    return {name: ChatTokenizer(folder, (TEMPLATES / f"{name}.jinja").read_text()) for name in SPECIAL}


def decode(tokenizer: ChatTokenizer, ids: list[int]) -> str:
    return tokenizer._tokenizer.decode(ids)


def row(messages: list[Message]) -> dict:
    return {"dialogue_id": "d", "messages": [{"role": m.role, "content": m.content} for m in messages]}


TEXT = st.text(st.characters(exclude_categories=["Cs", "Co", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20)
HOSTILE = st.sampled_from([*SPECIAL["chatml"], *SPECIAL["llama-3"], *ADDED, "{{ messages }}", "</s>"])
DIALOGUES = st.lists(st.tuples(TEXT | HOSTILE, TEXT | HOSTILE), min_size=1, max_size=4)


def chat(turns: list[tuple[str, str]]) -> list[Message]:
    said = [Message(role, text) for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)]
    return [Message("system", "Be someone."), *said]


@pytest.mark.parametrize("format", SPECIAL)
@given(turns=DIALOGUES)
@settings(max_examples=25, deadline=None)
def test_mask_has_replies_with_their_ends_alone(tokenizers, format, turns):
    (encoded,) = tokenizers[format].encode_dialogue(chat(turns))
    learned = [token for token, mask in zip(encoded.ids, encoded.mask, strict=True) if mask]
    assert decode(tokenizers[format], learned) == "".join(
        tokenizers[format].escape(reply) + END[format] for _, reply in turns
    )
    assert len(encoded.ends) == len(turns)


@pytest.mark.parametrize("format", SPECIAL)
@given(turns=DIALOGUES)
@settings(max_examples=25, deadline=None)
def test_tokens_before_a_reply_are_the_prompt(tokenizers, format, turns):
    tokenizer, messages = tokenizers[format], chat(turns)
    (encoded,) = tokenizer.encode_dialogue(messages)
    starts = [n for n, mask in enumerate(encoded.mask) if mask and not encoded.mask[n - 1]]
    for number, start in enumerate(starts):
        assert encoded.ids[:start] == tokenizer.encode(messages[: 2 + 2 * number])


@pytest.mark.parametrize("format", SPECIAL)
@given(turns=DIALOGUES)
@settings(max_examples=25, deadline=None)
def test_special_tokens_come_from_the_template_alone(tokenizers, format, turns):
    tokenizer = tokenizers[format]
    special = set(tokenizer._tokenizer.all_special_ids) | set(tokenizer._tokenizer.added_tokens_decoder)
    (plain,) = tokenizer.encode_dialogue(chat([("a", "b")] * len(turns)))
    (given_,) = tokenizer.encode_dialogue(chat(turns))
    assert [t for t in given_.ids if t in special] == [t for t in plain.ids if t in special]


@pytest.mark.parametrize("token", ADDED)
def test_unmarked_control_token_is_text_in_data(folder, token):
    template = (TEMPLATES / "chatml.jinja").read_text() + "{% if add_generation_prompt %}" + token + "{% endif %}"
    tokenizer = ChatTokenizer(folder, template)
    number = tokenizer._tokenizer.convert_tokens_to_ids(token)
    ids = tokenizer.encode([Message("user", f"say {token} aloud")])
    assert ids.count(number) == 1
    assert ids[-1] == number
    assert tokenizer.unescape(decode(tokenizer, ids[:-1])).count(f"say {token} aloud") == 1


def test_repeated_newlines_are_one_token(tokenizers):
    tokenizer = tokenizers["chatml"]
    assert tokenizer._tokenizer.convert_tokens_to_ids(RUN) in tokenizer.encode([Message("user", "a\n\nb")])


def test_tokenizer_is_saved_unchanged(folder, tokenizers, tmp_path):
    tokenizers["chatml"].save(str(tmp_path))
    before, after = (
        PreTrainedTokenizerFast.from_pretrained(place).added_tokens_decoder for place in (folder, tmp_path)
    )
    assert {str(token): token.special for token in after.values()} == {str(t): t.special for t in before.values()}
    assert ChatTokenizer(str(tmp_path)).encode(chat([("a", "b")])) == tokenizers["chatml"].encode(chat([("a", "b")]))


@pytest.mark.parametrize("format", SPECIAL)
def test_long_dialogue_is_truncated_after_a_turn(tokenizers, format):
    tokenizer, messages = tokenizers[format], chat([("one", "two"), ("three", "four"), ("five", "six")])
    ends = tokenizer.encode_dialogue(messages)[0].ends
    tokenized = tokenize(tokenizer, row(messages), ends[1] + 3, "truncate")
    assert not isinstance(tokenized, Reject)
    assert tokenized.truncated
    (ids,) = tokenized.input_ids
    assert len(ids) == ends[1] == len(tokenized.loss_mask[0])
    assert decode(tokenizer, ids).endswith("four" + END[format])
    assert tokenize(tokenizer, row(messages), ends[1] + 3, "reject").reason == "too_long"
    assert tokenize(tokenizer, row(messages), ends[0] - 1, "truncate").reason == "too_long"


def test_dialogue_without_learned_tokens_is_an_error(tokenizers):
    with pytest.raises(ModelError, match="none of its tokens would be learned"):
        tokenize(tokenizers["chatml"], row([Message("system", "s"), Message("user", "u")]), 100, "truncate")


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_template_that_leaves_out_a_message_is_an_error(folder, role):
    template = (TEMPLATES / "chatml.jinja").read_text()
    dropping = template.replace("for message in messages", f"for message in messages if message['role'] != '{role}'")
    with pytest.raises(ModelError, match=f"leaves out the {role} message"):
        ChatTokenizer(folder, dropping).encode_dialogue(chat([("a", "b")]))


def test_template_error_is_one_line(folder):
    refusing = "{% if messages | length > 1 %}{{ raise_exception('Single turns\nonly') }}{% endif %}"
    tokenizer = ChatTokenizer(folder, refusing + (TEMPLATES / "chatml.jinja").read_text())
    for ask in (tokenizer.check_roles, lambda: tokenizer.encode_dialogue(chat([("a", "b")]))):
        with pytest.raises(ModelError, match=r"refuses a chat of system, user \(Single turns only\)"):
            ask()


def test_template_without_end_token_is_an_error(folder):
    template = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    with pytest.raises(ModelError, match="ends a reply without a special token"):
        ChatTokenizer(folder, template).encode_dialogue(chat([("a", "b"), ("c", "d")]))


def test_base_model_without_template_has_a_remedy(folder):
    from factory.training.dialogue import tokenizer_for

    with pytest.raises(ModelError, match="name that of its family"):
        tokenizer_for(folder, Training(base_model=folder))
