"""IFEval's published file: each of its rules, and lines that are wrong."""

import json

import pytest

from factory.errors import InputError
from factory.evaluation.general_ability.ifeval import failed_checks
from factory.evaluation.general_ability.ifeval_file import read_ifeval
from factory.evaluation.general_ability.ifeval_rules import RULES

TALE = "The miller wakes before the sun and walks down to the river with his dog."
CASES = [
    ("keywords:existence", {"keywords": ["mill", "River"]}, [TALE], ["The mill."]),
    ("keywords:frequency", {"keyword": "so", "frequency": 2, "relation": "at least"}, ["So, so."], ["So."]),
    ("keywords:frequency", {"keyword": "c++", "frequency": 2, "relation": "less than"}, ["C++"], ["C++ c++"]),
    ("keywords:forbidden_words", {"forbidden_words": ["and", "or"]}, ["Sandy oars"], ["Salt And oil"]),
    (
        "keywords:letter_frequency",
        {"letter": "t", "let_frequency": 2, "let_relation": "at least"},
        ["Toast"],
        ["Tea"],
    ),
    ("language:response_language", {"language": "de"}, ["Der Müller geht heute zum Fluss."], [TALE]),
    ("language:response_language", {"language": "kn"}, ["ಬೇಕರ್ ಬೇಗ ಏಳುತ್ತಾನೆ"], [TALE]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, ["One. Two."], ["One."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "***a***b"], ["a", "a ****** b"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["One two"], ["One two-three"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        ["One.\n\nThen, two.", 'One.\n\n"Then" two.'],
        ["Then.\n\nTwo.", "One.\n\nThen.\n\nThree.", "Then"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] and [b]"], ["[a] and b"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Yes.\nP.S. No.", "p. s. no"], ["PS: no"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["Yes. P.P.S. No."], ["P.S. No."]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n  - b"], ["* a", "**a**"]),
    ("detectable_format:constrained_response", {}, ["My answer is maybe."], ["Maybe."]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* and *b*", "**a** *b*"], ["**a**"]),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        ["Part 1\na\nPart 2\nb"],
        ["Part 1\na\nPart two\nb"],
    ),
    ("detectable_format:json_format", {}, ['{"a": 1}', '```json\n[1]\n```'], ["a", '{"a": 1'], ),
    ("detectable_format:title", {}, ["<<A tale>>\nOnce"], ["<< >>", "A tale"]),
    ("combination:two_responses", {}, ["a\n******\nb"], ["a\n******\na", "a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Who is it?"}, ["who is it? Me."], ["It is me."]),
    ("startend:end_checker", {"end_phrase": "So be it."}, ['"It is. So be it."'], ["So be it. Or not."]),
    ("startend:quotation", {}, ['"Aye."'], ['"Aye." he said', '"']),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["STOP, it SAID"],
        ["STOP it"],
    ),
    ("change_case:english_capital", {}, [TALE.upper()], [TALE, "DER MÜLLER GEHT HEUTE ZUM FLUSS UND SINGT."]),
    ("change_case:english_lowercase", {}, [TALE.lower()], [TALE]),
    ("punctuation:no_comma", {}, ["One two."], ["One, two."]),
]  # fmt: skip


def line(*rules: str, **changes: object) -> dict:
    return {"key": 7, "prompt": "Do it.", "instruction_id_list": list(rules), "kwargs": [{}] * len(rules), **changes}


def read(tmp_path, *rows: dict):
    file = tmp_path / "input_data.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return read_ifeval(str(file))


@pytest.mark.parametrize(("rule", "arguments", "good", "bad"), CASES)
def test_each_rule(tmp_path, rule, arguments, good, bad):
    (instruction,) = read(tmp_path, line(rule, kwargs=[{**arguments, "unused": None}]))
    for reply in good:
        assert failed_checks(instruction, reply) == [], reply
    for reply in [*bad, ""]:
        assert failed_checks(instruction, reply) == ["ifeval"], reply


def test_all_rules_have_a_case():
    assert {case[0] for case in CASES} == set(RULES)
    assert len(RULES) == 25


def test_all_rules_of_an_instruction_must_hold(tmp_path):
    (instruction,) = read(tmp_path, line("punctuation:no_comma", "startend:quotation", kwargs=[None, {}]))
    assert failed_checks(instruction, '"Aye."') == []
    assert failed_checks(instruction, '"Aye, aye."') == failed_checks(instruction, "Aye.") == ["ifeval"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (line("punctuation:no_dash"), "line 2: names the unknown rule 'punctuation:no_dash'"),
        (line("startend:end_checker"), "line 2: has arguments that startend:end_checker does not take"),
        (
            line("keywords:frequency", kwargs=[{"keyword": "a", "frequency": 1, "relation": "about"}]),
            "line 2: has arguments that keywords:frequency does not take (has the relation 'about'",
        ),
        (line("punctuation:no_comma", kwargs=[]), "line 2: has 1 rules and 0 kwargs"),
        (line("punctuation:no_comma", prompt=""), "line 2: prompt: String should have at least 1 character"),
        (["no object"], "line 2: the line: Input should be an object"),
    ],
)
def test_wrong_lines_are_told_with_their_number(tmp_path, row, told):
    with pytest.raises(InputError) as problem:
        read(tmp_path, line("punctuation:no_comma"), row)
    assert told in str(problem.value)


def test_a_missing_file_is_told():
    with pytest.raises(InputError, match=r"evaluation.ifeval none.jsonl: no such file"):
        read_ifeval("none.jsonl")
