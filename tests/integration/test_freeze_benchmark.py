"""The real job that freezes a benchmark, and evaluations in several outputs that share it and a store of scores."""

import json
from pathlib import Path

import pytest

from factory.personagym import TASKS, open_benchmark
from factory.storage import file_io
from tests import made_checkout as made
from tests.integration.runs import Run

VERDICT = '{"reasoning": "So it is.", "score": 4}'
EXAMPLES = json.dumps({f"score_{score}": f"A reply of {score}." for score in range(1, 6)})
PERSONAS = len(made.PERSONAS)


def scripted(name: str, default: str, **settings: object) -> dict:
    return {"kind": "scripted", "name": name, "default": default, **settings}


def judge(name: str, **settings: object) -> dict:
    replies = [{"contains": "<response>", "reply": VERDICT}]  # what it judges has one, what it writes examples for none
    return scripted(name, EXAMPLES, replies=replies, **settings)


def document(run: Run) -> dict:
    return json.loads(file_io.read_bytes(f"{run.output}/evaluation/scores.json"))


@pytest.fixture(scope="module")
def store(s3) -> str:
    return f"{s3}/store"


@pytest.fixture(scope="module")
def settings(store, tmp_path_factory) -> dict:
    folder = made.write_checkout(tmp_path_factory.mktemp("gym"), count=2)
    return {
        "benchmark": str(folder), "protocol": "full", "general": False, "store": store, "limit": 2,
        "candidates": [scripted("one", "Aye.")], "judges": [judge("a"), judge("b", model="other")],
    }  # fmt: skip


@pytest.fixture(scope="module")
def frozen(make_module_run, settings) -> str:
    """Freeze the benchmark, and return the folder of it."""
    run = make_module_run("freezing", evaluation=settings)
    said = run.finish(job="freeze_benchmark")
    assert f"{PERSONAS * 10} of {PERSONAS * 10} questions with example replies" in " ".join(said.split())
    store = settings["store"]
    (name,) = {name.split("/")[0] for name in file_io.sizes(f"{store}/benchmarks")}
    return f"{store}/benchmarks/{name}"


def test_a_frozen_benchmark_is_whole_whatever_the_limit(frozen):
    benchmark = open_benchmark(frozen)
    assert benchmark.frozen
    assert sorted(benchmark.personas) == sorted(made.PERSONAS)
    assert (benchmark.frozen.questions, benchmark.frozen.examples) == (PERSONAS * 10, PERSONAS * 10)
    assert [model.split("@")[0] for model in benchmark.frozen.models] == ["other", "scripted"]
    assert benchmark.rubrics == {task: made.RUBRIC.format(task=task) for task in TASKS}


@pytest.mark.slow
def test_outputs_share_it_and_reordered_judges_regenerate_nothing(frozen, make_module_run, settings):
    first = make_module_run("first", evaluation=settings)
    first.finish(job="evaluate")
    assert not file_io.exists(f"{first.output}/evaluation/benchmark/examples")
    assert {row["status"] for row in first.rows("evaluation/one/judgments/a")} == {"ok"}
    scores = document(first)["benchmark"]
    assert (scores["personas"], scores["questions"], scores["examples"]) == (2, 20, 20)
    assert scores["frozen"] == open_benchmark(frozen).frozen.whole_digest
    # Another output, with the judges in another order and under other names; its limit is larger.
    judges = [judge("b", model="other"), judge("x")]
    second = make_module_run("second", evaluation=settings | {"judges": judges, "limit": 3})
    said = second.finish(job="evaluate")
    assert "examples" not in said
    assert document(second)["benchmark"]["frozen"] == scores["frozen"]
    kept = {row["persona_id"] for row in first.rows("evaluation/benchmark/questions")}
    assert kept < {row["persona_id"] for row in second.rows("evaluation/benchmark/questions")}
    first.config["evaluation"] = settings | {"judges": settings["judges"][::-1]}
    said = first.finish(job="evaluate")
    assert said.count("already finished") >= 5
    assert "is rebuilt" not in said
    store = settings["store"]
    assert f"Scores of all runs: {store}/leaderboard.md" in said
    assert len(file_io.list_names(f"{store}/scores", ".json")) == 3
    assert "| one | " in file_io.read_bytes(f"{store}/leaderboard.md").decode()


@pytest.mark.slow
def test_the_store_has_the_scores_of_every_run(frozen, make_module_run, settings):
    store = settings["store"]
    before = file_io.list_names(f"{store}/scores", ".json")
    third = make_module_run("third", evaluation=settings | {"candidates": [scripted("two", "No.")]})
    said = third.finish(job="evaluate")
    assert f"Scores of all runs: {store}/leaderboard.md" in said
    after = file_io.list_names(f"{store}/scores", ".json")
    assert set(before) < set(after)
    assert len(after) == len(before) + 1
    third.finish(job="evaluate")  # the same scores are not added again
    assert file_io.list_names(f"{store}/scores", ".json") == after
    page = file_io.read_bytes(f"{store}/leaderboard.md").decode()
    for name in ("one", "two"):
        assert f"| {name} | " in page


@pytest.mark.slow
def test_a_frozen_benchmark_can_be_named_by_a_run_of_other_judges(frozen, make_run, settings):
    other = settings | {"benchmark": frozen, "store": None, "judges": [judge("alone", model="third")], "limit": None}
    again = make_run("again", evaluation=settings)
    assert "is frozen already" in again.finish(job="freeze_benchmark")
    run = make_run("named", evaluation=other)
    assert "frozen" in run.finish("--dry-run", job="evaluate")
    run.finish(job="evaluate")
    assert document(run)["benchmark"]["examples"] == PERSONAS * 10
    assert not file_io.exists(f"{run.output}/evaluation/benchmark/examples")
    run.config["evaluation"]["protocol"] = "light"
    assert run.start("--dry-run", job="evaluate").wait(120) == 2
    assert "has the questions of 'full'; set protocol: full" in run.log()


@pytest.mark.slow
def test_what_cannot_be_frozen_is_refused_in_a_line(frozen, make_run, settings, tmp_path):
    copy = tmp_path / "copy"
    for name in file_io.sizes(frozen):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(file_io.read_bytes(f"{frozen}/{name}"))
    (copy / "rubrics" / "Toxicity.txt").write_text(made.RUBRIC.format(task="Other"))
    cases = [
        ("freeze_benchmark", {"benchmark": frozen}, "which is frozen"),
        ("freeze_benchmark", {"store": None}, "evaluation.store is missing"),
        ("evaluate", {"benchmark": str(copy), "store": None}, "was changed after it was frozen"),
    ]
    for number, (job, change, told) in enumerate(cases):
        run = make_run(f"refused-{number}", evaluation=settings | change)
        assert run.start("--dry-run", job=job).wait(120) == 2
        (line,) = run.log().strip().splitlines()
        assert told in line
    assert Path(copy).is_dir()
