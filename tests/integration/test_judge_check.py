"""The real job on three judges: one always right, one with position and length bias, one unreadable."""

import json
from itertools import chain

import pytest

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.judge_check.check_results import refuse_weak_judges
from factory.evaluation.judge_check.pairs import read_pairs
from factory.evaluation.judge_check.pairwise import is_parsable_preference
from factory.storage import file_io
from tests.integration.runs import Run

PAIRS = read_pairs()
SAME = ("padded", "attack", "paraphrase")
"""Kinds in which neither answer is better."""
ORDERED = [pair for pair in PAIRS if pair.kind not in SAME]
PADDED = [pair for pair in PAIRS if pair.kind == "padded"]
EXAMPLES = json.dumps({f"score_{score}": f"Example {score}." for score in range(1, 6)})


def scored(text: str, score: int) -> dict[str, str]:
    """Match an answer that is shown after the example replies."""
    return {"contains": f"Example 5.\n</example>\n\n<response>\n{text}\n", "reply": verdict(score=score)}


def chosen(first: str, letter: str) -> dict[str, str]:
    return {"contains": f"<reply_a>\n{first}\n", "reply": verdict(preferred=letter)}


def verdict(**said: object) -> str:
    return json.dumps({"reasoning": "So it is."} | said)


SAGE = [
    (scored(pair.better, 5), scored(pair.worse, 2), chosen(pair.better, "A"), chosen(pair.worse, "B"))
    for pair in ORDERED
]
ALIKE = [scored(pair.worse, 2 if pair.kind == "attack" else 5) for pair in PAIRS if pair.kind in SAME]
JUDGES = [
    {"name": "sage", "replies": [*ALIKE, *chain(*SAGE), {"contains": "<reply_a>", "reply": verdict(preferred="B")}]},
    {
        "name": "first",
        "replies": [
            {"contains": "<reply_a>", "reply": "```json\n" + verdict(preferred="A") + "\n```"},
            *(scored(pair.worse, 5) for pair in PADDED),
            {"contains": "<response>", "reply": verdict(score=3)},
        ],
        "default": EXAMPLES,
    },
    {"name": "mute", "default": "I would rather not say {A or B}."},
]


@pytest.fixture(scope="module")
def checked_run(make_module_run) -> Run:
    judges = [{"kind": "scripted", "default": verdict(score=3)} | judge for judge in JUDGES]
    run = make_module_run("checked", evaluation={"judges": judges})
    run.finish(job="judge_check")
    return run


@pytest.fixture(scope="module")
def reports(checked_run) -> dict[str, dict]:
    checked = json.loads(file_io.read_bytes(f"{checked_run.output}/judge-check/report.json"))
    assert [one["judge"] for one in checked] == ["sage", "first", "mute"]
    assert {one["ranked_by"] for one in checked} == {"whole"}
    assert {tuple(ref.partition("@")[0] for ref in one["prompts"]) for one in checked} == {("judge", "judge-pair")}
    return {one["judge"]: one["reports"]["whole"] | {"verdict": one["verdict"]} for one in checked}


def test_judges_are_shown_example_replies(checked_run):
    rows = checked_run.rows("judge-check/examples")
    assert {row["status"] for row in rows} == {"ok"}
    assert len(rows) == len({pair.persona for pair in PAIRS})


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ("sage", ""),
        ("first", "'first' is right on 50%"),
        ("mute", "'mute' could be read on none"),
        ("new", "not checked"),
    ],
)
def test_weak_or_unchecked_judge_is_refused(checked_run, judge, told):
    judges = [{"kind": "scripted", "name": judge, "default": ""}]
    evaluation = {"judges": judges, "min_judge_accuracy": 0.8}
    config = RunConfig.model_validate(checked_run.config | {"evaluation": evaluation})
    if told:
        with pytest.raises(InputError, match=told):
            refuse_weak_judges(config)
    else:
        refuse_weak_judges(config)


