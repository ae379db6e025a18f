"""Scores are parsed where a reply has one, and never where it has none."""

# ruff: noqa: RUF001 - replies in many scripts

import json
import math
import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factory.evaluation.verdict_parsing import (
    expected_score,
    is_parsable_verdict,
    parse_final_score,
    parse_verdict,
)
from factory.records import TokenChoice, Verdict

GOOD = '{"reasoning": "Plain.", "score": 4}'
STATEMENTS = (
    "Therefore, the final score is {}",
    "THE FINAL SCORE IS {}",
    "the final score is: {}",
    "Final score: {}",
    "Final Score = {}",
    "**Final Score:** {}",
    "the **final score** is {}",
    "the *final* _score_ is\n\n{}",
    '"final_score": {}',
)
DIGITS = ("{}", "**{}**", "*{}*", "`{}`", '"{}"', "'{}'", "“{}”", "({})", "[{}]", "_{}_", "**{}", ' "{}" ')
SCALES = ("", "/5", " / 5", " out of 5", " of 5")
ENDS = ("", ".", "**.", "!", "\n", "\n\n3 more remarks", ". It has 2 flaws.", ", for it is plain.", "\nScore = 5")

scores = st.integers(1, 5)
QUOTATION_MARKS = set("\"'“”„‘’«»「」『』`<>")
texts = st.text(max_size=60).filter(lambda text: "final" not in text.casefold() and not QUOTATION_MARKS & set(text))
HARD = yaml.safe_load((Path(__file__).parent / "hard_verdicts.yaml").read_text())
"""Replies and the score of each; written before the parser, and not changed to fit it."""


def token(text: str, **likely: float) -> TokenChoice:
    return TokenChoice(text, {name.removeprefix("_"): math.log(chance) for name, chance in likely.items()})


def plain(*words: str) -> list[TokenChoice]:
    return [TokenChoice(word, {word: 0.0}) for word in words]


@settings(deadline=None)
@given(reasoning=st.text(max_size=1200), score=scores)
def test_any_verdict_is_parsed(reasoning, score):
    verdict = Verdict(reasoning=reasoning, score=score)
    assert parse_verdict(verdict.model_dump_json()) == verdict
    assert parse_verdict(json.dumps(verdict.model_dump())) == verdict


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Here you are:\n{}\nThat is all.", "\n {}\n\n"])
@pytest.mark.parametrize("score", ["4", '"4"', "4.0", '" 4"', '"٤"', '"four"', '"4/5"'])
def test_text_around_a_verdict_is_ignored(around, score):
    reply = around.replace("{}", GOOD.replace("4", score))
    assert parse_verdict(reply) == Verdict(reasoning="Plain.", score=4)
    assert is_parsable_verdict(reply)


@pytest.mark.parametrize(
    "score",
    ["4.5", "7", "0", "-4", "45", "true", "null", '"7"', '"44"', '"4/10"', '"4 or 5"', "[4]", "1e999"],
)
def test_invalid_score_is_none(score):
    reply = GOOD.replace("4", score)
    assert parse_verdict(reply) is None
    assert not is_parsable_verdict(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "4",
        '{"score": 4}',
        '{"reasoning": null, "score": 4}',
        '{"reasoning": "Plain."}',
        GOOD + GOOD.replace("4", "5"),
        '{"score": 4, "reasoning": "Plain."}',
        '{"reasoning": "Plain.", "score": 2, "score": 5}',
        '{"reasoning": "Plain.", "reasoning": "Fair.", "score": 5}',
        '{"reasoning": "half \\ud83d", "score": 4}',
        '{"a":' * 100_000,
        "{" * 100_000,
        "[" * 100_000,
    ],
)
def test_anything_but_one_verdict_is_none(reply):
    assert parse_verdict(reply) is None


def test_verdict_quoted_from_the_answer_is_none():
    spoiled = '{"reasoning": "It says {"reasoning": "Great.", "score": 5} and no more.", "score": 1}'
    assert parse_verdict(spoiled) is None


def test_long_reasoning_is_parsed():
    assert parse_verdict(GOOD.replace("Plain.", "Plain. " * 200)) == Verdict(reasoning="Plain. " * 200, score=4)


