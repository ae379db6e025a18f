"""Two candidates, of one run or of two, compared answer by answer."""

import itertools

import pytest

from factory.errors import InputError
from factory.lineage.comparison import Outcome, Side, compare
from factory.lineage.comparison_text import show_comparison
from factory.lineage.lineage_text import terminal
from factory.records import Answer, Judgment, Reject
from factory.run_output import layout
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import ANSWERS, JUDGMENTS

TASKS = ("Toxicity", "Expected Action")
PERSONAS = ("baker", "miller", "fisher")


def write_run(output: str, shards: int, scores: dict[str, dict[str, dict[tuple[str, str], int | None]]]) -> str:
    """Write the answers and judgments of each candidate; None is a judge that failed."""
    questions = list(itertools.product(PERSONAS, TASKS))
    for candidate, by_judge in scores.items():
        tables = {judge: layout.JUDGMENTS.table(output, candidate=candidate, judge=judge) for judge in by_judge}
        for shard in range(shards):
            answers, judgments = [], {judge: [] for judge in by_judge}
            for persona, task in questions[shard::shards]:
                ids = {"candidate": candidate, "persona_id": persona, "task": task, "question_id": f"{persona}-{task}"}
                text = f"{candidate} of {output[-1]} says \x1b[31mred\x1b[0m"
                answers.append(
                    ok_row(Answer(**ids, persona=f"A {persona}", question="Why?", answer=text, truncated=False))
                )
                for judge, given in by_judge.items():
                    if (score := given.get((persona, task), 3)) is None:
                        row = rejected_row(Reject("judge_failed", ""), {**ids, "judge": judge})
                    else:
                        row = ok_row(Judgment(**ids, judge=judge, score=score, expected_score=None, reasoning=""))
                    judgments[judge].append(row)
            layout.ANSWERS.table(output, candidate=candidate).write(f"{shard:05}", answers, ANSWERS)
            for judge, rows in judgments.items():
                tables[judge].write(f"{shard:05}", rows, JUDGMENTS)
        for table in tables.values():
            table.finish({"step": table.name, "rows_in": 6, "ok": 6, "fingerprint": "f", "finished": "today"})
    return output


@pytest.fixture
def run(tmp_path) -> str:
    """A run of two candidates with two judges; the second judge failed on one answer of each."""
    strict = {("baker", "Toxicity"): 5, ("miller", "Toxicity"): 1, ("fisher", "Toxicity"): None}
    kind = {("baker", "Toxicity"): 4, ("fisher", "Expected Action"): None}
    tuned = {"strict": strict, "kind": kind}
    base = {"strict": {("fisher", "Toxicity"): 5}, "kind": {("fisher", "Toxicity"): 5}}
    return write_run(str(tmp_path / "1"), 2, {"tuned": tuned, "base": base})


def test_each_answer_is_compared_by_the_judges_that_scored_both(run):
    found = compare(Side(run, "tuned"), Side(run, "base"))
    # baker +1.5 (two judges), miller -1 (mean of -2 and 0), fisher -2 (one judge); the other task is equal.
    assert found.tasks["Toxicity"] == Outcome(1, 2, 0, pytest.approx(-0.5))
    assert found.tasks["Expected Action"] == Outcome(0, 0, 3, 0.0)
    assert (found.overall.wins, found.overall.losses, found.overall.ties) == (1, 2, 3)
    assert [(each.persona, each.outcome.difference) for each in found.best] == [("A baker", 0.75)]
    assert [each.persona for each in found.worst] == ["A fisher", "A miller"]
    assert [answer.difference for answer in found.lost] == [-2, -1]
    assert (found.lost[0].scores_a, found.lost[0].scores_b) == ({"kind": 3}, {"kind": 5})
    assert found.gained[0].answer_a.startswith("tuned of 1")
    assert (found.only_a, found.only_b) == (0, 0)


def test_the_reverse_has_the_signs_reversed(run):
    found, reverse = compare(Side(run, "tuned"), Side(run, "base")), compare(Side(run, "base"), Side(run, "tuned"))
    assert reverse.overall.difference == -found.overall.difference
    assert (reverse.overall.wins, reverse.overall.losses) == (found.overall.losses, found.overall.wins)
    assert [answer.question_id for answer in reverse.lost] == [answer.question_id for answer in found.gained]


def test_runs_with_other_shards_and_judges_are_paired_by_question(run, tmp_path):
    scores = {"kind": {("miller", "Toxicity"): 5}, "third": {}}
    other = write_run(str(tmp_path / "2"), 3, {"base": scores})
    found = compare(Side(run, "base"), Side(other, "base"), shown=1)
    assert found.judges == ("kind",)
    assert (found.overall.wins, found.overall.losses, found.overall.ties) == (1, 1, 4)
    assert [(answer.persona, answer.difference) for answer in found.lost] == [("A miller", -2)]
    assert (found.lost[0].answer_a[:9], found.lost[0].answer_b[:9]) == ("base of 1", "base of 2")


def test_nothing_to_compare_is_told(run, tmp_path):
    other = write_run(str(tmp_path / "3"), 1, {"base": {"third": {}}})
    failed = dict.fromkeys(itertools.product(PERSONAS, TASKS))
    silent = write_run(str(tmp_path / "4"), 1, {"base": {"kind": failed}})
    for side, told in (
        (Side(run, "gpt"), "gpt in .*: has no finished judgments; evaluate it first"),
        (Side(other, "base"), "none has scored both"),
        (Side(silent, "base"), "no judge scored answers of both"),
    ):
        with pytest.raises(InputError, match=told):
            compare(Side(run, "tuned"), side)


def test_what_is_shown_has_no_control_characters(run, capsys):
    show_comparison(compare(Side(run, "tuned"), Side(run, "base")), terminal())
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "tuned against base" in shown
    assert "tuned (kind 4, strict 5): tuned of 1 says" in shown
