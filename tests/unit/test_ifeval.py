"""VerifiableInstruction instructions and held-out plain ones: the data, and each kind of check."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from factory.evaluation.general_ability.ifeval import (
    Check,
    VerifiableInstruction,
    failed_checks,
    followed,
    read_verifiable,
)
from factory.resources import RESOURCES

VERIFIABLE = read_verifiable()[:48]
"""Those that were written by hand; `test_verifiable_templates` tests the others."""
DATA = RESOURCES / "data"
FILLER = "moon "
"""Contains nothing that an instruction forbids."""


def instruction_with(**check: object) -> VerifiableInstruction:
    return VerifiableInstruction(id="x", instruction="Do it.", checks=(TypeAdapter(Check).validate_python(check),))


def rows(name: str) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in (DATA / name).read_text("utf-8").splitlines()]


def ngrams(text: str, words: int = 6) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+", text.casefold())
    return {tuple(found[at : at + words]) for at in range(max(1, len(found) - words + 1))}


def satisfying(instruction: VerifiableInstruction) -> str:
    """Return a reply that passes all checks; kinds that give a reply its form come first in `SHAPES`."""
    checks = {check.kind: check for check in instruction.checks}
    words = FILLER + " ".join(checks["keyword"].words) if "keyword" in checks else FILLER.strip()
    reply = next((shape(checks[kind], words) for kind, shape in SHAPES.items() if kind in checks), words)
    if "starts_with" in checks:
        reply = f"{checks['starts_with'].text} {reply}"
    if "ends_with" in checks:
        # With a number of sentences the last is the ending.
        reply = reply.rpartition(". ")[0] + ". " if "sentences" in checks else reply
        reply += f" {checks['ends_with'].text}"
    return reply.upper() if "uppercase" in checks else reply


SHAPES = {
    "json": lambda check, _: json.dumps(dict.fromkeys(check.keys, 1)),
    "one_of": lambda check, _: check.options[-1],
    "bullets": lambda check, words: "\n".join(f"- {words}" for _ in range(check.count)),
    "numbered": lambda check, words: "\n".join(f"{n}. {words}" for n in range(1, check.count + 1)),
    "paragraphs": lambda check, words: "\n\n".join([words] * check.count),
    "sentences": lambda check, words: " ".join([f"{words}."] * check.count),
    "min_words": lambda check, words: FILLER * check.count + words,
}

LIST = "Here they are:\n- one\n* two\n• three"
CASES = [
    ({"kind": "max_words", "count": 3}, ["one two three", " - one two \n"], ["one two three four"]),
    ({"kind": "min_words", "count": 3}, ["one two three", "1 2 3 4"], ["one two", "one - two"]),
    ({"kind": "bullets", "count": 3}, [LIST, "- a\n- b\n\n•c"], [LIST + "\n- four", "one, two, three", "**a**\n---"]),
    (
        {"kind": "sentences", "count": 2},
        [
            "Hello. It is 3.5 m long",
            "Is it? Yes!",
            'Dr. Who said "Go!" and left. I stayed...',
            "今日は。雨です。",
            "Well... perhaps. At 9 a.m. we left, e.g. Ann.",
            "He paid.\n\nShe left",
            "Mr. Mr. Mr. and Mrs. Lee came here a long time ago. They left.",
            "1. Two.\n2. Three.",
        ],
        ["One", "One. Two. Three.", "At 9 a.m. We left. Fine.", "1. Is it? 2. Yes! 3. No."],
    ),
    (
        {"kind": "json", "keys": ["a", "b"]},
        ['{"a": 1, "b": [2]}', '```json\n{"b": 1,\n "a": 2}\n```', '```\n{"b": 1, "a": 2}\n```\n'],
        [
            '{"a": 1}',
            '{"a": 1, "b": 2, "c": 3}',
            "[1]",
            '```json\n{"a": 1, "b": 2}```',
            '```yaml\n{"a": 1, "b": 2}\n```',
            'Sure: {"a": 1, "b": 2}',
            '{"a": 1, "b": 2',
            "[" * 99_999,
        ],
    ),
    (
        {"kind": "keyword", "words": ["river", "9:30"]},
        ["The River at 9:30.", "river's end, 9:30"],
        ["river", "rivers, 9:30", "river at 19:30"],
    ),
    ({"kind": "without", "texts": ["and"]}, ["a sandy band"], ["sun AND sand"]),
    ({"kind": "without", "texts": ["e", "!"]}, ["A bad dog."], ["Every dog.", "A dog!"]),
    (
        {"kind": "starts_with", "text": "Once upon"},
        ["once upon a time", '**"Once upon** a hill"'],
        ["There was once upon"],
    ),
    ({"kind": "ends_with", "text": "The end."}, ["It was. The end.", '"So: the end."\n'], ["The end. Or not"]),
    ({"kind": "ends_with", "text": "?"}, ["Who am I?", "*Who am I?*"], ["Who? Me."]),
    ({"kind": "uppercase"}, ["WET FLOOR!", "2 ÖLE"], ["WET floor", "123"]),
    ({"kind": "lowercase"}, ["wet floor!", "2 öle"], ["Wet floor", "123"]),
    (
        {"kind": "numbered", "count": 2},
        ["1. a\n2. b", "Steps:\n\n1) a\n   more\n2) b", "**1.** a\n**2.** b"],
        ["1. a", "1. a\n2. b\n3. c", "2. a\n1. b", "- a\n- b", f"1. a\n{'2' * 5000}. b"],
    ),
    ({"kind": "paragraphs", "count": 2}, ["a\nb\n\nc", "a\n \n\n\nb"], ["a\nb", "a\n\nb\n\nc"]),
    ({"kind": "one_of", "options": ["yes", "no"]}, ["no", "Yes.", " **No** ", '"yes".'], ["maybe", "Yes, it is.", "n"]),
]


@pytest.mark.parametrize(("check", "passing", "failing"), CASES)
def test_check_accepts_and_rejects_replies(check, passing, failing):
    instruction = instruction_with(**check)
    assert [reply for reply in passing if not followed(instruction, reply)] == []
    assert [reply for reply in failing if failed_checks(instruction, reply) != [check["kind"]]] == []


def test_each_kind_has_a_case_and_three_instructions():
    used = Counter(check.kind for one in VERIFIABLE for check in one.checks)
    assert set(used) == {check["kind"] for check, _, _ in CASES}
    assert len(used) == 14
    assert min(used.values()) >= 3


def test_failed_checks_are_in_order():
    checks = [{"kind": "lowercase"}, {"kind": "max_words", "count": 1}, {"kind": "keyword", "words": ["tea"]}]
    instruction = VerifiableInstruction.model_validate({"id": "x", "instruction": "Do.", "checks": checks})
    assert failed_checks(instruction, "Hot tea") == ["lowercase", "max_words"]
    assert followed(instruction, "tea")


@pytest.mark.parametrize(
    "wrong", [{"kind": "bullet", "count": 3}, {"kind": "bullets"}, {"kind": "uppercase", "count": 3}, {"count": 3}]
)
def test_invalid_check_is_refused(wrong):
    with pytest.raises(ValidationError):
        instruction_with(**wrong)


@given(reply=st.text(alphabet=st.sampled_from("aB1 .!?…\n-*•`{}\"'"), max_size=60))
def test_any_reply_can_be_checked(reply):
    assert all(set(failed_checks(one, reply)) <= {check.kind for check in one.checks} for one in VERIFIABLE)


@pytest.mark.parametrize("sign", ["!", ".", "*", "- ", "1. ", "\n\n", "{", "`", "a"])
def test_looping_reply_is_checked_fast(sign):
    assert isinstance([failed_checks(one, f"a {sign * 10_000}a") for one in VERIFIABLE], list)


@pytest.mark.parametrize("instruction", VERIFIABLE, ids=lambda one: one.id)
def test_each_instruction_can_be_followed(instruction):
    assert failed_checks(instruction, satisfying(instruction)) == []
    assert failed_checks(instruction, " \n") == [check.kind for check in instruction.checks]


def test_instructions_are_distinct():
    assert len(VERIFIABLE) == len({one.id for one in VERIFIABLE}) == len({one.instruction for one in VERIFIABLE}) == 48
    assert sum(len(one.checks) == 2 for one in VERIFIABLE) >= 8


def test_plain_replies_have_30_to_150_words():
    plain = rows("general/plain.jsonl")
    assert len(plain) == len({user["content"] for user, _ in plain}) == 40
    for user, assistant in plain:
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert 30 <= len(assistant["content"].split()) <= 150


def test_held_out_data_is_not_in_sample_data():
    seen = {
        ngram
        for name in ("instructions", "conversations")
        for row in rows(f"{name}.jsonl")
        for m in row
        for ngram in ngrams(m["content"])
    }
    held_out = [m["content"] for row in rows("general/plain.jsonl") for m in row]
    held_out += [one.instruction for one in VERIFIABLE]
    assert [text for text in held_out if ngrams(text) & seen] == []