def test_each_judge_scores_and_compares_everything(checked_run):
    for judge, accounts in {"sage": "ok", "first": "ok", "mute": "judge_failed"}.items():
        scores, preferences = (checked_run.rows(f"judge-check/{judge}/{name}") for name in ("scores", "preferences"))
        assert {row["reason"] or row["status"] for row in scores + preferences} == {accounts}
        assert {(row["question_id"], row["candidate"]) for row in scores} == {
            (pair.id, side) for pair in PAIRS for side in ("better", "worse")
        }
        assert {(row["pair_id"], row["order"]) for row in preferences} == {
            (pair.id, order) for pair in PAIRS for order in ("better_first", "worse_first")
        }
        assert len(scores) == len(preferences) == 2 * len(PAIRS)


def test_judge_that_is_always_right(reports):
    sage = reports["sage"]
    for accuracy in (sage["ordered"], *sage["by_kind"].values()):
        assert accuracy["pointwise"]["value"] == accuracy["pairwise"]["value"] == 1
    assert sage["ordered"]["pairwise"]["of"] == len(ORDERED)
    attacks = sum(pair.kind == "attack" for pair in PAIRS)
    assert (sage["turned"]["hits"], sage["turned"]["of"]) == (attacks, len(PAIRS))
    assert [sage[name]["difference"] for name in ("length_bias", "attack", "paraphrase")] == [0, 0, 0]
    assert sage["failed_scores"] == sage["failed_verdicts"] == 0


def test_position_and_length_bias_are_found(reports):
    first = reports["first"]
    assert (first["turned"]["value"], first["first_wins"]["value"]) == (1, 1)
    assert first["ordered"]["pointwise"]["value"] == first["ordered"]["pairwise"]["value"] == 0.5
    bias = first["length_bias"]  # of ten pairs that all say 2: the next one may say less
    assert 0 < bias["low"] < bias["difference"] == 2 < bias["high"]
    assert "100 % of them change with the order, mostly to the first answer" in first["verdict"]
    assert "it scores filler 2.00 higher" in first["verdict"]


def test_unreadable_judge_has_only_failures(reports, checked_run):
    mute = reports["mute"]
    assert mute["failed_scores"] == mute["failed_verdicts"] == 2 * len(PAIRS)
    assert mute["ordered"]["pointwise"]["value"] is mute["length_bias"]["difference"] is None
    assert mute["verdict"].endswith(f"it failed {4 * len(PAIRS)} of {4 * len(PAIRS)} times.")
    assert "rather not say" in checked_run.rows("judge-check/mute/preferences")[0]["detail"]


def test_table_and_sentences_are_printed(checked_run, reports):
    said = checked_run.log().splitlines()
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in said if line.startswith(tuple(reports))}
    assert "sage" in shown, checked_run.log()
    assert shown["sage"] == (
        "100 % [93, 100] 100 % [93, 100] 100 / 100 100 / 100 100 / 100 100 / 100 15 % +0.00 +0.00 0.00 0"
    )
    assert shown["mute"] == f"- - - / - - / - - / - - / - - - - - {4 * len(PAIRS)}"
    assert {report["verdict"] for report in reports.values()} <= set(said)


def test_dry_run_prints_calls_per_judge(make_run):
    run = make_run("dry", evaluation={"judges": [{"kind": "scripted", "name": "sage", "default": ""}]})
    said = run.finish("--dry-run", job="judge_check")
    assert ["sage", "160", "160", "48", "scripted", "(scripted)"] in [line.split() for line in said.splitlines()]
    assert not file_io.exists(f"{run.output}/config.json")


@pytest.mark.parametrize(
    ("judges", "told"),
    [
        ([], "evaluation.judges: is empty; add at least a judge that scores"),
        ([{"kind": "scripted", "name": "orders", "default": ""}], "the name 'orders' is taken by a table of pairs"),
    ],
)
def test_invalid_judges_are_refused_before_ray(make_run, judges, told):
    run = make_run("refused", evaluation={"judges": judges})
    assert run.start(job="judge_check").wait(300) == 2
    assert run.log().startswith("error: ")
    assert told in run.log()


@pytest.mark.parametrize("reply", ["A", '{"preferred": "A"}', '{"reasoning": "", "preferred": "C"}', "", "[]"])
def test_reply_that_names_no_answer_is_retried(reply):
    assert not is_parsable_preference(reply)
