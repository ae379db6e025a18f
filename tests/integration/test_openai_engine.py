"""The openai engine against a real server: retries, rejects, history, outages, secrets."""

import asyncio
import json
import pickle
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import openai
import pytest
from pydantic import SecretStr
from transformers import PreTrainedTokenizerFast

from factory.config import OpenAIEngine
from factory.errors import ModelError, UnreachableError
from factory.inference import model_files
from factory.inference.chat_template import control_tokens
from factory.inference.engines.backend import ShardedWork
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.endpoint_errors import row_error
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.openai import OpenAIBackend, split_concurrency
from factory.inference.engines.openai_replica import OpenAIReplica
from factory.inference.locate import locate_model
from factory.inference.model_files import Located
from factory.records import Completion, Message, Request, content_id
from factory.runtime.shutdown import StopFlag
from factory.text.control_tokens import escape_control_tokens
from tests.integration.endpoint_client import KEY_ENV, ask_shard, engine_of
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import PROJECT

# Where a run ends, the actor and its open connections end with it: nobody closes them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


engine = partial(engine_of, max_retries=2, timeout_s=5)
ask = partial(ask_shard, max_retries=2, timeout_s=5)


def test_what_fails_for_a_while_is_asked_again_until_it_is_answered(server):
    kinds = ("500 x2", "502 x2", "503 x1", "408 x1", "409 x1", "drop x1", "hang x1", "html x1", "cut x1")
    asked = [f"hello [[{kind}]]" for kind in kinds]
    completions = ask(server, *asked, timeout_s=1)
    assert [completion.replies for completion in completions] == [(f"You said: {text}",) for text in asked]
    assert [entry["status"] for entry in server.requests("500 x2")] == [500, 500, 200]
    assert [entry["status"] for entry in server.requests("cut x1")] == [200, 200]


def test_retry_after_is_waited_for(server):
    (completion,) = ask(server, "hello [[429 x1]]")
    assert completion.error == ""
    first, second = (entry["at"] for entry in server.requests("429"))
    assert 2 <= second - first < 3  # the client's own pause is half a second


@pytest.mark.parametrize("busy", [429, 503])
def test_a_rate_limit_or_a_full_queue_that_only_some_run_into_rejects_nobody(server, busy):
    """Two at a time get through, and the last of them fails far more often than it may retry."""
    server.rule(delay_s=0.1, at_most=2, busy=busy)
    completions = ask(server, *(f"number {n}" for n in range(24)), max_retries=1)
    assert [completion.error for completion in completions] == [""] * 24


REJECTS = {
    "400": ("engine_error", "you get 400"),
    "401": ("engine_error", "you get 401"),
    "403": ("engine_error", "you get 403"),
    "404": ("engine_error", "you get 404"),
    "413": ("engine_error", "you get 413"),
    "422": ("engine_error", "you get 422"),
    "429": ("engine_error", "you get 429"),
    "500": ("engine_error", "you get 500"),
    "echo-key": ("engine_error", "Who are you, Bearer ***?"),
    "too-long": ("too_long", "maximum context length is 8192"),
    "policy": ("refused", "The response was filtered"),
    "filter": ("refused", "You said: "),
    "refusal": ("refused", "I would rather not."),
    "html": ("engine_error", "<html>garbage</html>"),
    "cut": ("engine_error", '"content": "You said: '),
    "shapeless": ("engine_error", '{"choices": "garbage", "usage": 7}'),
    "nested": ("engine_error", "[[[[[["),
    "no-choices": ("engine_error", '"choices": []'),
    "no-text": ("engine_error", "tool_calls"),
    "abort": ("engine_error", '"finish_reason": "abort"'),
    "error": ("engine_error", '"finish_reason": "error"'),
    "half-character": ("engine_error", "ud83d"),
    "hang": ("engine_error", "timed out"),
    "drop": ("engine_error", "Connection error"),
}


def test_a_row_that_always_fails_is_rejected_by_name_with_the_raw_text_and_harms_no_other(server):
    good = [f"good number {n}" for n in range(20)]
    spoiled = [f"hello [[{kind}]]" for kind in REJECTS]
    completions = ask(server, *good[:10], *spoiled, *good[10:], max_retries=0, timeout_s=2)
    assert [one.error for one in completions[:10] + completions[-10:]] == [""] * 20
    for (kind, (reason, raw)), completion in zip(REJECTS.items(), completions[10:-10], strict=True):
        assert (kind, completion.error) == (kind, reason)
        assert raw in completion.detail
        assert KEY not in completion.detail
        assert len(completion.detail) <= 4000


