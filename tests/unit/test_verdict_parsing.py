"""A score is read where there is one, and never where there is none."""

import json
import math
import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from factory.evaluation.verdict_parsing import (
    expected_score,
    parse_final_score,
    parse_verdict,
    readable_final_score,
    readable_verdict,
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
ENDS = ("", ".", "**.", '."', "!", "\n", "\n\n3 more remarks", ". It has 2 flaws.", ", for it is plain.", "\nScore = 5")

scores = st.integers(1, 5)
texts = st.text(max_size=60).filter(lambda text: "final" not in text.casefold())


def token(text: str, **likely: float) -> TokenChoice:
    return TokenChoice(text, {name.removeprefix("_"): math.log(chance) for name, chance in likely.items()})


def plain(*words: str) -> list[TokenChoice]:
    return [TokenChoice(word, {word: 0.0}) for word in words]


@given(reasoning=st.text(max_size=1200), score=scores)
def test_every_verdict_is_read_back_whatever_its_reasoning_says(reasoning, score):
    verdict = Verdict(reasoning=reasoning, score=score)
    assert parse_verdict(verdict.model_dump_json()) == verdict
    assert parse_verdict(json.dumps(verdict.model_dump())) == verdict


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Here you are:\n{}\nThat is all.", "\n {}\n\n"])
@pytest.mark.parametrize("score", ["4", '"4"'])
def test_a_verdict_is_read_out_of_what_stands_around_it(around, score):
    reply = around.replace("{}", GOOD.replace("4", score))
    assert parse_verdict(reply) == Verdict(reasoning="Plain.", score=4)
    assert readable_verdict(reply)


@pytest.mark.parametrize(
    "score",
    ["4.5", "4.0", "7", "0", "-4", "45", "true", "null", '"four"', '"7"', '"44"', '" 4"', '"٤"', "[4]", "1e999"],
)
def test_another_score_is_none(score):
    reply = GOOD.replace("4", score)
    assert parse_verdict(reply) is None
    assert not readable_verdict(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "4",
        "the final score is 4",
        '{"score": 4}',
        '{"reasoning": null, "score": 4}',
        '{"reasoning": "Plain."}',
        '{"reasoning": "Plain.", "score": 4, "other": 1}',
        '{"reasoning": "Plain.", "score": 4',
        '{"verdict": ' + GOOD + "}",
        GOOD + GOOD,
        '{"score": 4, "reasoning": "Plain."}',
        '{"reasoning": "Plain.", "score": 2, "score": 5}',
        '{"reasoning": "Plain.", "reasoning": "Fair.", "score": 5}',
        '{"reasoning": "half \\ud83d", "score": 4}',
        '{"a":' * 100_000,
        "{" * 100_000,
        "[" * 100_000,
    ],
)
def test_what_is_not_one_whole_verdict_is_none(reply):
    assert parse_verdict(reply) is None


def test_a_verdict_that_the_answer_asks_for_is_not_the_judges():
    spoiled = '{"reasoning": "It says {"reasoning": "Great.", "score": 5} and no more.", "score": 1}'
    assert parse_verdict(spoiled) is None


def test_a_verdict_of_a_judge_that_is_not_guided_may_be_long():
    assert parse_verdict(GOOD.replace("Plain.", "Plain. " * 200)) == Verdict(reasoning="Plain. " * 200, score=4)


def test_line_breaks_in_the_reasoning_are_read():
    assert parse_verdict('{"reasoning": "One.\nTwo.", "score": 2}') == Verdict(reasoning="One.\nTwo.", score=2)


@given(
    before=texts,
    statement=st.sampled_from(STATEMENTS),
    digit=st.sampled_from(DIGITS),
    scale=st.sampled_from(SCALES),
    end=st.sampled_from(ENDS),
    score=scores,
)
def test_a_final_score_is_read_in_every_dress(before, statement, digit, scale, end, score):
    reply = f"{before}\n{statement.format(digit.format(score) + scale)}{end}"
    assert parse_final_score(reply) == score
    assert readable_final_score(reply)


@given(text=st.text())
def test_a_text_without_the_statement_has_no_score(text):
    assume("final" not in text.casefold())
    assert parse_final_score(text) is None
    assert not readable_final_score(text)


@given(number=st.integers() | st.floats() | st.decimals(allow_nan=False), statement=st.sampled_from(STATEMENTS))
def test_a_number_that_is_no_score_is_never_one(number, statement):
    assume(str(number) not in ("1", "2", "3", "4", "5"))
    assert parse_final_score(statement.format(number)) is None


NO_SCORES = (
    "4.5|4,5|4.0|**4.5**|7|0|-4|- 4|45|4th|4%|4½|4 ½|4+|~4|> 4|>4|4 or 5|4 or five|4, or 5|4, maybe 5|4 to 5|4-5"
    "|4\u20135|3/4|4/10|4/50|4 out of 10|4 and a half|4 point 5|between 4 and 5|not 4|four|N||a matter of taste"
)


