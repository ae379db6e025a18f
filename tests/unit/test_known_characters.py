"""The characters that the playground offers."""

import json

from factory.config import RunConfig
from factory.playground.known_characters import MAX_CHARACTERS, known_characters
from factory.records import Persona, Reject
from factory.run_output import layout
from factory.runtime.build_table import COPIED
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import PROFILES
from factory.synthesis.given.given_rows import read_given
from factory.synthesis.profiles import LABELS
from tests.made_cards import made_card, made_profile


def config(folder) -> RunConfig:
    """Return the config of a run with a file of 40 profiles and a card."""
    rows = [made_profile(number) for number in range(40)] + [made_card(1)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunConfig.model_validate({"output": str(folder / "run"), "profiles": {"source": str(folder / "a.jsonl")}})


def write(run: RunConfig, shard: str, numbers: range, origin: str) -> None:
    """Write a shard of profiles, with a rejected row."""
    rows = [ok_row(read_given(made_profile(number), "English")) | {"origin": origin} for number in numbers]
    rows.append(rejected_row(Reject("empty_field", "x"), {"character_id": "0" * 16}))
    layout.PROFILES.table(run.output).write(shard, rows, PROFILES)


def test_before_a_run_the_source_is_offered(tmp_path):
    found = known_characters(config(tmp_path))
    assert len(found) == MAX_CHARACTERS
    assert all(one.is_given for one in found)
    first = read_given(made_profile(0), "English")
    assert found[0].persona == Persona(first.character_id, first.persona)
    assert (found[0].profile, found[0].items) == (first.profile, tuple(getattr(first, name) for name in LABELS))
    assert known_characters(RunConfig(output=str(tmp_path / "none"))) == []


def test_given_characters_come_first_and_leave_room(tmp_path):
    run = config(tmp_path)
    write(run, "0000-00000", range(100, 120), "generated")
    write(run, f"{COPIED}0000-00000", range(30), "given")
    assert [one.is_given for one in known_characters(run)] == [True] * 16 + [False] * 8
    (tmp_path / "few").mkdir()
    few = config(tmp_path / "few")
    write(few, "0000-00000", range(100, 103), "generated")
    write(few, f"{COPIED}0000-00000", range(30), "given")
    assert [one.is_given for one in known_characters(few)] == [True] * 21 + [False] * 3


def test_labels_are_short(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(made_card(1, name="N" * 300, description="word " * 400)))
    run = RunConfig.model_validate({"output": str(tmp_path), "profiles": {"source": str(tmp_path / "a.jsonl")}})
    (one,) = known_characters(run)
    name, persona = one.label.split("\n")
    assert len(name) < 90
    assert persona.endswith("word ...")