def test_a_row_alone_that_always_fails_is_rejected_too(server):
    (completion,) = ask(server, "hello [[500]]", max_retries=0)
    assert completion.error == "engine_error"


@pytest.mark.parametrize("kind", ["length", "length-of-thought"])
def test_a_reply_cut_at_the_limit_is_truncated(server, kind):
    (completion,) = ask(server, f"hello [[{kind}]]")
    assert completion.truncated
    assert completion.error == ""


def test_tokens_are_counted_where_the_endpoint_counts_them(server):
    plain, silent, cached = ask(server, "a", "b [[no-usage]]", "c [[cached]]")
    assert (plain.prompt_tokens, plain.output_tokens, plain.cached_tokens) == (10, 5, 0)
    assert (silent.prompt_tokens, silent.output_tokens, silent.cached_tokens) == (0, 0, 0)
    assert (cached.prompt_tokens, cached.output_tokens, cached.cached_tokens) == (10, 5, 8)


def test_every_turn_is_asked_with_the_own_replies_as_history(server):
    opening = (Message("system", "You are Ada."), Message("user", "one"))
    (completion,) = ask(server, Request(opening, follow_ups=("two", "three")))
    assert completion.replies == ("You said: one", "You said: two", "You said: three")
    assert (completion.prompt_tokens, completion.output_tokens) == (30, 15)
    history = [("system", "You are Ada."), ("user", "one"), ("assistant", "You said: one"), ("user", "two")]
    history += [("assistant", "You said: two"), ("user", "three")]
    sent = [[(m["role"], m["content"]) for m in entry["messages"]] for entry in server.requests()]
    assert sent == [history[:2], history[:4], history]


def test_a_dialogue_that_fails_in_a_later_turn_is_rejected_and_goes_no_further(server):
    (completion,) = ask(server, Request((Message("user", "one"),), follow_ups=("two [[refusal]]", "three")))
    assert (completion.error, completion.replies) == ("refused", ("You said: one",))
    assert not server.requests("three")


@pytest.mark.parametrize("kind", ["refusal", "filter", "no-text"])
def test_an_answer_that_is_no_reply_is_asked_for_again_where_attempts_are_left(server, kind):
    (completion,) = ask(server, Request((Message("user", f"hello [[{kind} x1]]"),), attempts=2, temperature=0))
    assert (completion.error, completion.replies) == ("", (f"You said: hello [[{kind} x1]]",))
    first, second = server.requests("hello")
    assert (first["temperature"], second["temperature"]) == (0, 0.5)


def test_no_more_requests_than_allowed_are_in_flight_and_so_many_are(server):
    server.rule(delay_s=0.05)
    trouble = [f"{n} [[{kind}]]" for n, kind in enumerate(["500 x1", "drop x1", "400", "html x1"] * 3)]
    ask(server, *trouble, *(f"number {n}" for n in range(40)), at_once=7)
    assert server.most_at_once == 7


@pytest.mark.parametrize("concurrency", [1, 64, 512, 513, 514, 1000, 20_480])
def test_actors_share_what_is_allowed(concurrency):
    actors, at_once = split_concurrency(concurrency)
    assert concurrency - actors < actors * at_once <= concurrency
    assert actors == -(-concurrency // 512)


def test_requests_take_turns_with_the_addresses_of_an_endpoint(server):
    other = OpenAIServer()
    asked = [f"number {n}" for n in range(20)]
    assert not any(completion.error for completion in ask(server, *asked, other_urls=[other.base_url]))
    assert len(server.requests("number")) == len(other.requests("number")) == 10
    other.stop()
    completions = ask(server, *asked, other_urls=[other.base_url], max_retries=0)
    assert [completion.error for completion in completions] == [""] * 20
    with pytest.raises(UnreachableError, match="does not answer"):
        ask(server, "hello", base_url=other.base_url, other_urls=[other.base_url], max_retries=0)


@pytest.mark.parametrize(
    ("structured", "sent"),
    [
        ("json_schema", {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}}}),
        ("json_object", {"type": "json_object"}),
        ("none", None),
    ],
)
def test_the_schema_is_told_as_the_config_says(server, structured, sent):
    ask(server, Request((Message("user", "a"),), schema='{"type": "object"}'), "b", structured=structured)
    assert [entry.get("response_format") for entry in server.requests("a")] == [sent]
    assert "response_format" not in server.requests("b")[0]


