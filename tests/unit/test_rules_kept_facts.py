"""Rules that compare rewrites with their references: on 40 rewrites in twelve languages, and on spoiled ones."""
# ruff: noqa: RUF001 - texts in many scripts

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import Quality
from factory.config.loading import load_config
from factory.curation.rules.context import DialogueContext
from factory.records import Message
from factory.resources import RESOURCES
from factory.text.content import code_blocks, names, without_code
from factory.text.quantities import count_digits, numbers, spelled_numbers

FOLDER = Path(__file__).parents[1] / "replies"
REWRITES = [json.loads(line) for line in (FOLDER / "rewrites.jsonl").read_text().splitlines()]
"""Twenty references in the style of LIMA and twenty in that of Alpaca, each as a character says it; written before the
rules were tried on them."""
RULES = {name: rule for name, rule in Quality().rules.items() if name.startswith("lost_")}
GENERIC = json.loads((FOLDER / "generic.json").read_text())
"""A reply in each language of LIMA's style that says nothing."""


def broken(reply: str, reference: str, user: str = "How?") -> dict[str, str]:
    messages = (Message("user", user), Message("assistant", reply))
    dialogue = DialogueContext(messages, "a baker", "Name: Ada", (reference,))
    return {name: found for name, rule in RULES.items() if (found := rule.find(dialogue))}


def test_faithful_rewrites_are_accepted():
    assert len(REWRITES) == 40
    flagged = {
        row["user"]: found for row in REWRITES if (found := broken(row["rewrite"], row["reference"], row["user"]))
    }
    assert len(flagged) <= 1, flagged


def test_references_themselves_are_accepted():
    assert not [row["user"] for row in REWRITES if broken(row["reference"], row["reference"], row["user"])]


