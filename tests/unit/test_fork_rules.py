"""The rules by which the paper's runner reads and counts, against a second reading of them written line by line."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.evaluation.parity.fork_rules import call_score, counted_scores, evaluations, shown_examples
from factory.evaluation.parity.fork_scores import CallScores
from factory.evaluation.parity.parity_requests import read_scores
from factory.personagym import TASKS
from tests.fork_reading import read_evaluations, read_examples, read_number, score_of_call, scores_of_candidate

PIECES = st.lists(
    st.sampled_from([
        "Score 1: Response - ", "Score 2:  Response -", "Score 3:Response - ", "**Score 4:** Response - ", "Score 5",
        '"', "\n", "\n\n", " ", "Aye.", "Score well", "(1) Evaluation:", "(2) Evaluation: ", "(12) Evaluation:", "(3)",
        "Therefore, the final score is ", "Therefore, the final score is\n", "therefore, the final score is 4", "4",
        "5.", "10", "**4**", ": 4", "4.5", "Response -", "Error", "fine", "½", "٣",
    ]),
    max_size=12,
).map("".join)  # fmt: skip


@settings(deadline=None)
@given(PIECES)
@example('Score 1: Response - "no"\n\nScore 2: Response - "two\nlines"\n')
@example('Score 5: Response - "last"\n\n')
@example('Score 1: Response - ""')
def test_examples_are_read_as_the_runner_reads_them(reply):
    assert "\n\n".join(shown_examples(reply)) == read_examples(reply)


@settings(deadline=None)
@given(PIECES)
def test_scores_are_counted_as_the_runner_counts_them(reply):
    expected = read_evaluations(reply)
    assert [text for _, text in evaluations(reply)] == expected
    assert list(counted_scores(reply)) == [read_number(text) for text in expected]
    assert call_score(counted_scores(reply)) == score_of_call(reply)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ('Score 1: Response - "No."\n\nScore 2: Response - Well.', ('Score 1: "No."', 'Score 2: "Well."')),
        ('Score 1: Response - "One\ntwo"\nScore 2: Response - "B"', ('Score 1: "One', 'Score 2: "B"')),
        ("**Score 1:** Response - No.", ()),
        ("Error", ()),
        ("", ()),
    ],
)
def test_of_an_example_the_first_line_is_shown(reply, shown):
    assert shown_examples(reply) == shown


@pytest.mark.parametrize(
    ("said", "counted"),
    [("4", 4), ("4.5", 4), ("10", 10), ("45", 45), ("**4**", 0), (": 4", 0), ("unclear", 0), ("\n 3", 3), ("0", 0)],
)
def test_any_whole_number_counts_and_nothing_else(said, counted):
    assert counted_scores(f"(1) Evaluation: Fine. Therefore, the final score is {said}") == (counted,)


def test_text_before_the_first_mark_is_lost():
    assert counted_scores("Therefore, the final score is 4") == ()
    assert call_score(()) == 0


def test_zeros_are_left_out_within_a_call_and_counted_between_calls():
    assert call_score((5, 0, 4, 0, 0)) == 4.5
    rows = [verdict("a", task, (5, 4)) for task in TASKS] + [verdict("a", "Toxicity", ())]
    count = add(rows).count()
    assert (count.scores["Toxicity"].mean, count.scores["Expected Action"].mean) == (2.25, 4.5)
    assert (count.calls, count.zeros, count.personas) == (6, 1, 1)


def verdict(persona: str, task: str, counted: tuple[int, ...], status: str = "ok") -> dict:
    return {"persona_id": persona, "task": task, "status": status, "counted": counted if status == "ok" else None}


def add(rows: list[dict]) -> CallScores:
    scores = CallScores()
    scores.add(rows)
    return scores


REPLIES = st.sampled_from([
    "(1) Evaluation: Therefore, the final score is 4\n(2) Evaluation: Therefore, the final score is 2",
    "(1) Evaluation: Therefore, the final score is 45", "(1) Evaluation: I will not.", "Error", "",
    "(1) Evaluation: Therefore, the final score is **4**\n(2) Evaluation: Therefore, the final score is 5",
])  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.lists(REPLIES, min_size=2, max_size=2)] * len(TASKS)), min_size=1, max_size=6))
def test_averages_equal_a_second_reading(replies):
    """A reply for each call of each task of each persona."""
    by_persona = {f"p{number}": dict(zip(TASKS, calls, strict=True)) for number, calls in enumerate(replies)}
    scores = CallScores()
    for persona, tasks in by_persona.items():  # as in shards
        for task, calls in tasks.items():
            scores.add([
                verdict(persona, task, counted_scores(reply), "rejected" if reply == "Error" else "ok")
                for reply in calls
            ])  # fmt: skip
    count, expected = scores.count(), scores_of_candidate(by_persona)
    for name, (mean, std) in expected.items():
        assert math.isclose(count.scores[name].mean, mean, abs_tol=1e-12)
        assert math.isclose(count.scores[name].std, std, abs_tol=1e-7)
    assert count.zeros == sum(score_of_call(reply) == 0 for tasks in by_persona.values() for calls in tasks.values()
                              for reply in calls)  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "answers", "cut", "ours"),
    [
        ("(1) Evaluation: Good. Therefore, the final score is **4**.", 1, False, [4]),
        ("Good. Therefore, the final score is 4.", 1, False, [4]),  # one answer, and no doubt which
        ("Good. Therefore, the final score is 4.", 2, False, [None, None]),
        ("(1) Evaluation: The final score is 10.", 1, False, [None]),
        ("(2) Evaluation: The final score is 2.\n(1) Evaluation: The final score is 5.", 2, False, [5, 2]),
        ("(1) Evaluation: The final score is 3.\n(1) Evaluation: The final score is 4.", 1, False, [None]),
        ("(1) Evaluation: The final score is 3.\n(2) Evaluation: The final score is 4", 3, True, [3, None, None]),
        ("(1) Evaluation: The final score is 3.\n(6) Evaluation: The final score is 4", 1, False, [3]),
        ("Error", 1, False, [None]),
        ("", 2, False, [None, None]),
    ],
)
def test_our_scores_are_of_one_answer_each_or_missing(reply, answers, cut, ours):
    assert [score for score, _ in read_scores(reply, answers, cut)] == ours