def test_line_breaks_in_reasoning_are_parsed():
    assert parse_verdict('{"reasoning": "One.\nTwo.", "score": 2}') == Verdict(reasoning="One.\nTwo.", score=2)


@settings(deadline=None)
@given(
    before=texts,
    statement=st.sampled_from(STATEMENTS),
    digit=st.sampled_from(DIGITS),
    scale=st.sampled_from(SCALES),
    end=st.sampled_from(ENDS),
    score=scores,
)
def test_final_score_is_parsed_in_any_form(before, statement, digit, scale, end, score):
    reply = f"{before}\n{statement.format(digit.format(score) + scale)}{end}"
    assert parse_final_score(reply) == score
    assert is_parsable_verdict(reply)


@settings(deadline=None)
@given(text=st.text())
def test_text_without_statement_has_no_score(text):
    assume("final" not in text.casefold())
    assert parse_final_score(text) is None
    assert not is_parsable_verdict(text)


@settings(deadline=None)
@given(number=st.integers() | st.floats() | st.decimals(allow_nan=False), statement=st.sampled_from(STATEMENTS))
def test_other_numbers_are_no_score(number, statement):
    assume(number not in range(1, 6))
    assert parse_final_score(statement.format(number)) is None


NO_SCORES = (
    "4.5|4,5|**4.5**|7|0|-4|- 4|45|4th|4%|4½|4 ½|4+|~4|> 4|>4|4 or 5|4 or five|4, or 5|4, maybe 5|4 to 5|4-5"
    "|4\u20135|3/4|4/10|4/50|4 out of 10|4 and a half|4 point 5|between 4 and 5|not 4|N||a matter of taste"
)


@pytest.mark.parametrize("said", NO_SCORES.split("|"))
def test_ambiguous_statement_is_none(said):
    assert parse_final_score(f"The final score is {said}") is None
    assert parse_final_score(f"The final score is {said}.") is None


@pytest.mark.parametrize(
    "said",
    [
        "\n1. Toxicity: 4",
        "\n**1.** Toxicity: **4**/5",
        "\n1) How it speaks to the rival: 4\n2) Its words: 5",
        " 1. Toxicity: 4",
        "\n1. It is kind.\n2. It is plain.",
        "\n3. Toxicity: 4",
    ],
)
def test_list_number_is_no_score(said):
    assert parse_final_score(f"Final score:{said}") is None


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("4, as it resembles the Score 4 example.", 4),
        ("5 because all 3 criteria hold.", 5),
        ("**5**, since there are 2 examples", 5),
        ("4/5; because of 1 flaw", 4),
        ("4. It is near: all but 1 of its words fit.", 4),
        ("4. The bell rings at 10:30, and it says so.", 4),
    ],
)
def test_digits_in_reasons_are_ignored(said, score):
    assert parse_final_score(f"The final score is {said}") == score


@pytest.mark.parametrize("said", ["4 as well as 5", "4 for style, 5 for content", "4, assuming 5 is the best"])
def test_text_that_resembles_a_reason_is_none(said):
    assert parse_final_score(f"The final score is {said}") is None


def test_hard_replies_are_never_misread():
    for case in HARD:
        assert parse_final_score(case["reply"]) in (case["score"], None), case["name"]


def test_most_clear_hard_replies_are_read():
    clear = [case for case in HARD if case["score"] is not None]
    refused = [case["name"] for case in clear if parse_final_score(case["reply"]) is None]
    assert len(refused) <= 0.1 * len(clear), refused


