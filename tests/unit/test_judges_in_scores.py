"""What the scores say about their judges: the judge check, and verdicts that were asked for again."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.compute_scores import _read_judgments
from factory.evaluation.judge_check.check_results import FOLDER, read_checks, refuse_weak_judges, settings_of
from factory.evaluation.judge_check.judge_report import CheckedJudge, _judged_pairs
from factory.evaluation.judge_check.pairs import read_pairs, reliability_text, summarize_judge
from factory.evaluation.score_document import _judge_check
from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.scores_schema import Scores
from factory.records import Judgment, Score
from factory.run_output import layout
from factory.storage.rows import ok_row
from factory.storage.schemas import JUDGMENTS
from factory.storage.tables import Table
from tests.made_scores import scores_of

JUDGE = {"kind": "scripted", "name": "judge-a"}


def config_of(output, **evaluation) -> RunConfig:
    candidates = [{"kind": "scripted", "name": "tuned"}]
    return RunConfig.model_validate(
        {"output": str(output), "evaluation": {"judges": [JUDGE], "candidates": candidates} | evaluation}
    )


def write_check(output, wrong: int, settings: str = "", model: str = "scripted") -> None:
    """Write the report of a judge that is wrong on some of the pairs."""
    pairs = [pair for pair in read_pairs() if pair.kind == "toxic"]
    scores = {(pair.id, side): 5.0 if side == "better" else 1.0 for pair in pairs for side in ("better", "worse")}
    scores |= {(pair.id, "worse"): 5.5 for pair in pairs[:wrong]}
    report = summarize_judge("judge-a", _judged_pairs(scores, {}), seed=1)
    checked = CheckedJudge(
        judge="judge-a", model=model, kind="scripted", prompts=("judge@1#a", "judge-pair@1#b"), settings=settings,
        verdict=reliability_text(report), ranked_by="whole", reports={"whole": report},
    )  # fmt: skip
    folder = output / FOLDER
    folder.mkdir()
    (folder / "report.json").write_bytes(TypeAdapter(list[CheckedJudge]).dump_json([checked]))


def write_judgments(output, *attempts: int) -> Table:
    table = layout.JUDGMENTS.table(str(output), candidate="tuned", judge="judge-a")
    table.begin("built", {"judge": "judge-a", "prompt": "judge@1#a", "work": "some answers"})
    about = {"candidate": "tuned", "judge": "judge-a", "persona_id": "p", "task": "Toxicity"}
    rows = [
        ok_row(Judgment(**about, question_id=f"q{n}", score=Score(4), expected_score=None, reasoning="", attempts=one))
        for n, one in enumerate(attempts)
    ]
    table.write("00000", [*rows, about | {"status": "rejected", "reason": "judge_failed"}], JUDGMENTS)
    return table


def re_asked(table: Table) -> int:
    """Return how many judgments took more than one attempt; all scores are read with them."""
    index = {f"q{number}": number for number in range(4)}
    scores, expected = np.full((2, len(index)), np.nan)
    count = _read_judgments(table, "00000", index, scores, expected)
    assert np.count_nonzero(scores == 4) == table.count("00000").ok
    assert np.isnan(expected).all()
    return count


def test_repeated_verdicts_are_counted(tmp_path):
    assert re_asked(write_judgments(tmp_path, 1, 3, 2, 1)) == 2


def test_judgments_of_an_earlier_version_count_as_first_attempts(tmp_path):
    table = write_judgments(tmp_path, 1, 3)
    rows = table.read("00000").drop_columns(["attempts", "draw"])
    table.write_arrow("00000", rows)
    assert re_asked(table) == 0


@pytest.mark.parametrize(("wrong", "told"), [(0, ""), (2, ""), (3, "'judge-a' is right on 75%")])
def test_judge_below_the_bar_is_refused(tmp_path, wrong, told):
    write_check(tmp_path, wrong)
    refuse_weak_judges(config_of(tmp_path))
    config = config_of(tmp_path, min_judge_accuracy=0.8)
    if told:
        with pytest.raises(InputError, match=told):
            refuse_weak_judges(config)
    else:
        refuse_weak_judges(config)


def test_unchecked_judge_is_refused(tmp_path):
    config = config_of(tmp_path, min_judge_accuracy=0.5)
    with pytest.raises(InputError, match="was not checked with its present settings; run judge-check"):
        refuse_weak_judges(config)
    write_check(tmp_path, 0, model="another")
    with pytest.raises(InputError, match="not checked"):
        refuse_weak_judges(config)


def test_check_with_other_settings_than_the_scores_is_none(tmp_path):
    table = write_judgments(tmp_path, 1)
    write_check(tmp_path, 0, settings=settings_of(table))
    config = config_of(tmp_path)
    assert set(read_checks(config)) == {"judge-a"}
    table.begin("again", {"judge": "judge-a", "prompt": "judge@1#a", "work": "other answers"})
    assert set(read_checks(config)) == {"judge-a"}
    table.begin("new", {"judge": "judge-a", "prompt": "judge@2#c", "work": "other answers"})
    assert read_checks(config) == {}


@pytest.mark.parametrize("content", ["{", "{}", "[1]", "[{}]", '[{"judge": "judge-a"}]'])
def test_report_of_another_version_is_no_check(tmp_path, content):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "report.json").write_text(content)
    assert read_checks(config_of(tmp_path)) == {}


def test_check_stands_on_the_leaderboard(tmp_path):
    write_check(tmp_path, 3)
    reports = json.loads((tmp_path / FOLDER / "report.json").read_text())[0]["reports"]
    check = _judge_check(reports["whole"])
    assert (check.right, check.of, check.by_kind["toxic"], check.attack) == (0.75, 12, 0.75, None)
    document = Scores.model_validate(scores_of(10))
    judges = [document.judges[0].model_copy(update={"check": check, "re_asked": 7}), document.judges[1]]
    page = leaderboard(document.model_copy(update={"judges": judges}))
    lines = page[page.index("## Judges") :].splitlines()
    (checked,) = [line for line in lines if line.startswith("| judge-a |")][:1]
    assert checked.startswith("| judge-a | 75% [0.47, 0.91] |")
    assert checked.endswith("| 7 |")
    assert any(line.startswith("| judge-b | not checked |") for line in lines)
