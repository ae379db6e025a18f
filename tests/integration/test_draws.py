"""Several answers to each question: who is asked what, and everything that reads answers and verdicts."""

import json
import pickle
import re
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest
from inspect_ai.log import read_eval_log

from factory.config import RunConfig
from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.evaluation.labels.label_items import _answer, _mean_scores, _scan
from factory.evaluation.labels.labeled_answers import read_evaluated
from factory.export.scores.score_files import export_scores
from factory.lineage.attribution import _find_lowest, _read_answer
from factory.lineage.comparison import Side, compare
from factory.personagym import TASKS
from factory.records import answer_key
from factory.report.sections.scores import EXTREMES, answer_data
from factory.run_output import layout
from factory.run_output.folder import open_folder
from factory.run_output.scan import RunTables
from tests.integration.endpoint_client import KEY_ENV
from tests.integration.openai_server import KEY
from tests.integration.test_evaluate import behind, document, evaluation, judgments, scripted

DRAWS, PERSONAS = 3, 2
QUESTIONS = PERSONAS * len(TASKS)
NAMES = ("a", "b")
SCORES = {1: 5, 2: 4, 3: 2}
"""What the judge gives each take."""


def take_of(row: Mapping) -> int:
    return int(re.search(r"Take (\d)", row["answer"])[1])


@pytest.fixture(scope="module")
def drawn(make_module_run, running):
    """Evaluate two candidates that say how often they were asked, which the judge scores."""
    running.rule(takes=True)
    verdicts = {f"Take {n}": json.dumps({"reasoning": f"Take {n}.", "score": score}) for n, score in SCORES.items()}
    models = zip(NAMES, ("small-chat", "small-chat-mini"), strict=True)
    candidates = [behind(running, name, kind="openai", model=model, api_key_env=KEY_ENV) for name, model in models]
    settings = evaluation(candidates, [scripted("judge", "?", **verdicts)], general=False, draws=DRAWS)
    run = make_module_run("drawn", evaluation={**settings, "limit": PERSONAS})
    run.environment[KEY_ENV] = KEY
    run.finish(job="evaluate")
    return run


@pytest.fixture(scope="module")
def config(drawn) -> RunConfig:
    return RunConfig.model_validate(drawn.config)


def test_each_question_is_answered_and_judged_so_often(drawn):
    for name in NAMES:
        answers = {answer_key(row): row for row in drawn.rows(f"evaluation/{name}/answers")}
        assert Counter(row["draw"] for row in answers.values()) == dict.fromkeys(range(DRAWS), QUESTIONS)
        takes = defaultdict(set)
        for row in answers.values():
            takes[row["question_id"]].add(take_of(row))
        assert list(takes.values()) == [set(SCORES)] * QUESTIONS
        verdicts = {answer_key(row): row["score"] for row in judgments(drawn, name, "judge")}
        assert verdicts == {key: SCORES[take_of(row)] for key, row in answers.items()}
    assert len(drawn.rows("evaluation/benchmark/examples/judge")) == QUESTIONS
    assert drawn.finish(job="evaluate").count("already finished") >= 4


def test_scores_are_of_all_answers(drawn):
    scores = document(drawn)
    assert (scores["draws"], scores["benchmark"]["questions"]) == (DRAWS, QUESTIONS)
    for candidate in scores["candidates"]:
        assert (candidate["questions"], candidate["answered"]) == (DRAWS * QUESTIONS,) * 2
        assert candidate["scores"]["pscore"]["mean"] == pytest.approx(sum(SCORES.values()) / DRAWS)
    assert scores["findable"]["draws_measured"]


def test_scores_go_out_with_the_number_of_the_draw(drawn, tmp_path):
    export_scores(drawn.output, "inspect", str(tmp_path))
    log = read_eval_log(f"{tmp_path}/a.json")
    assert log.eval.config.epochs == DRAWS
    by_epoch = {(sample.id, sample.epoch): sample for sample in log.samples}
    assert len(by_epoch) == DRAWS * QUESTIONS
    for sample in by_epoch.values():
        assert sample.scores["judge"].value == SCORES[take_of({"answer": sample.output.choices[0].message.content})]


def test_answers_are_found_again_with_their_verdicts(drawn, config):
    found = compare(Side(drawn.output, "a"), Side(drawn.output, "b"), shown=3)
    assert found.overall.wins + found.overall.losses + found.overall.ties == DRAWS * QUESTIONS
    for changed in (*found.gained, *found.lost):
        assert changed.scores_a == {"judge": SCORES[take_of({"answer": changed.answer_a})]}
        assert changed.scores_b == {"judge": SCORES[take_of({"answer": changed.answer_b})]}
    tables = RunTables.open(config)
    names = tables.names(layout.JUDGMENTS, candidate="a")
    judged, lowest = _find_lowest([tables[name] for name in names], next(iter(TASKS)), 3)
    assert judged == DRAWS * PERSONAS
    for worst in (_read_answer(tables, "a", names, one) for one in lowest):
        assert [one["score"] for one in worst.judgments] == [worst.score] == [SCORES[take_of({"answer": worst.answer})]]


def test_report_shows_the_answer_that_was_scored(drawn):
    for shown in answer_data(open_folder(drawn.output, "evaluate"), str):
        assert shown["judged"] == DRAWS * QUESTIONS
        assert shown["counts"] == {"judge": [0, QUESTIONS, 0, QUESTIONS, QUESTIONS]}
        assert len(shown["answers"]) == 2 * EXTREMES
        for answer in shown["answers"]:
            assert [one["score"] for one in answer["judgments"]] == [SCORES[take_of(answer)]]


def test_each_answer_can_be_labeled(config):
    names = layout.BENCHMARK_QUESTIONS.table(config.output).shards()
    strata = [pickle.loads(_scan(config, [("a",)], {"shard": name})["strata"]) for name in names]
    assert sum(part.counts.total() for part in strata) == DRAWS * QUESTIONS
    items = []
    for name in names:
        for key, score in _mean_scores(config, "a", name).items():
            answer = _answer(config, "a", key, name)
            assert (answer_key(answer), SCORES[take_of(answer)]) == (key, score)
            items.append({**answer, "kind": "single"})
    evaluated = read_evaluated(config, items)
    assert evaluated.scores["a"].shape == (2, DRAWS * QUESTIONS)
    for item in items:
        assert evaluated.scores["a"][0, evaluated.numbers[answer_key(item)]] == SCORES[take_of(item)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"draws": 0}, "'evaluation.draws' is 0"),
        ({"sampling": {"temperature": 0}}, "at sampling.temperature 0 all answers to a question are the same"),
        ({"parity": "opencharacter"}, "with parity each question is answered once"),
    ],
)
def test_draws_that_tell_nothing_are_refused(change, told, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"output": "out", "evaluation": {"draws": DRAWS, **change}}))
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config(path)