def first_quarter(row: dict[str, str]) -> str | None:
    text = row["rewrite"]
    return text[: len(text) // 4] if row["style"] == "lima" else None


def other_numbers(row: dict[str, str]) -> str | None:
    given = {number for number in numbers(without_code(row["reference"])) if count_digits(number) > 1}
    changed = re.sub(r"(?<![\w.])\d{2,}", lambda match: str(int(match[0]) + 7), row["reference"])
    return changed if len(given) > 1 else None


def without_names(row: dict[str, str]) -> str | None:
    found = names(row["reference"])
    text = re.sub("|".join(map(re.escape, found)) or r"\Z.", "somebody", row["reference"])
    return text if len(found) > 2 else None


DEFECTS: dict[str, tuple[int, float, Callable[[dict[str, str]], str | None]]] = {
    "three quarters dropped": (20, 0.9, first_quarter),
    "numbers changed": (15, 0.8, other_numbers),
    "code dropped": (3, 1.0, lambda row: without_code(row["rewrite"]) if code_blocks(row["reference"]) else None),
    "names dropped": (5, 0.9, without_names),
    "a generic reply": (20, 0.95, lambda row: GENERIC[row["language"]] if row["style"] == "lima" else None),
}
"""How many rewrites a defect can be put into at least, how many of them must be caught, and how."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_spoiled_rewrites_are_caught(defect):
    least, share, spoil = DEFECTS[defect]
    spoiled = [(row, text) for row in REWRITES if (text := spoil(row))]
    missed = [row["user"] for row, text in spoiled if not broken(text, row["reference"], row["user"])]
    assert len(spoiled) >= least
    assert len(missed) <= (1 - share) * len(spoiled) + 1e-9, missed


EARLIER_RULES = [
    "leaked_thoughts", "too_short", "unfinished_sentence", "repetition", "breaks_character", "leaked_prompt",
    "speaks_for_user", "copied_reference", "wrong_language",
]  # fmt: skip
PAPER_CONFIGS = ["opencharacter", *(f"ablation-{number}" for number in range(1, 6))]


@pytest.mark.parametrize("name", PAPER_CONFIGS)
def test_the_papers_configs_apply_none_of_the_new_rules(name):
    config = load_config(RESOURCES / "jobs" / "configs" / f"{name}.yaml")
    assert list(config.curation.quality.rules) == EARLIER_RULES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("In 1961 it rose 1,300 meters, or 1 300, or 1.300, or 1'300.", {"1961", "1300"}),
        ("2.50 euros, 2,5 euros; 12,34,567 rupees", {"2.5", "1234567"}),
        ("١٩٦١ و١٬٣٠٠ و٢٫٥", {"1961", "1300", "2.5"}),
        ("१९६१ में, ๒๕๖๗ และ １２ 個", {"1961", "2567", "12"}),
        ("1. Mix it.\n12) Bake it.\nStep 14: wait for 30 minutes.", {"30"}),
        ("no numbers", set()),
    ],
)
def test_numbers_are_read_in_all_digits_and_separators(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Twenty-five of them", "25"), ("ninety five percent", "95"), ("two hundred and forty", "240"),
        ("three thousand two hundred souls", "3200"), ("nineteen forty-five", "1945"), ("twenty oh-so-long", "20"),
        ("a dozen eggs", "12"), ("five million people", "5000000"), ("eighteen thirties", "18"),
        ("八十五度", "85"), ("一百二十個", "120"), ("一九四五年", "1945"), ("三万五千人", "35000"), ("二十", "20"),
    ],
)  # fmt: skip
def test_numbers_are_read_in_words(text, expected):
    assert expected in spelled_numbers(text)


def test_names_are_capitals_within_sentences():
    assert names("We met Anders Franzén in Stockholm, and the ship Vasa. Later we saw it.") == {
        "Anders Franzén", "Stockholm", "Vasa",
    }  # fmt: skip
    assert not names("Bread is good. Bread again, and then Bread: but bread all the same.")
    assert not names("Der Bäcker nimmt das Mehl, das Salz und die Hefe aus dem Schrank."), "every noun has a capital"
    assert not names("빵은 밀가루와 물과 소금으로 만듭니다.")


BY_USER = {row["user"]: row for row in REWRITES}
KOREAN, BASIL = BY_USER["서울에서 부산까지 가는 가장 좋은 방법은 무엇인가요?"], REWRITES[2]


def test_a_reply_in_another_language_is_not_compared_by_words():
    assert not broken("빵은 밀가루와 물로 만들지. 우리 할머니는 언제나 그렇게 하셨어.", BASIL["reference"])
    assert "lost_substance" in broken(GENERIC["English"], BASIL["reference"])
    assert "lost_numbers" in broken(GENERIC["English"], KOREAN["reference"]), "digits are the same everywhere"


def test_each_reply_is_compared_with_its_own_reference():
    texts = [row["rewrite"] for row in REWRITES[:3]]
    references = [row["reference"] for row in REWRITES[:3]]
    for spoiled in range(3):
        replies = [GENERIC["English"] if number == spoiled else text for number, text in enumerate(texts)]
        turns = [Message(*each) for reply in replies for each in (("user", "And?"), ("assistant", reply))]
        found = {
            name: rule.find(DialogueContext(tuple(turns), "a baker", "Name: Ada", tuple(references)))
            for name, rule in RULES.items()
        }
        assert found["lost_substance"], spoiled
        assert bool(found["lost_code"]) == (spoiled == 0)


def test_a_short_command_may_be_within_a_sentence():
    reference = "Run this:\n```\ngit reset --hard HEAD\n```\nThen look at the log."
    assert not broken("Just say `git reset --hard HEAD`, lad, then look at the log.", reference)
    assert {"lost_code"} == broken("Just reset it the hard way with git to its HEAD, lad.", reference).keys()


def test_a_single_long_number_must_not_be_replaced():
    reference = "Frankenstein was first published in 1818, and it was written by Mary Shelley."
    assert {"lost_numbers"} == broken("Oh, Mary Shelley wrote it, back in 1831.", reference).keys()
    assert not broken("Oh, Mary Shelley wrote it, and I have 300 copies in my shop.", reference)
    assert not broken("Oh, Mary Shelley wrote it, when my grandmother's grandmother was young.", reference)


def test_generated_replies_have_no_reference_to_lose():
    for rule in RULES.values():
        assert rule.find(DialogueContext((Message("user", "How?"), Message("assistant", "So.")), "a", "b")) is None