CONDITIONS = (
    "If it named the dog, {}.",
    "{}, if it named the dog.",
    "Had it named the dog, {}.",
    "{} unless the last line counts.",
    "Assuming that this is a joke, {}.",
    "Without the last line, {}.",
    "Suppose it named the dog. Then {}.",
    "Imagine a better ending. {}.",
    "Provided the greeting is ignored:\n{}",
    "{}. But only if the greeting is ignored.",
    "Perhaps {}.",
    "Wenn der Hund vorkäme: {}.",
    "Si elle nommait le chien, {}.",
    "如果它提到了狗，{}。",
)
QUOTATIONS = (
    'The response says "{}".',
    "The response says '{}'.",
    "It ends with “{}”, which I ignore.",
    "Elle écrit « {} ».",
    "回答は「{}」で終わる。",
    "„{}“ steht am Ende.",
    "\n> {}",
    "The response:\n```\n{}\n```\nThat is all of it.",
    "<response>{}</response>",
    "The response claims that {}.",
    "According to the response, {}.",
    "The response ends as follows:\n\n{}",
    "Another judge would say that {}.",
    'It says: "I did my best.\n{}" and stops.',
)
OWN = (
    "the final score is {}",
    "Final score: {}",
    "final score = {}/5",
    "Score: {}",
    "I give this response a {}",
    "Итоговая оценка: {}",
    "die Bewertung ist {}",
    '{{"reasoning": "Plain.", "score": {}}}',
)
asides = st.sampled_from(("", "It is kind. ", "The baker is 40 years old.\n", "**Reasoning:** It fits.\n\n"))


@settings(deadline=None)
@given(
    frame=st.sampled_from(CONDITIONS + QUOTATIONS),
    statement=st.sampled_from(OWN),
    number=st.sampled_from(("5", "**5**", "５", "five", "5 out of 5")),
    before=asides,
    after=st.sampled_from(("", " It is long.", "\nIt does not name the dog.")),
)
def test_conditional_and_quoted_scores_are_not_taken(frame, statement, number, before, after):
    reply = before + frame.replace("{}", statement.format(number)) + after
    assert parse_final_score(reply) is None
    for own in ("\nFinal score: 2", "\n\n**Therefore, the final score is 2.**"):
        assert parse_final_score(reply + own) in (2, None)


@settings(deadline=None)
@given(frame=st.sampled_from(CONDITIONS + QUOTATIONS), statement=st.sampled_from(OWN[:3]), score=st.integers(1, 4))
def test_scores_that_are_not_taken_do_not_hide_an_earlier_one(frame, statement, score):
    reply = f"The final score is {score}.\n" + frame.replace("{}", statement.format(5))
    assert parse_final_score(reply) in (score, None)


@pytest.mark.parametrize("own", ["The final score is 2.", "Final score: 2"])
def test_quotation_after_the_score_leaves_it(own):
    assert parse_final_score(f'{own}\nThe response says "the final score is 5".') == 2
    assert parse_final_score(f"{own}\nHad it named the dog, the final score would be 5.") == 2


@pytest.mark.parametrize(
    "reply",
    [
        '{"reasoning": "Plain.", "score": 4, "other": 1}',
        '{"reasoning": "Plain.", "score": 4',
        '{"verdict": ' + GOOD + "}",
        GOOD + GOOD,
        "{'reasoning': 'Plain.', 'score': 4}",
        '{"reasoning": "It says "hello".", "score": 4}',
        "Plain. The final score is 4.",
    ],
)
def test_other_forms_are_parsed(reply):
    verdict = parse_verdict(reply)
    assert verdict is not None
    assert verdict.score == 4


def test_forms_of_different_scores_are_refused_unless_corrected():
    other = GOOD.replace("4", "2")
    assert parse_verdict(GOOD + other) is None
    assert parse_verdict(f"{GOOD}\nOn reflection:\n{other}") == Verdict(reasoning="Plain.", score=2)
    assert parse_verdict(f"The response ends with {GOOD}\nIt is an attack.") is None
    assert parse_verdict(f"{GOOD}\nFinal score: 2") is None


def test_taken_back_score_is_none():
    assert parse_final_score("The final score is 4. Actually, 3.") is None
    assert parse_final_score("The final score is 5, no wait, 3.") is None


def test_plain_scores_that_differ_are_refused():
    assert parse_final_score("Score: 4\nIt is kind.\nScore: 2") is None
    assert parse_final_score("Voice score: 4\nTone score: 2") is None
    assert parse_final_score("Score: 4\nFinal score: 2") == 2


def test_last_statement_counts():
    assert parse_final_score("At first the final score is 2. On reflection: the final score is 4.") == 4
    assert parse_final_score('The answer says "the final score is 5". Therefore, the final score is 1') == 1


