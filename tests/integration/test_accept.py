"""A run gives exactly as many accepted rows as it is asked for, whatever happens to it."""

import json
import random

import pytest

from tests.integration.runs import GOOD_PROFILE

GENERATE = "dialogues/generate-large"
REPLIES = [
    {"contains": "number 11", "truncated": True},
    {"contains": "(hard)", "truncated": True},
    {"contains": "(odd)", "reply": ""},
]


def corpus(folder, name: str, rows: int) -> dict:
    """Write instructions, of which about a third get a reply that is rejected."""
    path = folder / f"{name}.jsonl"
    marks = [" (hard)" * (n % 5 == 0) + " (odd)" * (n % 7 == 0) for n in range(rows)]
    turns = [{"role": "assistant", "content": "Knead the dough."}]
    users = [{"role": "user", "content": f"How does {name} bread {n} rise?{mark}"} for n, mark in enumerate(marks)]
    path.write_text("".join(json.dumps({"messages": [user, *turns]}) + "\n" for user in users))
    return {"corpus": name, "source": str(path)}


def settings(*corpora: dict, **accept: object) -> dict:
    engine = {"kind": "scripted", "replies": REPLIES, "default": json.dumps(GOOD_PROFILE)}
    return {"engine": engine, "instructions": list(corpora), "accept": accept}


def accepted(run, name: str) -> list[str]:
    return sorted(row["dialogue_id"] for row in run.rows(name) if row["status"] == "ok")


def check_manifest(run, name: str, count: int) -> dict:
    manifest, rows = run.table(name).manifest(), run.rows(name)
    assert manifest["ok"] == count == sum(row["status"] == "ok" for row in rows)
    assert manifest["rows_in"] == len(rows) == count + sum(manifest["rejected"].values())
    assert {row["reason"] for row in rows} - {None} == set(manifest["rejected"])
    return manifest


@pytest.mark.slow  # five runs
def test_kills_and_replicas_do_not_change_the_accepted_rows(make_run, tmp_path, shared_ray):
    large = corpus(tmp_path, "large", 300)
    calm = make_run("calm", 40, **settings(large, profiles=30, dialogues=500))
    calm.finish()
    shaken = make_run("shaken", 40, **settings(large, profiles=30, dialogues=500)).alone()
    shaken.config["engine"] |= {"replicas": [3, 3], "max_concurrency": 4, "delay_s": 0.1, "delay_sigma": 0.8}
    for shards in sorted(random.Random(23).sample(range(1, 14), 3)):
        shaken.kill_when(lambda shards=shards: len(shaken.table(GENERATE).shards()) >= shards)
    shaken.environment.update(shared_ray)
    shaken.finish()

    assert accepted(shaken, GENERATE) == accepted(calm, GENERATE)
    assert len(set(accepted(calm, GENERATE))) == 500
    for run in (calm, shaken):
        manifest = check_manifest(run, GENERATE, 500)
        print(manifest["rejected"], manifest["not_started"])
        assert manifest["rows_in"] + manifest["not_started"] == 900
        assert manifest["rejected"].get("not_needed", 0) < 3 * 30  # a shard holds a whole character
        check_manifest(run, "profiles", 30)


def test_each_corpus_has_its_number_and_a_higher_one_goes_on(make_run, tmp_path):
    corpora = corpus(tmp_path, "large", 60), corpus(tmp_path, "small", 30)
    run = make_run("two", 20, **settings(*corpora, dialogues={"generate-large": 50, "generate-small": 41}))
    run.finish()
    check_manifest(run, GENERATE, 50)
    check_manifest(run, "dialogues/generate-small", 41)
    first = accepted(run, GENERATE)

    run.config["accept"]["dialogues"]["generate-large"] = 52  # some are there: they were not needed
    run.finish()
    check_manifest(run, GENERATE, 52)
    assert set(first) < set(accepted(run, GENERATE))

    run.config["accept"]["dialogues"]["generate-large"] = 170
    assert run.start().wait(300) == 1
    last = run.log().splitlines()[-1]
    assert last.startswith("error: all input is used, and dialogues/generate-large has ")
    assert " of 170 accepted rows (yield " in last
    assert "truncated " in last
    assert "empty_reply " in last
    assert len(run.rows(GENERATE)) == 180
    reasons = run.reasons(GENERATE)
    possible = reasons["ok"] + reasons["not_needed"]  # those of 52 are marked until the table is finished again
    assert f"has {possible} of 170" in last

    run.config["accept"]["dialogues"] = {"generate-large": 50, "generate-small": 41}
    run.finish()
    assert accepted(run, GENERATE) == first
    assert run.reasons(GENERATE)["not_needed"] == possible - 50


def test_budget_that_ends_before_the_number_is_one_line(make_run, tmp_path):
    run = make_run("poor", 20, **settings(corpus(tmp_path, "large", 60), dialogues=100))
    run.config["budget"] = {"rows": 84}
    assert run.start().wait(300) == 1
    last = run.log().splitlines()[-1]
    assert last.startswith("stopped: budget.rows is reached with ")
    assert f"{GENERATE} has {len(accepted(run, GENERATE))} of 100 accepted rows (yield " in last
    assert last.endswith("raise it, and the same command goes on with the rest")
    del run.config["budget"]
    run.finish()
    check_manifest(run, GENERATE, 100)
