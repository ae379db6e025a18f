"""The store of scores: what is kept of each run, and which scores stand in one table."""

import json

import pytest

from factory.evaluation.score_store import append_scores, read_store, store_leaderboard, write_leaderboard
from tests.made_scores import scores_of


def document(**changes: object) -> dict:
    scores = scores_of(20)
    scores["benchmark"] |= {key: value for key, value in changes.items() if key in ("digest", "frozen")}
    return scores | {key: value for key, value in changes.items() if key in ("protocol", "judge_protocol")}


def append(folder, scores: dict) -> str:
    return append_scores(str(folder), "runs/mine", json.dumps(scores).encode())


def test_scores_are_added_once_and_never_changed(tmp_path):
    first = append(tmp_path, document())
    written = (tmp_path / "scores").joinpath(first.rpartition("/")[2]).read_text()
    assert append(tmp_path, document()) == first
    second = append(tmp_path, document(digest="other"))
    assert second != first
    assert len(list((tmp_path / "scores").iterdir())) == 2
    assert (tmp_path / "scores").joinpath(first.rpartition("/")[2]).read_text() == written
    assert json.loads(written) == {"output": "runs/mine", "scores": document()}


@pytest.mark.parametrize(
    "change", [{"digest": "other"}, {"frozen": "f1"}, {"protocol": "full"}, {"judge_protocol": "opencharacter"}]
)
def test_only_scores_that_were_asked_the_same_stand_in_one_table(tmp_path, change):
    append(tmp_path, document())
    append(tmp_path, document(**change))
    page = store_leaderboard(read_store(str(tmp_path)))
    assert page.count("| candidate | model |") == 2  # the two judges have one model
    assert page.count("| tuned |") == 2


def test_a_table_is_ordered_by_the_pscore_and_shows_the_newest(tmp_path):
    append(tmp_path, document())
    newer = document()
    for judged in newer["candidates"][0]["by_judge"].values():
        judged["pscore"]["mean"] = 4.9
    append(tmp_path, newer)
    names = sorted(file.name for file in (tmp_path / "scores").iterdir())
    assert len(names) == 2
    path = write_leaderboard(str(tmp_path))
    assert path == f"{tmp_path}/leaderboard.md"
    text = (tmp_path / "leaderboard.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| base", "| tuned"))]
    assert [row[0] for row in rows] == ["| base", "| tuned"]
    assert rows[0][7].startswith("4.90 [")


def test_a_file_that_is_no_document_is_left_alone(tmp_path):
    append(tmp_path, document())
    for name, content in (("a.json", "[]"), ("b.json", "{"), ("c.json", '{"scores": {"benchmark": 1}}')):
        (tmp_path / "scores" / name).write_text(content)
    assert {one.candidate for one in read_store(str(tmp_path))} == {"base", "tuned"}


def test_names_in_the_page_stay_text(tmp_path):
    scores = document()
    scores["candidates"][0]["name"] = "a|b"
    scores["benchmark"]["name"] = "# [x](y)\n<script>"
    append(tmp_path, scores)
    page = store_leaderboard(read_store(str(tmp_path)))
    assert "<script>" not in page.replace("\\<", "")
    assert "a\\|b" in page