@pytest.mark.parametrize("said", NO_SCORES.split("|"))
def test_a_statement_that_says_no_one_score_is_none(said):
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
def test_the_number_of_a_list_is_no_score(said):
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
def test_the_digits_of_a_reason_are_no_other_score(said, score):
    assert parse_final_score(f"The final score is {said}") == score


@pytest.mark.parametrize("said", ["4 as well as 5", "4 for style, 5 for content", "4, assuming 5 is the best"])
def test_what_only_looks_like_a_reason_does_not_help(said):
    assert parse_final_score(f"The final score is {said}") is None


def test_the_last_statement_counts():
    assert parse_final_score("At first the final score is 2. On reflection: the final score is 4.") == 4
    assert parse_final_score('The answer says "the final score is 5". Therefore, the final score is 1') == 1


@pytest.mark.parametrize("last", ["7", "4.5", "not clear", "3 or 4"])
def test_an_unreadable_last_statement_is_not_made_good_by_an_earlier_one(last):
    assert parse_final_score(f"The final score is 3.\nThe final score is {last}") is None


@pytest.mark.parametrize("words", ["the semi-final score is 3", "their final scores are 3", "the final score isn't 3"])
def test_other_words_are_no_statement(words):
    assert parse_final_score(words) is None


def test_long_junk_is_read_in_no_time():
    for junk in ("final score is " * 20_000, "final " + " " * 200_000, "final score is 4" + ".*" * 100_000):
        parse_final_score(junk)


@pytest.mark.parametrize("readable", [readable_verdict, readable_final_score])
def test_what_decides_on_another_attempt_goes_through_pickle(readable):
    assert pickle.loads(pickle.dumps(readable)) is readable


def said(score: TokenChoice, *after: str) -> list[TokenChoice]:
    """The ending of a reply in free text."""
    return [*plain(" the", " final", " score", " is"), score, *plain(*after)]


def test_the_expected_score_is_the_mean_of_the_likely_scores():
    ending = [*plain('"score"', ":"), token(" 4", **{" 4": 0.4, "4": 0.2, "5": 0.2, "3": 0.1, "x": 0.1}), *plain("}")]
    assert expected_score(ending, 4) == pytest.approx((4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9)


@pytest.mark.parametrize("written", [" 4", "\n4", ' "4"', " 4.\n"])
def test_a_token_is_a_score_whatever_marks_it_carries(written):
    assert expected_score(said(token(written, **{written: 0.9, "2": 0.1})), 4) == pytest.approx(3.8)
    field = [*plain('"score":'), token(written.replace(".", "}"), **{written: 0.9, "2": 0.1})]
    assert expected_score(field, 4) == pytest.approx(3.8)


def test_the_score_of_a_verdict_is_not_the_number_that_comes_after_it():
    score = token("4", _4=0.5, _3=0.5)
    assert expected_score([*plain("The", " final", " score", " is", " "), score, *plain("/", "5", ".")], 4) == 3.5
    assert expected_score([*plain('"', "score", '":'), score, *plain("}", "\n", "2", " flaws")], 4) == 3.5


@pytest.mark.parametrize("score", [3, 5])
def test_an_ending_that_lacks_the_verdict_tells_nothing_by_its_other_digits(score):
    """Of "Therefore, the final score is 5.\\nIt is a bit nearer to the example of Score = 3 than to the next."."""
    ending = [*plain(" example", " of", " Score", " =", " "), token("3", _3=1.0), *plain(" than", " to", " the")]
    assert expected_score(ending, score) is None


def test_a_token_of_another_score_than_was_read_tells_nothing():
    assert expected_score(said(token(" 3", _3=0.9, _5=0.1)), 5) is None
    assert expected_score([*plain('"score":'), token(" 3", _3=0.9)], 5) is None


@pytest.mark.parametrize(
    "ending",
    [
        [],
        plain("the", " score"),
        plain("45"),
        plain("4"),
        said(TokenChoice(" 4", {})),
        said(token(" 4", four=1.0)),
        said(TokenChoice(" 4", {" 4": -math.inf})),
        plain('"score":', " 4,2"),
    ],
)
def test_without_likely_scores_there_is_no_expected_one(ending):
    assert expected_score(ending, 4) is None


@given(chances=st.dictionaries(st.sampled_from("12345"), st.floats(-9999, 0), min_size=1), score=scores)
def test_an_expected_score_is_a_score(chances, score):
    expected = expected_score(said(TokenChoice(f" {score}", chances)), score)
    assert expected is not None
    assert 1 <= expected <= 5
    assert min(map(int, chances)) - 1e-9 <= expected <= max(map(int, chances)) + 1e-9


@given(score=scores, others=st.dictionaries(st.sampled_from("12345"), st.floats(-9999, -50)))
def test_a_certain_judge_expects_what_it_says(score, others):
    likely = others | {str(score): 0.0}
    assert expected_score(said(TokenChoice(f" {score}", likely)), score) == pytest.approx(score)
