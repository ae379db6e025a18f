"""A killed run goes on: every row once, nothing finished done again."""

import json
import time
from pathlib import Path

import psutil
import pytest

from factory.storage import file_io
from tests.integration.runs import PROJECT

TABLES = ("profiles", "dialogues/generate-samples", "dialogues/rewrite-samples")
IDS = {"profiles": "character_id"}
PERSONAS = 200


def settings() -> dict:
    replies = [
        {"contains": "number 7", "reply": "not json"},
        {"contains": "number 11", "truncated": True},
        {"contains": "assistant replies to rewrite", "reply": json.dumps({"replies": ["as Ada would say it"]})},
    ]
    profile = {"name": "Ada", "age": "34", "gender": "f", "race": "Black", "birth_place": "Lagos"}
    profile |= {
        "appearance": "Tall, with short hair and a floured apron.",
        "experience": "Her aunt taught her to bake, and she opened a shop at thirty.",
        "personality": "Warm and dry, she talks in short sentences.",
    }
    return {
        "engine": {"kind": "scripted", "replies": replies, "default": json.dumps(profile), "delay_s": 0.05}
        | {"max_concurrency": 8},
        "instructions": [{"corpus": "samples", "source": str(PROJECT / "data" / "instructions.jsonl")}],
        "dialogues": {"strategies": ["generate", "rewrite"]},
    }


def ids(run, name: str) -> list[str]:
    return sorted(row[IDS.get(name, "dialogue_id")] for row in run.rows(name))


def finished_shards(run, name: str) -> dict[str, object]:
    """The shards of a table that are there, with what tells whether they were written again."""
    table = run.table(name)
    fs, _ = file_io.filesystem(table.path)
    infos = {shard: fs.info(file_io.filesystem(f"{table.path}/{shard}.parquet")[1]) for shard in table.shards()}
    return {shard: info.get("LastModified") or info["mtime"] for shard, info in infos.items()}


@pytest.fixture(scope="module")
def calm(make_module_run):
    """The same run without a disturbance; ids do not depend on the place."""
    run = make_module_run("calm", PERSONAS, **settings())
    run.config["engine"]["delay_s"] = 0
    run.finish()
    return run


MOMENTS = (("profiles", 2), ("profiles", 7), ("dialogues/rewrite-samples", 2))


@pytest.mark.parametrize(
    ("place", "moments"),
    [
        ("local", MOMENTS[1:2]),
        pytest.param("local", MOMENTS, marks=pytest.mark.slow),
        pytest.param("s3", MOMENTS, marks=pytest.mark.slow),
    ],
)
def test_a_driver_killed_at_some_moments_loses_and_repeats_nothing(place, moments, calm, make_run, request, shared_ray):
    output = request.getfixturevalue("s3") if place == "s3" else None
    shaken = make_run("shaken", PERSONAS, output, **settings()).alone()
    survivors, children = {}, set()
    for name, shards in moments:

        def ready(name: str = name, shards: int = shards) -> bool:
            children.update(descendants(shaken.processes[-1].pid))
            return len(shaken.table(name).shards()) >= shards

        shaken.kill_when(ready)
        assert still_running(children) == []
        survivors = {table: finished_shards(shaken, table) for table in TABLES}
    shaken.environment.update(shared_ray)  # a run may go on elsewhere
    shaken.finish()

    for name in TABLES:
        assert ids(shaken, name) == ids(calm, name)
        assert len(set(ids(shaken, name))) == len(ids(shaken, name))
        assert shaken.reasons(name) == calm.reasons(name)
        manifest = shaken.table(name).manifest()
        assert manifest["rows_in"] == manifest["ok"] + sum(manifest["rejected"].values()) == len(ids(shaken, name))
        after = finished_shards(shaken, name)
        assert {shard: after[shard] for shard in survivors[name]} == survivors[name]
    assert calm.reasons("profiles")["invalid_reply"] > 0
    assert calm.reasons("profiles")["truncated"] > 0


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def still_running(processes: set[psutil.Process]) -> list[str]:
    """Names of those that have not ended in half a minute, but for Ray's agents, which take a whole one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        names = [name for process in processes if (name := running_name(process)) and "Agent" not in name]
        if not names:
            break
        time.sleep(0.2)
    return names


def running_name(process: psutil.Process) -> str | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.NoSuchProcess:
        return None


@pytest.mark.slow
def test_a_finished_run_is_skipped_and_a_changed_setting_starts_a_new_table(make_run):
    run = make_run("again", 60, **settings())
    run.config["engine"]["delay_s"] = 0
    run.finish()
    before = {name: finished_shards(run, name) for name in TABLES}

    # Other sampling makes other dialogues; the same personas out of another file are the same content.
    run.config["dialogues"]["sampling"] = {"temperature": 0.9}
    elsewhere = Path(run.config["personas"]["source"]).with_name("copy.jsonl")
    elsewhere.write_bytes(Path(run.config["personas"]["source"]).read_bytes())
    run.config["personas"]["source"] = str(elsewhere)
    run.finish()
    assert finished_shards(run, "profiles") == before["profiles"]
    assert set(ids(run, TABLES[1])).isdisjoint(archived_ids(run))
    assert len(ids(run, TABLES[1])) == len(archived_ids(run)) == 60 * 3

    before = {name: finished_shards(run, name) for name in TABLES}
    assert "skipped" in run.finish()
    assert {name: finished_shards(run, name) for name in TABLES} == before


@pytest.mark.slow
def test_unfinished_profiles_start_anew_where_refused_rows_cut_the_personas_anew(make_run):
    run = make_run("recut", 33)
    run.finish()
    assert len(run.table("profiles").shards()) == 3
    file_io.delete_file(f"{run.table('profiles').path}/.manifest.json")  # as a killed run leaves it
    with Path(run.config["personas"]["source"]).open("a") as file:
        file.write("-\n" * 17_400)
    run.finish()
    assert run.reasons("personas") == {"ok": 33, "invalid_json": 17_400}
    assert len(run.table("profiles").shards()) == 2
    assert len(ids(run, "profiles")) == len(set(ids(run, "profiles"))) == 33


def archived_ids(run) -> list[str]:
    import pyarrow.parquet as pq

    folders = Path(run.output, "archive").glob("dialogues-generate-samples-*")
    return [
        i
        for folder in folders
        for file in folder.glob("*.parquet")
        for i in pq.read_table(file)["dialogue_id"].to_pylist()
    ]
