"""Population figures of real runs: the same after a kill, and the same as counted from the tables' rows."""

import json
import random
from collections import Counter

import pytest

from factory.config import Alarms
from factory.population.cast_figures import BandCounts, CastFigures, text_bands
from factory.population.table_passes import cast_fields
from factory.storage.tables import Table
from tests.drawn_cast import copied, table_of
from tests.integration.runs import GOOD_PROFILE

PEOPLE, INSTRUCTIONS = 120, 60
LISTEN = "Listen, my love: "
WORDS = ["bread", "oven", "flour", "street", "snow", "morning", "boots", "knead", "loaf", "warm", "cold", "winter"]
DRAW = {"mood": {"calm": 1, "irritable": 1}, "temper": {"warm": 1, "cold": 1}}


def spoken(number: int) -> str:
    """Return the reply to an instruction; every third one is too short."""
    said = " ".join(random.Random(number).choices(WORDS, k=60))
    return "Oh." if number % 3 == 0 else f"{LISTEN}I would say the {said} and all of it is mine."


@pytest.fixture
def settings(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    turns = [f"Tell me of day {number:03}, please." for number in range(INSTRUCTIONS)]
    rows = [{"messages": [{"role": "user", "content": turn}]} for turn in turns]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replies = [{"contains": turn, "reply": spoken(number)} for number, turn in enumerate(turns)]
    irritable = {"contains": "mood: irritable", "reply": "no"}
    return {
        "engine": {"kind": "scripted", "replies": [*replies, irritable], "default": json.dumps(GOOD_PROFILE),
                   "delay_s": 0.3, "max_concurrency": 16},
        "instructions": [{"corpus": "days", "source": str(corpus)}],
        "dialogues": {"strategies": ["generate"], "characters_per_instruction": 2},
        "curation": {"near_duplicates": {"threshold": None}},
    }  # fmt: skip


def strata_of(rows: list[dict], accepted: list[bool], strata: list[str]) -> dict:
    counts: dict[str, dict[str, list[int]]] = {}
    for is_ok, text in zip(accepted, strata, strict=True):
        for name, value in json.loads(text).items():
            counts.setdefault(name, {}).setdefault(value, [0, 0])[not is_ok] += 1
    return counts


def test_figures_of_a_killed_run_are_those_of_an_undisturbed_one(make_run, settings):
    calm, shaken = (make_run(name, PEOPLE, **settings) for name in ("calm", "shaken"))
    for run in (calm, shaken):
        run.config["personas"]["draw"] = DRAW
    shaken.kill_when(lambda: len(shaken.table("profiles").shards()) >= 3)
    logs = [run.finish() for run in (calm, shaken)]

    figures = [run.table("profiles").manifest()["population"] for run in (calm, shaken)]
    assert figures[0] == figures[1]
    rows = calm.rows("profiles")
    accepted = [row["status"] == "ok" for row in rows]
    number = sum(accepted)
    assert figures[0]["strata"] == strata_of(rows, accepted, [row["strata"] for row in rows])
    assert figures[0]["rows"] == figures[0]["sampled"] == number
    assert figures[0]["near_duplicates"] == {"number": number, "of": number}
    assert figures[0]["top"]["full_name"] == {"of": number, "values": [["ada oduya", number]]}
    for log in logs:
        alarms = [line for line in log.splitlines() if line.startswith("Alarm: profiles: ")]
        assert [line.partition("(alarms.")[2].partition(":")[0] for line in alarms] == [
            "full_name", "birth_place", "near_duplicates", "stratum_rejects"]  # fmt: skip

    logs = [run.finish(job="curate") for run in (calm, shaken)]
    curated = [run.table("curated/train").manifest()["population"] for run in (calm, shaken)]
    assert curated[0] == curated[1]
    strata = {row["character_id"]: row["strata"] for row in rows}
    dialogues = [row for split in ("train", "validation") for row in calm.rows(f"curated/{split}")]
    kept = [row["status"] == "ok" for row in dialogues]
    assert curated[0]["strata"] == strata_of(dialogues, kept, [strata[row["character_id"]] for row in dialogues])
    assert Counter(row["reason"] for row in dialogues)["too_short"] == 2 * INSTRUCTIONS // 3
    assert curated[0]["top"]["opening"] == {"of": sum(kept), "values": [["listen my love", sum(kept)]]}
    assert curated[0]["no_first_person"] == {"number": 0, "of": sum(kept)}
    (alarm,) = [line for line in logs[0].splitlines() if line.startswith("Alarm: ")]
    assert alarm.endswith("'listen my love' (alarms.opening: 5.0%)")


def test_alarms_that_are_off_are_not_printed(make_run):
    run = make_run("off", 40, alarms={"full_name": None, "birth_place": None, "near_duplicates": None})
    log = run.finish()
    assert "Alarm: " not in log
    assert run.table("profiles").manifest()["alarms"] == []


def test_near_duplicates_of_sampled_profiles_are_found_in_other_shards(session, tmp_path):
    rows = [copied(number) | {"experience": "", "personality": ""} for number in range(5000)]
    table = Table(str(tmp_path), "profiles")
    for start in range(0, len(rows), 500):
        table.write_arrow(f"{start:05}", table_of(rows[start : start + 500]))
    made = cast_fields(Alarms(), table)

    whole = CastFigures()
    whole.add(table_of(rows))
    bands = BandCounts.of(whole.sampled_bands())
    bands.add(text_bands([str(row["appearance"]) for row in rows]))
    assert made["population"] == whole.to_manifest(bands)
    sampled, repeated = whole.sample.limit, made["population"]["near_duplicates"]
    assert repeated["of"] == sampled
    assert repeated["number"] / sampled == pytest.approx(1 / 2, abs=0.03)
    (alarm,) = made["alarms"]
    assert "have a near-duplicate" in alarm
