"""The playground in a browser and with many sessions, on a real server that echoes messages."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient

from factory.config import Chat, RunConfig
from factory.errors import ConfigError
from factory.inference.prompts import load_prompt
from factory.playground.conversation import Turn, build_feedback, start_conversation
from factory.playground.profile_form import read_persona
from factory.playground.server import BODY_BYTES, POSTS_PER_MINUTE, _app, check_bind
from factory.playground.session_controller import PlaygroundController
from factory.playground.votes_table import Vote, count_votes, open_table, write_votes
from factory.runtime.ray_head import free_port
from tests.integration.accessibility import defects
from tests.integration.endless_body import post_without_end
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.page_session import Session
from tests.made_cards import made_profile

SESSIONS, TURNS, MAX_CONCURRENCY = 20, 3, 12
HOSTILE = 'a baker <b>bold</b> <script>window.hit=1</script> <img src=x onerror="window.hit=1"> **star**'
NAMES = ("base", "tuned")


@pytest.fixture(scope="module")
def server():
    endpoint = OpenAIServer()
    yield endpoint
    endpoint.stop()


@pytest.fixture(scope="module")
def run(make_module_run, server):
    """A running playground."""
    endpoint = {"kind": "openai", "base_url": server.base_url, "api_key_env": "FACTORY_TEST_KEY"}
    models = [
        {"name": name, "model": model, **endpoint}
        for name, model in zip(NAMES, ("small-chat", "embedder"), strict=True)
    ]
    started = make_module_run(
        "playground", chat={"models": models, "port": 0, "max_concurrency": MAX_CONCURRENCY, "proxies": ["127.0.0.1"]}
    )
    given = [{**made_profile(1), "name": "<b>Ada</b> <img src=x onerror='window.hit=1'>"}, made_profile(2)]
    (started.folder / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    started.config["profiles"] = {"source": str(started.folder / "given.jsonl")}
    started.environment["FACTORY_TEST_KEY"] = KEY
    started.start_until(lambda: "ready at" in started.log(), job="chat")
    return started


@pytest.fixture(scope="module")
def url(run) -> str:
    return re.search(r"ready at (http://127\.0\.0\.1:\d+);", run.log())[1]


def messages(page: Page, name: str) -> list[str]:
    return [text.strip() for text in page.locator(f"#chat-{name} .message .md").all_inner_texts()]


def test_whole_visit_in_a_browser(browser_page, url, run, server):
    """Describe, edit, talk, vote, save; markup is shown as text."""
    page, errors, requests = browser_page, [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda problem: errors.append(str(problem)))
    page.on("request", lambda request: requests.append(request.url))
    server.rule(word_s=0.1)
    page.goto(url)
    page.fill("#persona textarea", HOSTILE)
    page.click("#describe")
    expect(page.locator("#name textarea, #name input")).to_have_value("Ada Oduya")
    page.fill("#personality textarea", "Warm, and fond of <i>tags</i>.")
    page.click("#begin")
    lengths = set()
    for number in range(TURNS):
        page.fill("#message textarea", f"{number} {HOSTILE} and six words more than that")
        page.press("#message textarea", "Enter")
        expect(page.locator("#talk-note")).to_have_text("Writing ...")
        while page.locator("#talk-note").inner_text() == "Writing ...":
            lengths.add(len(messages(page, "tuned")[-1]))
    assert len(lengths) > 5  # the reply was streamed
    expected = [text for n in range(TURNS) for text in (message(n), f"You said: {message(n)}")]
    assert messages(page, "base") == messages(page, "tuned") == expected
    system = server.requests("2 a baker")[0]["messages"][0]["content"]
    assert HOSTILE in system
    assert "Personality: Warm, and fond of <i>tags</i>." in system

    for kind in ("Like", "Dislike"):  # the second replaces the first
        page.locator(f"#chat-base button[aria-label='{kind}']").first.click()
        expect(page.locator("#talk-note")).to_contain_text({"Like": "up", "Dislike": "down"}[kind])
    page.locator("#chat-tuned button[aria-label='Like']").last.click()
    expect(page.locator("#talk-note")).to_contain_text("up")
    votes = {(row["candidate"], row["turn"], row["vote"], len(row["messages"])) for row in run.rows("feedback")}
    assert votes == {("base", 0, "down", 3), ("tuned", 2, "up", 7)}

    with page.expect_download() as download:
        page.click("#save")
    saved = json.loads(download.value.path().read_text())
    assert [history["model"] for history in saved] == list(NAMES)
    assert [m["content"] for m in saved[0]["messages"]] == [system, *expected]
    assert page.evaluate("window.hit") is None
    assert errors == []
    assert defects(page) == []
    assert {place for place in requests if not place.startswith((url, "blob:", "data:"))} == set()


def test_a_given_character_replies_after_one_click(browser_page, url, server):
    """Its profile is the system message, and markup in its name is shown as text."""
    page = browser_page
    page.goto(url)
    expect(page.locator(".picks button")).to_have_count(2)
    assert page.locator(".picks button").first.inner_text().startswith("<b>Ada</b> <img src=x")
    assert defects(page) == []
    page.locator(".picks button").first.click()
    expect(page.locator("#message textarea")).to_be_focused()
    page.fill("#message textarea", "a mark of one click")
    page.press("#message textarea", "Enter")
    expect(page.locator("#chat-tuned .message .md").last).to_have_text("You said: a mark of one click")
    system = server.requests("a mark of one click")[0]["messages"][0]["content"]
    given = made_profile(1)
    assert given["persona"] in system
    assert f"Personality: {given['personality']}" in system
    assert page.locator("#persona textarea").input_value() == given["persona"]
    assert page.evaluate("window.hit") is None


def message(number: int) -> str:
    return f"{number} {HOSTILE} and six words more than that"


def converse(url: str, name: str, number: int, turns: int) -> list[str]:
    """Run a session whose messages contain only its own mark; return everything that the page showed it."""
    session, mark = Session(url, f"192.0.2.{number}"), f"mark-{number:02}-"
    *profile, _, _ = call_when_free(session, "describe", f"a {name} {mark}")
    profile[0] = f"Name {mark}"
    outputs = session.call("begin", f"a {name} {mark}", *profile)
    for turn in range(turns):
        outputs += call_when_free(session, "talk", f"{mark} turn {turn}", None, None)
        for model in NAMES:
            for liked in (number % 2 == 0, number % 2 == 1, number % 2 == 1):
                event = {"index": 2 * turn + 1, "value": "", "liked": liked}
                assert "Saved" in session.call(f"vote-{model}", None, event=event)[0]
    outputs += session.call("save", None)
    session.close()
    return [json.dumps(output) for output in outputs]


def call_when_free(session: Session, name: str, *data: object) -> list:
    """Repeat a call until the page is no longer busy, and return its output."""
    while True:
        output = session.call(name, *data)
        text = " ".join(part for part in output if isinstance(part, str))
        if "Busy" not in text:
            return output
        assert re.search(r"try again in \d+ seconds", text)
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("name", "turns", "word_s"),
    [("sailor", TURNS, 0.02), pytest.param("painter", 16, 0.12, marks=pytest.mark.slow, id="one-minute")],
)
def test_concurrent_sessions_are_isolated(url, run, server, name, turns, word_s):
    server.rule(word_s=word_s)
    before = len(run.rows("feedback"))
    with ThreadPoolExecutor(SESSIONS) as pool:
        outputs = list(pool.map(lambda number: converse(url, name, number, turns), range(SESSIONS)))
    for number, texts in enumerate(outputs):
        assert set(re.findall(r"mark-\d\d-", "".join(texts))) == {f"mark-{number:02}-"}
    for request in server.requests("mark-"):
        assert len(set(re.findall(r"mark-\d\d-", json.dumps(request["messages"])))) == 1
    assert MAX_CONCURRENCY / 2 < server.most_at_once <= MAX_CONCURRENCY
    rows = [row for row in run.rows("feedback") if f"a {name} mark-" in row["persona"]]
    assert len(rows) == len({row["feedback_id"] for row in rows}) == SESSIONS * turns * len(NAMES)
    assert len(run.rows("feedback")) == before + len(rows)
    for row in rows:
        number = int(row["persona"][-3:-1])
        assert row["vote"] == ("up" if number % 2 == 1 else "down")  # the last one
        assert len(set(re.findall(r"mark-\d\d-", json.dumps(row["messages"])))) == 1


def vote_writers(address: str) -> Iterator[psutil.Process]:
    """Yield the processes of the vote writers of one Ray, found by the address in its node's command line."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "ServeReplica:feedback" in " ".join(process.cmdline()) and any(
                address in word for word in process.parent().cmdline()
            ):
                yield process


