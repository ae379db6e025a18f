"""The playground with real engines: two models on Ray Serve on a CPU, the page and the API."""

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
    sampling = {"top_p": 1.0, "max_tokens": 48}
    api = {"port": 0}
    return {
        "chat": {"port": 0, "api": api, "engine_kwargs": {"max_model_len": 4096}, "sampling": sampling, **chat},
        "profiles": {"sampling": {"top_p": 1.0, "max_tokens": 1024}},
    }


def test_base_and_tuned_model_reply_on_page_and_api(make_run):
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
        assert "Saved" in session.call("vote-tuned", None, event={"index": 2 * turn + 1, "value": "", "liked": True})[0]
    assert {(row["candidate"], row["turn"], row["vote"]) for row in run.rows("feedback")} == {
        ("tuned", turn, "up") for turn in range(3)
    }

    api = re.search(r"API at (\S+), .*models (.*)", run.log())
    body = {"model": api[2].split(", ")[1].strip(), "max_tokens": 8, "stream": True}
    body["messages"] = [{"role": "user", "content": "Hello"}]
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{api[1]}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read().count(b"data: ") > 3

    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0, run.log()
    assert run.table("feedback").manifest()["ok"] == 3


def test_base_model_alone_without_a_tuned_one(make_run):
    run = make_run("alone", **settings()).alone()
    output = run.finish("--dry-run", job="chat")
    assert "base: embedded" in output
    assert "tuned:" not in output
    assert "no tuned model" in output
