"""All that the page shows, of runs that are large, hold personal data or train on another run's data."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.config import RunConfig
from factory.curation.rules.personal_data import masker
from factory.errors import InputError
from factory.evaluation.paper_scores import published
from factory.planning.prices import read_prices
from factory.records import (
    Answer,
    Dialogue,
    Instruction,
    Judgment,
    Message,
    Profile,
    Reject,
    Score,
    content_id,
)
from factory.report.collect import Known, collect
from factory.report.html import render
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import ANSWERS, DIALOGUES, INSTRUCTIONS, JUDGMENTS, PERSONAS, PROFILES
from factory.storage.tables import REJECTED, Table  # fmt: skip
from tests.small_run import SmallRun, whole_run

DATA = ["ada@lagosbread.com", "+44 20 7183 8750", "4111 1111 1111 1111"]
PERSONAL = f"Ada writes from {DATA[0]}, calls from {DATA[1]} and pays with {DATA[2]}."
MARKUP = "<&>" * 2000


def shown(config: RunConfig) -> dict[str, Any]:
    known = Known(read_prices, published, masker)
    return collect(config, lambda target: f"make {target}", known)


def write_run(output: str, text: str, characters: int, rejects: int, before: str = "") -> None:
    """Tables that nobody curated, all of whose texts are `text`; in those of rejected rows there is more before it."""
    said = (Message("system", text), Message("user", text), Message("assistant", text))
    profiles, dialogues, instructions, answers, judgments = [], [], [], [], []
    for number in range(characters):
        who = content_id("character", str(number))
        profiles.append(ok_row(Profile(who, text, text, "34", text, text, text, text, text, text, text, "English")))
        for turn in range(4):
            asked = content_id("asked", str(number), str(turn))
            instructions.append(ok_row(Instruction(asked, "x", said[1:], 0, number)))
            dialogues.append(ok_row(Dialogue(content_id(who, asked), "generate", "x", asked, who, said)))
        ids = {"candidate": "c", "persona_id": who, "task": "Toxicity", "question_id": content_id("q", who)}
        answers.append(ok_row(Answer(**ids, persona=text, question=text, answer=text, truncated=False)))
        judge = {"judge": "j", "score": Score(3), "expected_score": None, "reasoning": text}
        judgments.append(ok_row(Judgment(**ids, **judge)))
    for number in range(rejects):
        detail = f"{before}{text} {number}"
        dialogues.append(rejected_row(Reject(f"reason {number % 9}", detail), {"dialogue_id": content_id(str(number))}))
    Table(output, "profiles").write("00000", profiles, PROFILES)
    Table(output, "instructions/x").write("00000", instructions, INSTRUCTIONS)
    Table(output, "dialogues/generate-x").write("00000", dialogues, DIALOGUES)
    Table(output, "evaluation/c/answers").write("00000", answers, ANSWERS)
    Table(output, "evaluation/c/judgments/j").write("00000", judgments, JUDGMENTS)
    refused = rejected_row(Reject("wrong_roles", text), {"source": 0, "row": 1})
    Table(output, "personas").write(f"{REJECTED}0000", [refused], PERSONAS)


def test_no_personal_datum_is_shown_whether_or_not_it_was_examined(tmp_path):
    run = SmallRun(str(tmp_path / "run"))
    write_run(run.output, PERSONAL, characters=2, rejects=12, before="x " * 1990)  # where the text is cut
    told = json.dumps(shown(run.config()))
    assert not [datum for datum in DATA if datum in told or datum[:14] in told]
    assert "Ada writes from [e-mail address], calls from [telephone number] and pays with [payment card]." in told


def test_what_the_config_does_not_ask_about_is_shown(tmp_path):
    run = SmallRun(str(tmp_path / "run"))
    write_run(run.output, PERSONAL, characters=1, rejects=0)
    told = json.dumps(shown(run.config(safety={"personal_data": ["email"]})))
    assert [datum in told for datum in DATA] == [False, True, True]
    assert DATA[0] in json.dumps(shown(run.config(safety={"personal_data": []})))


def test_a_page_of_nothing_but_marks_stays_under_20_mb(tmp_path):
    run = SmallRun(str(tmp_path / "run"))
    write_run(run.output, MARKUP, characters=60, rejects=300)
    data = shown(run.config())
    page = render(data)
    assert 10e6 < len(page) < 20e6
    assert data["characters"]
    assert data["dialogues"]["cases"]
    assert data["dialogues"]["rejected"]
    told = "\n".join(data["problems"])
    for what in ("profiles", "dialogues", "rejected rows"):
        assert f"{what}: " in told
        assert "sampled ones are left out to keep this page small" in told


@pytest.fixture
def trained_elsewhere(tmp_path) -> RunConfig:
    """A run that trains on another one's dialogues."""
    other = whole_run(str(tmp_path / "other"))
    run = SmallRun(str(tmp_path / "run"))
    for name in ("packed", "checkpoints", "evaluation"):
        (tmp_path / "run").mkdir(exist_ok=True)
        Path(other.output, name).rename(tmp_path / "run" / name)
    return run.config(training={"data": other.output}, instructions=[])


def test_a_run_shows_the_data_of_another_that_it_trains_on(trained_elsewhere):
    data = shown(trained_elsewhere)
    steps = {row["table"]: row["finished"] for row in data["overview"]["steps"]}
    assert all(steps[name] for name in ("profiles", "curated/train", "packed/train"))
    assert [one["name"] for one in data["characters"]]
    assert data["dialogues"]["cases"]
    assert data["data_of"].endswith("other")
    assert {note["command"] for note in data["missing"]} <= {"make train", "make eval"}


def test_what_is_missing_of_the_other_run_is_not_for_this_one_to_make(trained_elsewhere):
    other = Path(trained_elsewhere.training.data)
    for split in ("train", "validation"):
        (other / f"curated/{split}/.manifest.json").unlink()
    (note,) = [one for one in shown(trained_elsewhere)["missing"] if one["text"].startswith("Curated")]
    assert note["command"] == ""
    assert f"the run of {other}" in note["text"]


def test_data_that_are_not_there_are_told(trained_elsewhere, tmp_path):
    Path(trained_elsewhere.training.data).rename(tmp_path / "gone")
    data = shown(trained_elsewhere)
    assert any(one.startswith("training.data ") for one in data["problems"])
    assert [one["command"] for one in data["missing"] if one["text"].startswith("Curated")] == [""]
    (tmp_path / "run").rename(tmp_path / "gone too")
    with pytest.raises(InputError, match=r"nor does training\.data .*; make train makes its first"):
        shown(trained_elsewhere)