@pytest.mark.slow
def test_votes_survive_a_killed_vote_writer(url, run, server, shared_ray):
    server.rule()
    session = Session(url, "192.0.2.102")
    session.call("begin", "a sailor killed-", *["x"] * 8)
    for turn in range(8):
        session.call("talk", f"turn {turn}", None, None)
    writers = list(vote_writers(shared_ray["RAY_ADDRESS"]))
    answers = []
    for turn in range(8):
        if turn == 3:
            for writer in writers:
                writer.kill()
        answers += session.call("vote-base", None, event={"index": 2 * turn + 1, "value": "", "liked": True})
    assert writers
    assert all("Saved" in text for text in answers), answers
    assert sorted(row["turn"] for row in run.rows("feedback") if "killed-" in row["persona"]) == list(range(8))


def test_requests_of_an_address_are_limited(url, server):
    server.rule()
    sessions = [Session(url, "198.51.100.7") for _ in range(2)]
    for session in sessions:
        session.call("begin", "a sailor", *["x"] * 8)
    notes = [sessions[n % 2].call("talk", f"number {n}", None, None)[2] for n in range(22)]
    assert [("20 requests per minute" in note) for note in notes] == [False] * 20 + [True] * 2
    assert "20 requests per minute" in sessions[0].call("describe", "a sailor")[-1]
    assert "Written by" in Session(url, "198.51.100.8").call("describe", "a sailor")[-1]
    assert "description has 501" in session.call("describe", "x" * 501)[-1]
    assert "message has 4,001" in session.call("talk", "x" * 4001, None, None)[2]