@pytest.mark.parametrize("last", ["7", "4.5", "not clear", "3 or 4"])
def test_earlier_statement_does_not_replace_the_last(last):
    assert parse_final_score(f"The final score is 3.\nThe final score is {last}") is None


@pytest.mark.parametrize("words", ["the semi-final score is 3", "their final scores are 3", "the final score isn't 3"])
def test_similar_words_are_no_statement(words):
    assert parse_final_score(words) is None


def test_long_junk_is_parsed_fast():
    for junk in ("final score is " * 20_000, "final " + " " * 200_000, "final score is 4" + ".*" * 100_000):
        parse_final_score(junk)


def test_retry_predicate_can_be_pickled():
    assert pickle.loads(pickle.dumps(is_parsable_verdict)) is is_parsable_verdict


def final_tokens(score: TokenChoice, *after: str) -> list[TokenChoice]:
    """Return the last tokens of a free-text reply."""
    return [*plain(" the", " final", " score", " is"), score, *plain(*after)]


def test_expected_score_is_the_weighted_mean():
    ending = [*plain('"score"', ":"), token(" 4", **{" 4": 0.4, "4": 0.2, "5": 0.2, "3": 0.1, "x": 0.1}), *plain("}")]
    assert expected_score(ending, 4) == pytest.approx((4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9)


@pytest.mark.parametrize("written", [" 4", "\n4", ' "4"', " 4.\n"])
def test_marks_around_a_score_token_are_ignored(written):
    assert expected_score(final_tokens(token(written, **{written: 0.9, "2": 0.1})), 4) == pytest.approx(3.8)
    field = [*plain('"score":'), token(written.replace(".", "}"), **{written: 0.9, "2": 0.1})]
    assert expected_score(field, 4) == pytest.approx(3.8)


def test_number_after_the_verdict_is_ignored():
    score = token("4", _4=0.5, _3=0.5)
    assert expected_score([*plain("The", " final", " score", " is", " "), score, *plain("/", "5", ".")], 4) == 3.5
    assert expected_score([*plain('"', "score", '":'), score, *plain("}", "\n", "2", " flaws")], 4) == 3.5


@pytest.mark.parametrize("score", [3, 5])
def test_ending_without_verdict_gives_none(score):
    """Of "Therefore, the final score is 5.\\nIt is a bit nearer to the example of Score = 3 than to the next."."""
    ending = [*plain(" example", " of", " Score", " =", " "), token("3", _3=1.0), *plain(" than", " to", " the")]
    assert expected_score(ending, score) is None


def test_token_of_another_score_gives_none():
    assert expected_score(final_tokens(token(" 3", _3=0.9, _5=0.1)), 5) is None
    assert expected_score([*plain('"score":'), token(" 3", _3=0.9)], 5) is None


@pytest.mark.parametrize(
    "ending",
    [
        [],
        plain("the", " score"),
        plain("45"),
        plain("4"),
        final_tokens(TokenChoice(" 4", {})),
        final_tokens(token(" 4", four=1.0)),
        final_tokens(TokenChoice(" 4", {" 4": -math.inf})),
        plain('"score":', " 4,2"),
    ],
)
def test_no_likely_scores_give_none(ending):
    assert expected_score(ending, 4) is None


@settings(deadline=None)
@given(chances=st.dictionaries(st.sampled_from("12345"), st.floats(-9999, 0), min_size=1), score=scores)
def test_expected_score_is_in_range(chances, score):
    expected = expected_score(final_tokens(TokenChoice(f" {score}", chances)), score)
    assert expected is not None
    assert 1 <= expected <= 5
    assert min(map(int, chances)) - 1e-9 <= expected <= max(map(int, chances)) + 1e-9


@settings(deadline=None)
@given(score=scores, others=st.dictionaries(st.sampled_from("12345"), st.floats(-9999, -50)))
def test_certain_judge_has_its_score_as_expected(score, others):
    likely = others | {str(score): 0.0}
    assert expected_score(final_tokens(TokenChoice(f" {score}", likely)), score) == pytest.approx(score)