def test_sampling_is_told_and_a_penalty_only_where_there_is_one(server):
    ask(server, "a")
    (entry,) = server.requests()
    told = {name: entry.get(name) for name in ("model", "temperature", "top_p", "max_tokens", "frequency_penalty")}
    expected = {"model": "small-chat", "temperature": 0.6, "top_p": 0.95, "max_tokens": 64, "frequency_penalty": None}
    assert told == expected


def test_no_special_token_of_a_served_model_is_one_in_data():
    """Its chat endpoint tokenises what the template makes of a text, special tokens in it included."""
    folder = model_files.fetch("embedded", weights=False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    special = control_tokens(folder)
    assert {"<|im_end|>", "<file_sep>", "<repo_name>"} < set(special)
    data = "".join(f"a{token}{token}b" for token in special)
    ids = set(tokenizer(data)["input_ids"]) & set(tokenizer.added_tokens_decoder)
    assert len(ids) == len(special)
    assert not set(tokenizer(escape_control_tokens(data, special))["input_ids"]) & set(tokenizer.added_tokens_decoder)


def test_an_endpoints_own_tokens_never_reach_it(server):
    ask(server, "a<turn:end>b", special_tokens=("<turn:end>",))
    assert "<turn:end>" not in str(server.requests())


def test_control_tokens_never_reach_the_endpoint(server):
    ask(server, Request((Message("system", "s<|im_end|>"), Message("user", "a<|im_start|>system")), follow_ups=("b",)))
    assert "<|" not in str(server.requests())


def test_an_outage_shorter_than_the_retries_is_not_noticed(server):
    server.stop()
    starting = threading.Timer(1, server.start)
    starting.start()
    completions = ask(server, *(f"number {n}" for n in range(20)), max_retries=4)
    starting.join()
    assert [completion.error for completion in completions] == [""] * 20


def test_an_outage_that_outlasts_the_retries_rejects_nobody_if_it_ends(server):
    server.rule(misbehave="503")
    ending = threading.Timer(1.2, server.rule)
    ending.start()
    completions = ask(server, *(f"number {n}" for n in range(20)), max_retries=1)
    ending.join()
    assert [completion.error for completion in completions] == [""] * 20


def test_a_long_outage_is_waited_for_as_long_as_the_config_says(server):
    asked = [f"number {n}" for n in range(20)]
    server.rule(misbehave="503")
    with pytest.raises(UnreachableError, match="does not answer"):
        ask(server, *asked, max_retries=0, max_outage_s=1)
    ending = threading.Timer(6, server.rule)  # longer than the small requests are tried
    ending.start()
    completions = ask(server, *asked, max_retries=0, max_outage_s=60)
    ending.join()
    assert [completion.error for completion in completions] == [""] * 20
    server.rule(misbehave="401")  # is no outage
    with pytest.raises(ModelError, match="refuses 'small-chat'"):
        ask(server, *asked, max_retries=0, max_outage_s=60)


@pytest.mark.parametrize(
    ("kind", "failure", "said"),
    [
        ("503", UnreachableError, "does not answer.*you get 503.*the same command goes on"),
        ("html", UnreachableError, "does not answer"),
        ("400", ModelError, "refuses 'small-chat'.*you get 400.*check it"),
        ("401", ModelError, rf"refuses 'small-chat'.*you get 401.*\${KEY_ENV}"),
        ("404", ModelError, "refuses 'small-chat'.*you get 404.*check it"),
        ("echo-key", ModelError, r"Bearer \*\*\*"),
    ],
)
def test_an_endpoint_that_answers_nobody_ends_the_run(server, kind, failure, said):
    server.rule(misbehave=kind)
    with pytest.raises(failure, match=said):
        ask(server, *(f"number {n}" for n in range(20)), max_retries=0)


def test_an_endpoint_that_hangs_ends_the_run(server):
    server.rule(misbehave="hang")
    with pytest.raises(UnreachableError, match="timed out"):
        ask(server, "a", "b", max_retries=0, timeout_s=0.2)


@pytest.mark.parametrize("key", ["", " ", "sk-with a space", "sk-caf\u00e9"])
def test_a_key_that_is_none_ends_the_run_by_the_name_of_the_variable(server, monkeypatch, key):
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(ModelError, match=KEY_ENV) as told:
        ask(server, "a")
    assert "sk-" not in str(told.value)


def test_a_key_with_a_line_end_is_good(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, f"{KEY}\n")
    check_endpoint(engine(server))
    assert ask(server, "a")[0].error == ""


def test_clients_get_the_key_of_who_started_the_run_and_show_it_nowhere(server, session, monkeypatch):
    class Asked:
        """Takes the place of a dataset that is not run."""

        def map_batches(self, actor, fn_constructor_args, **_):
            return actor, fn_constructor_args

    backend = OpenAIBackend(engine(server))
    assert KEY.encode() not in pickle.dumps(backend)  # it also goes to tasks that read shards
    work = ShardedWork(Asked(), shard_rows=16, rows=16, flag=StopFlag("unused"))
    actor, arguments = backend.answer(work, Located("small-chat", "endpoint"), 0, pools=None)
    assert KEY not in repr(arguments) + str(arguments)
    monkeypatch.delenv(KEY_ENV)  # the client's machine has none

    async def answer() -> list[Completion]:
        client = actor(*pickle.loads(pickle.dumps(arguments)))
        (batch,) = [batch async for batch in client({"requests": [pickle.dumps([Request((Message("user", "a"),))])]})]
        return pickle.loads(batch["completions"][0])

    assert [completion.replies for completion in asyncio.run(answer())] == [("You said: a",)]


def test_an_endpoint_without_a_list_of_models_is_taken_as_it_is(server):
    server.rule(misbehave="no-list")
    check_endpoint(engine(server, model="anything"))


@pytest.mark.parametrize(
    ("card", "context"),
    [
        ({"max_model_len": 4096}, 4096),  # vLLM
        ({"metadata": {"model_id": "a", "max_request_context_length": 4096}}, 4096),  # Ray Serve
        ({"metadata": {"max_request_context_length": None}}, None),
        ({"max_model_len": "long", "metadata": "none"}, None),
        ({}, None),
    ],
)
def test_the_context_is_known_where_the_list_of_models_tells_it(server, card, context):
    server.rule(card=card)
    assert check_endpoint(engine(server)) == context


def test_what_is_wrong_with_the_endpoint_is_one_line(server, make_run):
    trouble = {
        "unknown": ({"model": "tiny-chat"}, KEY, "'tiny-chat'.* it has small-chat, .*embedder"),
        "nowhere": ({"base_url": "http://127.0.0.1:9/v1"}, KEY, "http://127.0.0.1:9/v1: does not answer"),
        "wrong": ({}, "sk-secret-wrong", rf"401 - Incorrect API key provided: Bearer \*\*\*.*\${KEY_ENV}"),
        "missing": ({}, "", rf"\${KEY_ENV} is not set"),
    }
    runs = {
        name: make_run(name, 4, engine=engine(server, **settings).model_dump())
        for name, (settings, *_) in trouble.items()
    }
    for name, run in runs.items():
        run.environment[KEY_ENV] = trouble[name][1]
        run.start()
    for name, run in runs.items():
        assert run.processes[0].wait(90) == 2, run.log()
        (line,) = run.log().splitlines()
        assert re.search(trouble[name][2], line)
        assert "sk-secret" not in line


@pytest.fixture
def short_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the run's logs and Ray's go; short, because socket paths are."""
    with tempfile.TemporaryDirectory(prefix="cf-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def test_a_whole_run_keeps_its_accounts_its_pace_and_its_secret(server, make_run, short_tmp):
    server.rule(delay_s=0.2)
    run = make_run(
        "whole",
        200,
        engine=engine(server, max_concurrency=24, max_retries=0).model_dump(),
        instructions=[{"corpus": "talks", "source": str(PROJECT / "data" / "conversations.jsonl")}],
        dialogues={"characters_per_instruction": 2},
    ).alone()
    quick = REJECTS.keys() - {"429", "hang"}
    spoiled = {f"a baker [[{kind}]]": REJECTS[kind][0] for kind in quick}
    thinking = [f"a baker [[thought-{form}]]" for form in ("first", "unopened", "braces", "parts", "field")]
    with (run.folder / "personas.jsonl").open("a") as file:
        for persona in (*spoiled, *thinking):
            file.write(f'{{"persona": "{persona}"}}\n')
    said = run.finish()

    rows = {row["character_id"]: row for row in run.rows("profiles")}
    assert len(rows) == len(run.rows("profiles")) == 205 + len(spoiled)
    assert {persona: rows[content_id(persona)]["reason"] for persona in spoiled} == spoiled
    assert all(rows[content_id(persona)]["detail"] for persona in spoiled)
    manifest = run.table("profiles").manifest()
    assert manifest["ok"] == 205
    assert {rows[content_id(persona)]["reason"] for persona in thinking} == {None}
    assert "THOUGHT" not in str([row["profile"] for row in rows.values()])
    assert manifest["ok"] + sum(manifest["rejected"].values()) == manifest["rows_in"] == len(rows)
    assert run.table("dialogues/generate-talks").manifest()["ok"] == 20
    assert server.most_at_once == 24

    files = [path for folder in (run.folder, short_tmp) for path in folder.rglob("*") if path.is_file()]
    assert any("session_" in str(path) for path in files)
    assert any("character-factory-" in path.name for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in said


@pytest.mark.slow
def test_a_run_whose_endpoint_dies_goes_on_where_it_stopped(server, make_run):
    run = make_run("shaken", 160, engine=engine(server, max_concurrency=16, max_retries=0).model_dump())

    def finished() -> set[str]:
        shards = run.table("profiles").shards()
        return {one for shard in shards for one in run.table("profiles").read(shard)["character_id"].to_pylist()}

    server.rule(delay_s=0.5)
    job = run.start()
    while not finished():
        assert job.poll() is None, run.log()
        time.sleep(0.1)
    server.stop()
    assert job.wait(120) == 2, run.log()
    (error,) = [line for line in run.log().splitlines() if "rror" in line]
    assert re.fullmatch("error: engine.base_url .*does not answer .*the same command goes on", error)
    before = finished()
    assert 0 < len(before) < 160
    assert run.reasons("profiles") == {"ok": len(before)}

    server.start()
    run.finish()
    assert run.reasons("profiles") == {"ok": 160}
    assert len(finished()) == 160
    asked = [re.search(r"a baker, number \d+", entry["messages"][-1]["content"])[0] for entry in server.requests()]
    assert sorted(map(content_id, asked)) == sorted(finished() - before)


def test_credentials_in_an_endpoints_url_are_told_nowhere():
    """A revision stands in manifests and in the leaderboard."""
    settings = {"kind": "openai", "model": "small-chat", "api_key_env": None}
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as small:  # has no list of models
        threading.Thread(target=small.serve_forever, daemon=True).start()
        port = small.server_address[1]
        found = locate_model(OpenAIEngine(base_url=f"http://me:secret@127.0.0.1:{port}/v1", **settings))
        small.shutdown()
    assert "secret" not in f"{found}"
    with pytest.raises(UnreachableError) as away:
        locate_model(OpenAIEngine(base_url="http://me:secret@127.0.0.1:9/v1", **settings))
    assert "secret" not in str(away.value)


class OneModel(SimpleHTTPRequestHandler):
    """Lists one model to whoever asks."""

    def do_GET(self) -> None:
        listed = json.dumps({"object": "list", "data": [{"id": "small-chat", "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(listed)))
        self.end_headers()
        self.wfile.write(listed)


def test_an_endpoint_that_lacks_the_model_is_named_without_its_credentials():
    with ThreadingHTTPServer(("127.0.0.1", 0), OneModel) as small:
        threading.Thread(target=small.serve_forever, daemon=True).start()
        url = f"http://me:secret@127.0.0.1:{small.server_address[1]}/v1"
        with pytest.raises(ModelError, match="does not have it; it has small-chat") as told:
            check_endpoint(OpenAIEngine(kind="openai", model="another", base_url=url, api_key_env=None))
        small.shutdown()
    assert "secret" not in str(told.value)


def test_an_error_is_whole_where_there_is_no_key_to_leave_out():
    problem = openai.APIConnectionError(message="none of them", request=httpx2.Request("GET", "http://host"))
    keyless = api_key(OpenAIEngine(kind="openai", model="m", api_key_env=None))
    assert row_error(SecretStr(keyless), problem).detail.strip() == "none of them"
    assert row_error(SecretStr("them"), problem).detail.strip() == "none of ***"


def test_client_begins_no_shard_once_the_run_is_to_stop(server, tmp_path):
    flag = StopFlag(str(tmp_path / "stop"))
    replica = OpenAIReplica(engine(server), SecretStr(KEY), 1, flag)

    async def answer() -> list[dict]:
        requests = pickle.dumps([Request((Message("user", "hello"),))])
        return [row async for row in replica({"is_read": [True], "requests": [requests]})]

    (begun,) = asyncio.run(answer())
    assert begun["is_read"] == [True]
    flag.set()
    (left,) = asyncio.run(answer())
    assert (left["is_read"], left["completions"]) == ([False], [b""])
    assert len(server.requests()) == 1
