"""The playground with real engines: two models on Ray Serve on a CPU, the page and the API for programs."""

import json
import re
import signal
import time
import urllib.request

import pytest

from factory.inference import model_files
from factory.synthesis.profiles import LABELS
from tests.integration.page_session import Session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # two engines take minutes to load on two cores


def settings(**chat: object) -> dict:
    drawn = {"top_p": 1.0, "max_tokens": 48}
    api = {"port": 0}
    return {
        "chat": {"port": 0, "api": api, "engine_kwargs": {"max_model_len": 4096}, "sampling": drawn, **chat},
        "profiles": {"sampling": {"top_p": 1.0, "max_tokens": 1024}},
    }


def test_a_trained_model_speaks_beside_its_base_and_programs_may_ask_them_too(make_run):
    run = make_run("real", **settings()).alone()
    run.config["training"] = {"base_model": "embedded"}
    folder = run.folder / "real" / "model"
    folder.parent.mkdir()
    folder.symlink_to(model_files.fetch("embedded"))
    process = run.start(job="chat")
    deadline = time.monotonic() + 900
    while "ready at" not in run.log():
        assert process.poll() is None, run.log()
        assert time.monotonic() < deadline, run.log()
        time.sleep(0.5)
    session = Session(re.search(r"ready at (http\S+);", run.log())[1])
    output = session.call("describe", "a lock keeper on a quiet canal")
    profile = output[: len(LABELS)]
    assert all(profile), output
    session.call("begin", "a lock keeper on a quiet canal", *profile)
    for turn in range(3):
        _, _, note, *sides = session.call("talk", f"What do you hear? ({turn})", None, None)
        assert len(sides) == 2, note
        assert all(len(side) == 2 * turn + 2 and side[-1]["content"][0]["text"] != "(no reply)" for side in sides)
        assert "Kept" in session.call("vote-tuned", None, event={"index": 2 * turn + 1, "value": "", "liked": True})[0]
    assert {(row["candidate"], row["turn"], row["vote"]) for row in run.rows("feedback")} == {
        ("tuned", turn, "up") for turn in range(3)
    }

    api = re.search(r"API at (\S+), .*models (.*)", run.log())
    asked = {"model": api[2].split(", ")[1].strip(), "max_tokens": 8, "stream": True}
    asked["messages"] = [{"role": "user", "content": "Hello"}]
    sent = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{api[1]}/chat/completions", json.dumps(asked).encode(), sent)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read().count(b"data: ") > 3

    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0, run.log()
    assert run.table("feedback").manifest()["ok"] == 3


def test_the_base_model_speaks_alone_where_nothing_was_trained(make_run):
    run = make_run("alone", **settings()).alone()
    said = run.finish("--dry-run", job="chat")
    assert "base: embedded" in said
    assert "tuned:" not in said
    assert "no tuned model" in said
