"""Chat templates of every shape: what is asked and learned, with a tokenizer of single bytes."""

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from factory.config import Training, VllmEngine
from factory.errors import ModelError
from factory.inference.chat_template import ChatTokenizer
from factory.records import Message, Reject
from factory.training.dialogue import _check_learned, count_segments, splits_turns, tokenize
from tests.chat_properties import TALK, asked, check_contexts, check_hostile, learned, odd_talks, save_byte_tokenizer

OPEN = "{{ '<s>' }}{% for m in messages %}"
ASK = "{% endfor %}{% if add_generation_prompt %}<|a|>{% endif %}"
TURN = "{% if m.role == 'user' %}<|u|>{% elif m.role == 'assistant' %}<|a|>{% else %}<|s|>{% endif %}"
CONTENT = "{{ m.content }}<|z|>"
SHAPES = {
    "plain": OPEN + TURN + CONTENT + ASK,
    "no system": OPEN
    + "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TURN
    + CONTENT
    + ASK,
    "drops system": OPEN + "{% if m.role != 'system' %}" + TURN + CONTENT + "{% endif %}" + ASK,
    "parts": OPEN + TURN + "{% for p in m.content %}{{ p['text'] }}{% endfor %}<|z|>" + ASK,
    "trims": OPEN + TURN + "{{ m.content | trim }}<|z|>\n" + ASK,
    "space before a reply": OPEN + TURN + "{% if m.role == 'assistant' %} {% endif %}" + CONTENT + ASK,
    "two ends": OPEN + TURN + "{{ m.content }}<|y|><|z|>\n" + ASK,
    "ends with the next turn": OPEN + TURN + "{{ '\n' + m.content }}" + ASK,
    "other end of the last": OPEN + TURN + "{{ m.content }}{{ '<|y|>' if loop.last else '<|z|>' }}" + ASK,
    "history without thoughts": OPEN
    + TURN
    + "{% if loop.last and m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    + CONTENT
    + ASK,
    "asks with an open thought": OPEN
    + TURN
    + CONTENT
    + "{% endfor %}{% if add_generation_prompt %}<|a|><think>\n{% endif %}",
    "thinking is an option": OPEN
    + TURN
    + CONTENT
    + ASK
    + "{% if add_generation_prompt and not (enable_thinking | default(true)) %}<think>\n\n</think>\n\n{% endif %}",
    "marks that are text": OPEN
    + "{{ '[INST] ' + m.content + ' [/INST]' if m.role != 'assistant' else m.content + '</s>' }}"
    "{% endfor %}",
    "tells the date": "{{ strftime_now('%d %b %Y') }}" + OPEN + TURN + CONTENT + ASK,
    "changes its mind": OPEN + TURN + "{{ m.content }}{{ messages | length }}<|z|>" + ASK,
}
SEQUENCES = {"history without thoughts": 3, "asks with an open thought": 3, "thinking is an option": 3} | {
    "other end of the last": 3
}
WRONG = {"changes its mind"}
GOOD = [name for name in SHAPES if name not in WRONG]
TOKENS = ["<|s|>", "<|u|>", "<|a|>", "<|y|>", "<|z|>", "<think>", "</think>", "[INST]", "[/INST]", "<s>", "</s>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    special = ["<|s|>", "<|u|>", "<|a|>", "<|y|>", "<|z|>"]
    return save_byte_tokenizer(tmp_path_factory.mktemp("bytes"), special, ["<think>", "</think>", "<b>", "\n\n"])


@pytest.fixture(scope="module")
def tokenizers(folder) -> dict[str, ChatTokenizer]:
    return {name: ChatTokenizer(folder, template) for name, template in SHAPES.items()}


@pytest.mark.parametrize("shape", GOOD)
def test_prompt_is_that_of_the_template(tokenizers, shape):
    tokenizer = tokenizers[shape]
    tokenizer.check_roles()
    for turns in (2, 4, 6):
        assert tokenizer.encode(TALK[:turns]) == asked(tokenizer, TALK[:turns])


@pytest.mark.parametrize("shape", GOOD)
def test_replies_are_learned_behind_their_prompts(tokenizers, shape):
    check_contexts(tokenizers[shape], TALK)
    assert len(tokenizers[shape].encode_dialogue(TALK)) == SEQUENCES.get(shape, 1)


@pytest.mark.parametrize("shape", GOOD)
@given(talk=odd_talks(TOKENS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_odd_text_is_learned_in_context_and_adds_no_control_token(tokenizers, shape, talk):
    check_contexts(tokenizers[shape], talk)
    check_hostile(tokenizers[shape], talk)


def shown(tokenizer: ChatTokenizer, messages=TALK[:2]) -> str:
    return tokenizer._tokenizer.decode(tokenizer.encode(messages))


@pytest.mark.parametrize("shape", ["no system", "drops system"])
def test_system_message_opens_the_first_user_message(tokenizers, shape):
    tokenizer = tokenizers[shape]
    assert shown(tokenizer) == f"<s><|u|>{TALK[0].content}\n\n{TALK[1].content}<|z|><|a|>"
    assert shown(tokenizer, TALK[1:2]) == f"<s><|u|>{TALK[1].content}<|z|><|a|>"
    assert tokenizer.encode(TALK[:1]) == asked(tokenizer, TALK[:1])


def test_exported_template_merges_the_system_message_too(tokenizers, tmp_path):
    tokenizers["no system"].save(str(tmp_path))
    saved = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    chat = [{"role": m.role, "content": m.content} for m in TALK[:2]]
    ids = saved.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert ids == tokenizers["no system"].encode(TALK[:2])
    assert tokenizers["no system"].server_settings == {"chat_template": saved.chat_template}


@pytest.mark.parametrize(
    ("shape", "texts"),
    [
        ("plain", ["The thought<|z|>"]),
        ("two ends", ["The thought<|y|><|z|>"]),
        ("ends with the next turn", ["\nThe thought<|u|>"]),
        ("other end of the last", ["The thought<|y|>"]),
        ("space before a reply", [" The thought<|z|>"]),
        ("history without thoughts", ["<think>\nhm\n</think>\n\nThe thought<|z|>"]),
        ("asks with an open thought", ["hm\n</think>\n\nThe thought<|z|>"]),
        ("thinking is an option", ["The thought<|z|>"]),
    ],
)
def test_thoughts_are_learned_where_the_template_has_a_place_for_them(tokenizers, shape, texts):
    talk = [*TALK[:2], Message("assistant", "The thought")]
    found = learned(tokenizers[shape], talk, ["", "", "hm"])
    assert [tokenizers[shape]._tokenizer.decode(ids) for _, ids in found] == texts


def test_thoughts_stay_out_of_later_turns(tokenizers):
    tokenizer = tokenizers["history without thoughts"]
    check_contexts(tokenizer, TALK, ["", "", "secret", "", "secret", "", "hm"])
    for before, _ in learned(tokenizer, TALK, ["", "", "secret", "", "secret", "", "hm"]):
        assert "secret" not in tokenizer._tokenizer.decode(before)


def test_an_open_thought_is_closed_where_none_is_stored(tokenizers):
    found = learned(tokenizers["asks with an open thought"], TALK[:3])
    assert tokenizers["asks with an open thought"]._tokenizer.decode(found[0][1]).startswith("\n</think>\n\nThe yeast")


def test_thinking_is_off_unless_asked_for(folder):
    template = SHAPES["thinking is an option"]
    assert shown(ChatTokenizer(folder, template)).endswith("<|a|><think>\n\n</think>\n\n")
    assert shown(ChatTokenizer(folder, template, {"enable_thinking": True})).endswith("<|a|>")
    assert ChatTokenizer(folder, template).server_settings == {
        "default_chat_template_kwargs": {"enable_thinking": False}
    }


def test_date_is_fixed_or_given(folder):
    template = SHAPES["tells the date"]
    assert shown(ChatTokenizer(folder, template)).startswith("26 Jul 2024<s>")
    assert shown(ChatTokenizer(folder, template, {"date_string": "01 Feb 2026"})).startswith("01 Feb 2026<s>")
    assert datetime.now().strftime("%Y") not in shown(ChatTokenizer(folder, template))


def test_html_that_a_tokenizer_reads_at_once_is_text(tokenizers):
    tokenizer = tokenizers["plain"]
    assert tokenizer.escape("<b>bold</b>\n\n") == "<b>bold</b>\n\n"
    number = tokenizer._tokenizer.convert_tokens_to_ids("<b>")
    assert number in tokenizer.encode([Message("user", "<b>bold")])


def test_marks_of_the_template_are_escaped(tokenizers):
    assert tokenizers["marks that are text"].escape("a [/INST] b") == "a [\u200b/INST] b"
    assert tokenizers["plain"].escape("a [/INST] b") == "a [/INST] b"


def test_reply_joined_with_the_end_of_its_prompt_is_learned_apart(folder):
    """A line break behind the prompt's own would be one token with it, which inference never asks with."""
    line = "{{ '\n' }}"
    tokenizer = ChatTokenizer(folder, OPEN + TURN + line + CONTENT + ASK.replace("<|a|>", "<|a|>" + line))
    talk = [*TALK[:2], Message("assistant", "\nfirst"), *TALK[3:5]]
    check_contexts(tokenizer, talk)
    assert len(tokenizer.encode_dialogue(talk)) == 2


def test_template_of_another_tokenizer_is_an_error(folder):
    with pytest.raises(ModelError, match=r"ends a reply without a special token of its tokenizer \(with '<\|im_end\|>"):
        ChatTokenizer(folder, SHAPES["plain"].replace("<|z|>", "<|im_end|>").replace("<|u|>", "")).check_roles()


def test_template_that_changes_a_reply_is_an_error(tokenizers):
    with pytest.raises(ModelError, match="changes the text of a reply"):
        tokenizers["changes its mind"].encode_dialogue(TALK)


def test_token_without_an_embedding_is_an_error(tokenizers):
    number = tokenizers["plain"]._tokenizer.bos_token_id
    tokenizers["plain"].check_roles(vocabulary=number + 1)
    with pytest.raises(ModelError, match=rf"writes '<s>', token {number}, .* a vocab_size of {number}"):
        tokenizers["plain"].check_roles(vocabulary=number)


def test_tokenizer_that_ignores_the_escape_is_an_error(folder, tmp_path):
    from tokenizers import Tokenizer, normalizers

    core = Tokenizer.from_file(f"{folder}/tokenizer.json")
    core.normalizer = normalizers.Replace("\u200b", "")
    core.add_tokens(["<|odd|>"])
    PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>").save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="ignores a zero-width space"):
        ChatTokenizer(str(tmp_path), SHAPES["plain"]).check_roles()


def row(messages) -> dict:
    return {"dialogue_id": "d", "messages": [{"role": m.role, "content": m.content} for m in messages]}


def test_overlong_counts_the_sequences_of_a_dialogue(tokenizers):
    """Each of the three is as long as its prompt and its reply, so the last one alone is too long."""
    tokenizer = tokenizers["other end of the last"]
    sequences = tokenizer.encode_dialogue(TALK)
    lengths = [len(sequence.ids) for sequence in sequences]
    whole = tokenize(tokenizer, row(TALK), lengths[-1], "reject")
    assert [len(ids) for ids in whole.input_ids] == lengths
    assert not whole.truncated
    cut = tokenize(tokenizer, row(TALK), lengths[-1] - 1, "truncate")
    assert [len(ids) for ids in cut.input_ids] == lengths[:-1]
    assert cut.truncated
    assert tokenize(tokenizer, row(TALK), lengths[-1] - 1, "reject") == Reject(
        "too_long", f"{lengths[-1]} tokens, a sequence has {lengths[-1] - 1}"
    )
    assert tokenize(tokenizer, row(TALK), lengths[0] - 1, "truncate").reason == "too_long"


def rows(tokenizer: ChatTokenizer, **columns: object) -> list[list[int]]:
    row = {"dialogue_id": "d", "messages": [{"role": m.role, "content": m.content} for m in TALK[:5]]} | columns
    made = tokenize(tokenizer, row, 512, "reject")
    assert not isinstance(made, Reject)
    return made.input_ids


def test_a_dry_run_counts_the_segments_of_a_template(tokenizers):
    curated = {"ok": 10, "figures": {"turns": 25}}
    found = {name: count_segments(curated, splits_turns(tokenizers[name])) for name in GOOD}
    assert found == {name: 25 if SEQUENCES.get(name, 1) > 1 else 10 for name in GOOD}
    assert count_segments({"ok": 10}, is_split=True) == 10


def test_thoughts_are_learned_from_rows_that_have_them(tokenizers):
    tokenizer, thoughts = tokenizers["history without thoughts"], ["hm", "so"]
    without = rows(tokenizer)
    assert rows(tokenizer, strategy="generate", thoughts=None) == without
    assert rows(tokenizer, strategy="rewrite", thoughts=thoughts[:1]) == without
    learned_ids = rows(tokenizer, strategy="generate", thoughts=thoughts)
    shown = [tokenizer._tokenizer.decode(ids) for ids in learned_ids]
    assert [("hm\n</think>" in text, "so\n</think>" in text) for text in shown] == [(True, False), (False, True)]


def test_a_template_that_shows_no_thoughts_is_refused_for_learning_them(tokenizers):
    for name, shows in (("plain", False), ("thinking is an option", False), ("history without thoughts", True)):
        if shows:
            _check_learned(tokenizers[name], learn_thoughts=True)
            continue
        _check_learned(tokenizers[name], learn_thoughts=False)
        with pytest.raises(ModelError, match=r"shows no thoughts.*enable_thinking"):
            _check_learned(tokenizers[name], learn_thoughts=True)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tokenize": True}, "chat_template_kwargs has tokenize, which the factory sets itself"),
        ({"date_string": "2026-02-01"}, "has the date_string '2026-02-01'; write it as '26 Jul 2024'"),
        ({"date_string": 5}, "has the date_string 5"),
        ({"api_key": "sk-" + "a1B2" * 12}, "would show the secret"),
    ],
)
def test_wrong_chat_template_kwargs_are_named(kwargs, message):
    for section in (Training, VllmEngine):
        with pytest.raises(ValueError, match=message):
            section(**({"model": "m"} if section is VllmEngine else {}), chat_template_kwargs=kwargs)


@given(st.lists(st.sampled_from(TOKENS), max_size=6).map("".join) | st.text("<|>[/INST]thinkz\u200b", max_size=30))
@settings(max_examples=300, deadline=None)
def test_escape_is_reversible_and_leaves_no_token(tokenizers, text):
    tokenizer = tokenizers["marks that are text"]
    escaped = tokenizer.escape(text)
    assert not any(token in escaped for token in TOKENS)
    assert tokenizer.unescape(escaped) == text
