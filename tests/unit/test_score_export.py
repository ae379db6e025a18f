"""Scores for other tools: each file is opened by the library that reads it, where there is one."""

import itertools
import json

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from inspect_ai.log import read_eval_log

from factory.config import RunConfig
from factory.errors import InputError
from factory.export.scores.card_scores import add_scores_to_card
from factory.export.scores.score_files import Format, export_scores, read_scores
from factory.personagym import TASKS
from factory.records import Answer, Judgment, Reject
from factory.run_output import layout
from factory.storage import file_io
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import ANSWERS, JUDGMENTS
from tests.made_scores import scores_of

NAMES = ("base", "tuned")
JUDGES = ("judge-a", "judge-b")


SHARDS = {"00000": (0, 2, 4), "00001": (1, 3)}


def answer_row(name: str, number: int) -> dict:
    ids = {"candidate": name, "persona_id": "p", "persona": "A baker", "task": list(TASKS)[number]}
    ids |= {"question_id": f"q{number}", "question": "Why?"}
    if number == 0:
        return rejected_row(Reject("empty_reply", ""), ids)
    return ok_row(Answer(**ids, answer="Warm “loaves”.", truncated=number == 1))


def judgment_row(name: str, judge: str, number: int) -> dict:
    ids = {"candidate": name, "judge": judge, "persona_id": "p", "task": list(TASKS)[number]}
    ids["question_id"] = f"q{number}"
    if (judge, number) == ("judge-b", 3):
        return rejected_row(Reject("judge_failed", "?"), ids)
    return ok_row(Judgment(**ids, score=4, expected_score=3.5 if judge == "judge-a" else None, reasoning="So."))


@pytest.fixture
def output(tmp_path):
    """A run of two candidates with the answers to five questions: one is rejected, and one judge fails once."""
    file_io.write_bytes(str(tmp_path / layout.SCORES), json.dumps(scores_of(8)).encode())
    for name, (shard, numbers) in itertools.product(NAMES, SHARDS.items()):
        answers = layout.ANSWERS.table(str(tmp_path), candidate=name)
        answers.write(shard, [answer_row(name, number) for number in numbers], ANSWERS)
        for judge in JUDGES:
            judgments = layout.JUDGMENTS.table(str(tmp_path), candidate=name, judge=judge)
            judgments.write(shard, [judgment_row(name, judge, number) for number in numbers if number], JUDGMENTS)
    return str(tmp_path)


def exported(output: str, format: Format) -> dict[str, str]:
    """Return the text of each candidate's file."""
    paths = export_scores(output, format, f"{output}/export/{format}")
    return {path.rsplit("/", 1)[1].split(".")[0]: file_io.read_bytes(path).decode() for path in paths}


def test_model_index_has_each_score_with_its_interval(output):
    found = exported(output, "model-index")
    assert set(found) == set(NAMES)
    name, results = model_index_to_eval_results(yaml.safe_load(found["tuned"])["model-index"])
    assert name == "tuned"
    assert {result.metric_name: result.metric_value for result in results} == pytest.approx(
        dict(zip([*TASKS, "PScore"], (3.8, 3.9, 4.0, 4.1, 4.2, 4.0), strict=True))
    )
    assert results[0].dataset_name == "builtin-v1 (light)"
    arguments = results[0].metric_args
    assert (arguments["personas"], arguments["judges"]) == (8, ["m", "m"])
    assert (arguments["low"], arguments["high"]) == pytest.approx((3.6, 4.0))


def test_inspect_ai_opens_the_log_with_every_answer(output):
    exported(output, "inspect")
    log = read_eval_log(f"{output}/export/inspect/tuned.json")
    assert (log.status, log.eval.task, log.eval.model) == ("success", "builtin-v1-light", "tuned")
    means = {score.name: score.metrics["PScore"].value for score in log.results.scores}
    assert means == pytest.approx({"all": 4.0, "judge-a": 4.0, "judge-b": 3.9})
    samples = {sample.id: sample for sample in log.samples}
    assert sorted(samples) == [f"q{number}" for number in range(5)]
    assert samples["q0"].metadata["reason"] == "empty_reply"
    assert samples["q0"].scores == {}
    assert samples["q1"].output.completion == "Warm “loaves”."
    assert samples["q1"].output.stop_reason == "max_tokens"
    assert {judge: score.value for judge, score in samples["q2"].scores.items()} == {"judge-a": 4, "judge-b": 4}
    assert samples["q2"].scores["judge-a"].metadata == {"expected_score": 3.5}
    assert set(samples["q3"].scores) == {"judge-a"}
    assert samples["q3"].metadata["judges_failed"] == {"judge-b": "judge_failed"}


