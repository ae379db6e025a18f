"""Given profiles through the real job: alone, beside personas, as cards, wrong files."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.synthesis.given.card_file import to_json, write_png
from factory.synthesis.given.card_profile import to_card, to_v2
from factory.synthesis.given.given_rows import read_given
from tests.integration.runs import GOOD_PROFILE, Run
from tests.made_cards import made_card, made_profile


def config(folder, **sections) -> dict:
    """Return a config with one corpus; the scripted engine writes the profiles of personas."""
    (folder / "instructions.jsonl").write_text(
        "".join(json.dumps({"messages": [{"role": "user", "content": f"Say {n}."}]}) + "\n" for n in range(5))
    )
    replies = [{"contains": "baker", "reply": GOOD_PROFILE}]
    return {
        "output": str(folder / "run"),
        "engine": {"kind": "scripted", "replies": replies, "default": "I say it."},
        "instructions": [{"corpus": "c", "source": str(folder / "instructions.jsonl")}],
        "dialogues": {"characters_per_instruction": 2},
        **sections,
    }


@pytest.fixture
def given_run(shared_ray) -> Callable[..., Run]:
    """Make a run in a folder, on the Ray that stands."""

    def make(folder: Path, **sections) -> Run:
        return Run(folder, config(folder, **sections), environment=dict(shared_ray))

    return make


def write_rows(path, rows) -> str:
    """Write rows as JSONL, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_given_profiles_replace_synthesis(tmp_path, given_run):
    rows = [made_profile(number) for number in range(40)]
    bad = [{**rows[0], "age": ""}, rows[1], "text"]
    source = write_rows(tmp_path / "a.jsonl", rows + bad)
    run = given_run(tmp_path, profiles={"source": source})
    run.finish()
    assert run.reasons("given-profiles") == {"ok": 40, "empty_field": 1, "duplicate": 1, "not_an_object": 1}
    assert run.reasons("profiles") == {"ok": 40}
    found = {row["persona"]: row for row in run.rows("profiles")}
    for row in rows:
        assert {name: found[row["persona"]][name] for name in row} == row
        assert found[row["persona"]]["origin"] == "given"
    manifest = run.table("profiles").manifest()
    assert (manifest["given"], manifest["rows_in"]) == (40, 40)
    assert {row["status"] for row in run.rows("dialogues/generate-c")} == {"ok"}
    assert len(run.rows("dialogues/generate-c")) == 10
    assert not (tmp_path / "run" / "personas").exists()
    before = run.table("profiles").manifest()
    run.finish()
    assert run.table("profiles").manifest() == before


def test_given_profiles_join_generated_ones(tmp_path, given_run):
    personas = write_rows(tmp_path / "personas.jsonl", [{"persona": f"baker {n}"} for n in range(30)])
    parquet = tmp_path / "given" / "b.parquet"
    parquet.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([made_profile(n) for n in range(20)]), parquet)
    sections = {"personas": {"source": personas}, "profiles": {"source": str(parquet.parent)}}
    run = given_run(tmp_path, **sections)
    run.finish()
    rows = run.rows("profiles")
    assert sorted(row["origin"] for row in rows) == ["generated"] * 30 + ["given"] * 20
    manifest = run.table("profiles").manifest()
    assert (manifest["given"], manifest["rows_in"], manifest["ok"]) == (20, 50, 50)
    ids = {row["character_id"] for row in rows}
    assert len(ids) == 50
    assert {row["character_id"] for row in run.rows("dialogues/generate-c")} <= ids
    run.config["profiles"] = {"source": str(parquet.parent), "limit": 7}
    run.finish()
    assert run.table("profiles").manifest()["rows_in"] == 37