def test_failed_model_is_reported_beside_the_other(url, server):
    server.rule()
    session = Session(url, "192.0.2.101")
    session.call("begin", "a sailor", *["x"] * 8)
    for sent, expected in {
        "[[too-long]]": "longer than the model",
        "[[500]]": "status 500",
        "[[policy]]": "status 400",
    }.items():
        output = session.call("talk", sent, None, None)
        assert expected in output[2]
        assert KEY not in json.dumps(output)
    assert session.call("vote-base", None, event={"index": 1, "value": "", "liked": True}) != []


def test_page_needs_its_password_and_accepts_no_files(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_PASSWORD", "sesame")
    config = RunConfig(
        output=str(tmp_path), engine={"kind": "scripted"}, personas={"source": "x"}, chat=Chat(user="me")
    )
    with TestClient(_app(PlaygroundController(config, [], "", None)), "http://127.0.0.1:7860") as client:
        assert client.get("/config").status_code == 401
        assert client.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0}).status_code == 401
        assert client.post("/login", data={"username": "me", "password": "open"}).status_code == 400
        assert client.post("/login", data={"username": "me", "password": "sesame"}).status_code == 200
        config = client.get("/config")
        assert config.status_code == 200
        assert "connect-src 'self'" in config.headers["content-security-policy"]
        assert "sesame" not in config.text
        assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 404


@pytest.fixture
def closed_page(tmp_path, monkeypatch):
    """A page with a password, at its default address."""
    monkeypatch.setenv("CHAT_PASSWORD", "sesame")
    config = RunConfig(output=str(tmp_path), engine={"kind": "scripted"}, personas={"source": "x"})
    with TestClient(_app(PlaygroundController(config, [], "", None)), "http://127.0.0.1:7860") as client:
        yield client


def test_endless_request_bodies_are_refused(closed_page):
    form = {"content-type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/gradio_api/queue/join", "/gradio_api/call/describe", "/gradio_api/cancel"):
        kind = form if path == "/login" else {"content-type": "application/json"}
        assert closed_page.post(path, content=b"x" * (2 * BODY_BYTES), headers=kind).status_code == 413
        answer, read = post_without_end(closed_page.app, path, kind)
        assert answer == 413
        assert read <= 2 * BODY_BYTES


def test_flood_from_one_address_is_refused(closed_page):
    answers = [closed_page.post("/gradio_api/reset", json={"event_id": "x"}) for _ in range(POSTS_PER_MINUTE + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_page_on_loopback_refuses_other_origins(closed_page):
    assert closed_page.get("/").status_code == 200
    assert closed_page.get("/", headers={"Host": "evil.example:7860"}).status_code == 400
    for origin in ("http://evil.example", "http://127.0.0.1:3000", "null"):
        answer = closed_page.post("/gradio_api/queue/join", content="{}", headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    own = closed_page.post(
        "/login", data={"username": "player", "password": "sesame"}, headers={"Origin": "http://127.0.0.1:7860"}
    )
    assert own.status_code == 200


def test_public_page_needs_password_and_free_port(url, monkeypatch):
    monkeypatch.delenv("CHAT_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="holds no password"):
        check_bind(Chat(host="0.0.0.0", port=0))
    with pytest.raises(ConfigError, match=r"allowed_hosts has 'chat.example.com'.* holds no password"):
        check_bind(Chat(allowed_hosts=("chat.example.com",), port=0))
    with pytest.raises(ConfigError, match="use another port"):
        check_bind(Chat(port=int(url.rpartition(":")[2])))
    monkeypatch.setenv("CHAT_PASSWORD", "sesame")
    check_bind(Chat(host="0.0.0.0", port=0))


def test_judges_refuse_the_ray_of_the_playground(url, make_run):
    """Serve has only one HTTP endpoint, which is the playground's: clients of the judges would not find them."""
    judges = [{"name": "a", "model": "embedded", "device": "cpu"}]
    other = make_run("judges", 1, evaluation={"judges": judges, "fleet": {"port": free_port()}})
    assert other.start(job="judges_up").wait(200) == 2, other.log()
    (line,) = [line for line in other.log().splitlines() if "error" in line]
    assert line.startswith("error: RAY_ADDRESS: Serve runs ")


def test_votes_are_stored_on_s3(s3):
    started = start_conversation("random", read_persona("a baker", 100), "Name: Ada", load_prompt("training-system"))
    feedback = build_feedback(started.with_turn(Turn("Hello", {"base": "Hi"})), "base", 0, True)
    table = open_table(f"{s3}/votes")
    write_votes(table, [Vote(feedback, "embedded", "prompt@1#0")])
    assert count_votes(open_table(f"{s3}/votes")).ok == 1


def test_ctrl_c_completes_the_table_of_votes(run):
    (process,) = run.processes
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    rows = run.rows("feedback")
    assert run.table("feedback").manifest()["ok"] == len(rows)
    assert "Traceback" not in run.log()
    assert KEY not in run.log()