def test_results_have_the_shape_of_the_harness(output):
    document = json.loads(exported(output, "lm-eval")["base"])
    group, *tasks = document["results"]
    assert (group, tasks[0]) == ("builtin_v1_light", "builtin_v1_light_expected_action")
    assert document["group_subtasks"] == {group: tasks}
    assert document["results"][group]["score,none"] == pytest.approx(2.6)
    assert document["results"][group]["score_stderr,none"] == pytest.approx(0.5 / 7**0.5)
    for name in ("configs", "n-shot", "n-samples"):
        assert list(document[name]) == tasks
    assert set(document["versions"]) == set(document["higher_is_better"]) == set(document["results"])
    assert document["n-samples"][tasks[0]] == {"original": 8, "effective": 8}


def test_a_score_that_no_persona_has_is_left_out(output):
    scores = scores_of(0)
    nothing = {"mean": None, "std": None, "low": None, "high": None, "personas": 0}
    scores["candidates"][0]["scores"]["pscore"] |= nothing
    file_io.write_bytes(f"{output}/{layout.SCORES}", json.dumps(scores).encode())
    assert "PScore" not in exported(output, "model-index")["base"]
    assert json.loads(exported(output, "lm-eval")["base"])["groups"]["builtin_v1_light"] == {
        "alias": "PScore", "score,none": None, "score_stderr,none": "N/A",
    }  # fmt: skip
    exported(output, "inspect")
    log = read_eval_log(f"{output}/export/inspect/base.json", header_only=True)
    assert "PScore" not in log.results.scores[0].metrics


@pytest.mark.parametrize(("document", "told"), [(None, "no scores; evaluate the run first"), ({}, "is not as this")])
def test_a_run_without_readable_scores_is_told(tmp_path, document, told):
    if document is not None:
        file_io.write_bytes(str(tmp_path / layout.SCORES), json.dumps(document).encode())
    with pytest.raises(InputError, match=told):
        read_scores(str(tmp_path))


CARD_TEXT = "---\nlicense: llama3\n---\n\n# A model\n\nBäcker.\n"


def own_model(output: str, **changes) -> RunConfig:
    """Return a config whose candidate `tuned` is the model of the run."""
    candidates = [{"kind": "scripted", "name": name, "model": "m"} for name in NAMES]
    candidates[1]["model"] = f"{output}/model"
    judges = [{"kind": "scripted", "name": name} for name in JUDGES]
    config = {"output": output, "engine": {"kind": "scripted"}, "personas": {"source": "p"}}
    return RunConfig.model_validate(config | {"evaluation": {"candidates": candidates, "judges": judges} | changes})


def test_the_card_of_the_own_model_gets_the_scores_once(output):
    path = f"{output}/model/README.md"
    file_io.write_bytes(path, CARD_TEXT.encode())
    for _ in range(2):
        add_scores_to_card(own_model(output))
        text = file_io.read_bytes(path).decode()
        assert text.count("## Scores") == text.count("model-index") == 1
        assert text.startswith("---\nlicense: llama3\n")
        assert "Bäcker.\n\n## Scores\n" in text
        assert "| PScore | persona | 4.00 | 3.80 to 4.20 | 8 |" in text
        data = ModelCard(text).data
        assert data.model_name == "tuned"
        assert {result.metric_name: result.metric_value for result in data.eval_results}["PScore"] == pytest.approx(4.0)
        assert {result.dataset_config for result in data.eval_results} == {"persona"}


def test_a_card_without_scores_to_show_keeps_none(output):
    path = f"{output}/model/README.md"
    add_scores_to_card(own_model(output))
    assert not file_io.exists(path)  # no model
    file_io.write_bytes(path, CARD_TEXT.encode())
    add_scores_to_card(own_model(f"{output}/elsewhere"))
    config = own_model(output, candidates=[{"kind": "scripted", "name": "tuned", "model": "m"}])
    add_scores_to_card(config)
    assert file_io.read_bytes(path).decode() == CARD_TEXT
    add_scores_to_card(own_model(output))
    scores = scores_of(8)
    scores["candidates"][1]["scores"]["blank"] = True
    file_io.write_bytes(f"{output}/{layout.SCORES}", json.dumps(scores).encode())
    add_scores_to_card(own_model(output))
    assert "Scores" not in file_io.read_bytes(path).decode()
    file_io.write_bytes(path, b"---\nlicense: [\n---\n# Mine\n")
    with pytest.raises(InputError, match="its front matter cannot be read"):
        add_scores_to_card(own_model(output))
