"""Whole runs that ask in batches: kill -9 and SIGTERM while some are open, and every question paid once."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.batch_server import batch_log, set_batch_rules
from tests.integration.endpoint_client import KEY_ENV
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import Run

PERSONAS = 40
DIALOGUES = ("dialogues/generate-short", "dialogues/generate-long")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.stop()


def write_instructions(folder: Path, corpus: str, turns: int) -> dict[str, str]:
    rows = []
    for n in range(12):
        talk = [
            {"role": role, "content": f"{corpus} {n} {t} {role}"}
            for t in range(turns)
            for role in ("user", "assistant")
        ]
        rows.append(json.dumps({"messages": talk}))
    (folder / f"{corpus}.jsonl").write_text("\n".join(rows))
    return {"corpus": corpus, "source": str(folder / f"{corpus}.jsonl")}


def open_batches(server: OpenAIServer) -> int:
    return sum(batch["status"] == "in_progress" for batch in batch_log(server.base_url)["batches"])


def temporary_files(run: Run) -> list[str]:
    return [path.name for path in Path(run.output, "_tmp").rglob("*") if path.is_file()]


@pytest.mark.slow  # three runs of a minute together
def test_a_run_that_is_killed_and_stopped_pays_every_question_of_its_tables_once(make_run, server, tmp_path):
    engine = {"kind": "openai", "model": "small-chat", "base_url": server.base_url, "api_key_env": KEY_ENV}
    engine |= {"batch": True, "batch_poll_s": [0.1, 0.5]}
    corpora = [write_instructions(tmp_path, "short", 1), write_instructions(tmp_path, "long", 2)]
    dialogues = {"strategies": ["generate"], "characters_per_instruction": 3}
    run = make_run("batches", PERSONAS, engine=engine, instructions=corpora, dialogues=dialogues)
    run.environment[KEY_ENV] = KEY

    set_batch_rules(server.base_url, polls=0)
    run.kill_when(lambda: open_batches(server) == 3)
    set_batch_rules(server.base_url, polls=2)
    process = run.start_until(lambda: open_batches(server) >= 1 and run.table("profiles").manifest())
    set_batch_rules(server.base_url, polls=0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    last = run.log().splitlines()[-1]
    assert "batches at small-chat go on there and are paid; the same command goes on with the rest" in last
    set_batch_rules(server.base_url, polls=2)
    run.finish()

    assert run.reasons("profiles") == {"ok": PERSONAS}
    assert [run.reasons(name) for name in DIALOGUES] == [{"ok": 36}, {"ok": 36}]
    log = batch_log(server.base_url)
    paid = Counter(json.dumps(line["messages"]) for line in log["paid"])
    assert (len(paid), set(paid.values())) == (PERSONAS + 36 + 72, {1})
    assert log["files"] == temporary_files(run) == []
    assert server.requests() == []


@pytest.mark.slow  # two runs of half a minute
def test_answers_and_verdicts_in_batches_are_paid_once_and_equal_direct_ones(make_run, server):
    endpoint = {"kind": "openai", "model": "small-chat", "base_url": server.base_url, "api_key_env": KEY_ENV}
    batches = {**endpoint, "batch": True, "batch_poll_s": [0.1, 0.5]}
    settings = {
        "protocol": "light", "limit": 3, "general": False,
        "candidates": [{"name": "one", **batches}, {"name": "two", **batches, "model": "small-chat-mini"}],
        "judges": [{"name": "later", **batches}, {"name": "now", **endpoint}], "example_writer": "later",
    }  # fmt: skip
    run = make_run("judged", evaluation=settings)
    run.environment[KEY_ENV] = KEY

    set_batch_rules(server.base_url, polls=2)
    judged = run.table("evaluation/one/judgments/now")
    run.kill_when(lambda: judged.manifest() and open_batches(server), job="evaluate")
    run.finish(job="evaluate")

    for candidate in ("one", "two"):
        later, now = (run.rows(f"evaluation/{candidate}/judgments/{judge}") for judge in ("later", "now"))
        assert [row["status"] for row in later] == ["ok"] * 15
        assert [(row["question_id"], row["score"]) for row in later] == [
            (row["question_id"], row["score"]) for row in now
        ]
    paid = Counter(json.dumps([line["model"], line["messages"]]) for line in batch_log(server.base_url)["paid"])
    # 2 x 15 answers, 15 sets of example replies, 2 x 15 verdicts: equal answers are asked about in equal words.
    assert sum(paid.values()) == 75
    assert max(paid.values()) <= 2
    assert batch_log(server.base_url)["files"] == []
