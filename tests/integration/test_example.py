"""The example of data/example: its three commands, and the counts that its README gives."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from factory.text.language import detect
from tests.integration.runs import PROJECT, Run

CONFIG = PROJECT / "jobs/configs/example.yaml"
DATA = PROJECT / "data/example"


def read_jsonl(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def example(tmp_path_factory, shared_ray) -> Run:
    """The finished run with its report, made in another folder than the checkout."""
    folder = tmp_path_factory.mktemp("example")
    output = str(folder / "run")
    for job in ("synthesize", "curate", "report"):
        command = [sys.executable, PROJECT / f"jobs/{job}.py", "--config", CONFIG, f"output={output}"]
        environment = os.environ | shared_ray
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder, {"output": output})


def read_dialogues(run: Run) -> list[dict]:
    names = [
        f"{strategy}-{corpus}" for strategy in ("generate", "rewrite") for corpus in ("questions", "conversations")
    ]
    return [row for name in names for row in run.rows(f"dialogues/{name}")]


def test_every_profile_and_dialogue_is_accepted(example):
    assert example.reasons("profiles") == {"ok": 16}
    rows = read_dialogues(example)
    assert {row["status"] for row in rows} == {"ok"}
    assert len(rows) == 56


def test_one_engine_writes_profiles_and_dialogues(example):
    manifests = [example.table(name).manifest() for name in ("profiles", "dialogues/generate-questions")]
    assert [(one["engines"], one["engines_started"]) for one in manifests] == [(1, 1), (1, 0)]


def test_curation_keeps_and_rejects_as_documented(example):
    reasons = Counter(example.reasons("curated/train")) + Counter(example.reasons("curated/validation"))
    faulty = {"breaks_character": 2, "copied_reference": 1, "near_duplicate": 2, "unfinished_sentence": 1}
    assert reasons == {"ok": 50, **faulty}
    readme = (DATA / "README.md").read_text()
    assert "Of the 56 dialogues curation keeps 50." in readme
    for reason, count in faulty.items():
        assert f"| `{reason}` | {count} |" in readme


def test_each_character_answers_in_its_language(example):
    """The seed pairs every instruction with the character for whom its replies were written."""
    personas = {row["character_id"]: row["persona"] for row in example.rows("profiles")}
    languages = Counter()
    for row in read_dialogues(example):
        texts = [personas[row["character_id"]], *(m["content"] for m in row["messages"] if m["role"] == "assistant")]
        found = {(detect(text) or ("none", 0))[0] for text in texts}
        assert len(found) == 1, texts
        languages += Counter(found)
    assert languages == {"ENGLISH": 28, "SPANISH": 8, "KOREAN": 8, "ARABIC": 6, "FRENCH": 6}


def test_report_holds_the_dialogues_and_no_scores(example):
    page = (example.folder / "run/report/index.html").read_text()
    data = json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    assert len(data["dialogues"]["cases"]) == 28
    assert data["training"] == data["evaluation"]["scores"] == {}


def test_given_profiles_are_those_of_the_replies():
    personas = [row["persona"] for row in read_jsonl("personas.jsonl")]
    replies = {row["contains"]: row["reply"] for row in read_jsonl("replies.jsonl")}
    given = read_jsonl("profiles.jsonl")
    assert [row["persona"] for row in given] == personas
    for row in given:
        assert row == {"persona": row["persona"], **replies[row["persona"]], "language": row["language"]}
        assert (detect(row["experience"]) or ("",))[0] == row["language"].upper()


def test_example_data_is_labeled_and_used():
    readme = (DATA / "README.md").read_text()
    assert "written by hand for this project" in readme
    for path in DATA.glob("*.jsonl"):
        assert f"| `{path.name}` | {len(read_jsonl(path.name))} |" in readme
    instructions = read_jsonl("instructions.jsonl") + read_jsonl("conversations.jsonl")
    turns = [m["content"] for row in instructions for m in row["messages"] if m["role"] == "user"]
    first = [f"[user]\n{row['messages'][0]['content']}" for row in instructions]
    used = [row["persona"] for row in read_jsonl("personas.jsonl")] + turns + first
    assert sorted(used) == sorted(row["contains"] for row in read_jsonl("replies.jsonl"))