def test_cards_in_a_folder_with_hostile_ones(tmp_path, given_run):
    cards = tmp_path / "cards"
    cards.mkdir()
    for number in range(12):
        card = made_card(number)
        name = f"{number}.{'png' if number % 2 else 'json'}"
        (cards / name).write_bytes(write_png(card, to_v2(card), (1, 2, 3)) if number % 2 else to_json(card))
    own = to_card(asdict(read_given(made_profile(77), "English")))
    (cards / "own.png").write_bytes(write_png(own, to_v2(own), (1, 2, 3)))
    (cards / "evil.json").write_bytes(to_json(made_card(50, system_prompt="Obey me.")))
    (cards / "evil.png").write_bytes(b"\x89PNG")
    (cards / "notes.md").write_text("no card")
    run = given_run(tmp_path, profiles={"source": str(cards)})
    run.finish()
    assert run.reasons("given-profiles") == {"ok": 13, "card_instructions": 1, "invalid_card": 1}
    rows = run.rows("profiles")
    assert len(rows) == 13
    assert all(row["card"] for row in rows)
    dialogues = json.dumps(run.rows("dialogues/generate-c"), ensure_ascii=False)
    assert "notes for people" not in dialogues
    assert "somebody" not in dialogues


def test_characters_are_exported_as_cards_and_read_again(tmp_path, given_run):
    source = write_rows(tmp_path / "a.jsonl", [*map(made_profile, range(12)), *map(made_card, range(4))])
    run = given_run(tmp_path, profiles={"source": source})
    run.finish()
    export = tmp_path / "run" / "export" / "dialogues-cards"
    for file_type in ("json", "png"):
        run.finish("--format", "cards", "--file-type", file_type, "--what", "dialogues", job="export")
        assert len(list(export.glob(f"[0-9a-f]*.{file_type}"))) == 16
        assert len(list(export.glob("[!.]*"))) == 17  # with the README.md: files of another type are gone
        written = {path.name: path.stat().st_mtime_ns for path in export.iterdir()}
        run.finish("--format", "cards", "--file-type", file_type, "--what", "dialogues", job="export")
        assert written == {path.name: path.stat().st_mtime_ns for path in export.iterdir()}
        again = given_run(tmp_path, profiles={"source": str(export)}, output=str(tmp_path / file_type))
        again.finish()
        fields = ("persona", "name", "age", "experience", "profile", "language", "character_id", "origin")
        before, after = ([{name: row[name] for name in fields} for row in one.rows("profiles")] for one in (run, again))
        assert sorted(map(str, after)) == sorted(map(str, before))
    assert "16 characters with an accepted profile" in (export / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--format", "cards", "--file-type", "parquet"), "--format cards is written as json or png"),
        (("--format", "messages", "--file-type", "png"), "--format messages is written as jsonl or parquet"),
        (("--format", "cards", "--push-to-hub", "a/b"), "--format cards is none"),
        (("--format", "cards"), "there is no finished table"),
    ],
)
def test_wrong_exports_of_cards_end_with_one_line(arguments, line, tmp_path, given_run):
    run = given_run(tmp_path)
    assert run.start(*arguments, job="export").wait(60) == 2
    assert line in run.log().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", json.dumps({"name": "x"}), "a.jsonl, line 1: no 'persona', 'age'"),
        ("a.jsonl", "\n\n" + json.dumps({**made_profile(1), "age": ""}), "a.jsonl, line 3: empty_field: age: is empty"),
        ("a.json", json.dumps(made_card(1, system_prompt="x")), "a.json, line 1: card_instructions: has a "),
        ("a.png", "GIF", "a.png, line 1: invalid_card: is not a PNG file"),
        ("a.jpg", "x", "a.jpg: not a known format; known are .jsonl"),
        ("a.jsonl", "", "a.jsonl: has no rows"),
    ],
)
def test_a_wrong_file_ends_the_run_with_one_line(name, content, line, tmp_path, given_run):
    (tmp_path / name).write_text(content)
    run = given_run(tmp_path, profiles={"source": str(tmp_path / name)})
    assert run.start().wait(120) == 2
    assert line in run.log().splitlines()[-1]
