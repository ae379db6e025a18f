"""Endpoints of reasoning models: what they refuse, where their thoughts are, and what a dry run finds out."""

import logging
from dataclasses import replace
from functools import partial

import pytest

from factory.config import Sampling
from factory.errors import ModelError
from factory.inference.endpoint_questions import EndpointUse, ask_endpoints
from factory.inference.engines.openai import OpenAIBackend
from factory.inference.prompts import load_prompt
from factory.records import Message, Persona, Profile, Request, TokenSampling
from factory.runtime.progress import Progress
from factory.synthesis.profiles import parse_profile, render_profile
from tests.integration.endpoint_client import KEY_ENV, SAMPLING, ask_shard, engine_of
from tests.integration.openai_server import OpenAIServer
from tests.integration.reasoning_models import THOUGHT, THOUGHT_TOKENS

# Where a run ends, the actor and its open connections end with it: nobody closes them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


ask = partial(ask_shard, max_retries=0, timeout_s=5)
NULLS = TokenSampling(temperature=None, top_p=None, frequency_penalty=None, max_tokens=64)
PENALTY = replace(SAMPLING, frequency_penalty=0.5)
PERSON = Persona("0" * 16, "a baker")
FAMILIES = {
    "gpt-5": (NULLS, {"token_limit": "max_completion_tokens", "logprobs": False}, "", 4),
    "o-series": (NULLS, {"token_limit": "max_completion_tokens", "extra_body": {"reasoning_effort": "low"}}, "", 4),
    "deepseek": (SAMPLING, {}, THOUGHT, 4),
    "mistral": (PENALTY, {}, THOUGHT, 5 * len(THOUGHT) / (len(THOUGHT) + len("You said: one"))),
    "gemini": (replace(SAMPLING, frequency_penalty=None), {}, "", 0),
    "vllm": (PENALTY, {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}, "top_k": -1}}, THOUGHT, 4),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_one_line_of_config(server, family):
    sampling, settings, thought, counted = FAMILIES[family]
    server.rule(family=family)
    dialogue = Request((Message("system", "You are Ada."), Message("user", "one")), follow_ups=("two",))
    verdict = Request((Message("user", "three"),), schema='{"type": "object"}', logprobs=20)
    talk, judged = ask(server, dialogue, verdict, sampling=sampling, **settings)
    assert (talk.error, talk.replies) == ("", ("You said: one", "You said: two"))
    assert (judged.error, "Ada Oduya" in judged.replies[0]) == ("", True)
    assert set(talk.thoughts) == {thought}
    assert talk.thought_tokens == pytest.approx(2 * counted, abs=1)
    assert talk.output_tokens == 2 * (5 + THOUGHT_TOKENS if family == "gemini" else 5)
    requests = server.requests()
    assert {entry["status"] for entry in requests} == {200}
    assert "THOUGHT" not in str(requests)
    assert all(value is not None for entry in requests for value in entry.values())
    extra = settings.get("extra_body", {})
    assert [{name: entry.get(name) for name in extra} for entry in requests] == [extra] * 3


@pytest.mark.parametrize(
    ("family", "given", "taken"),
    [
        ("gpt-5", "max_tokens", "max_completion_tokens"),
        ("o-series", "max_tokens", "max_completion_tokens"),
        ("mistral", "max_completion_tokens", "max_tokens"),
    ],
)
def test_the_other_name_of_the_token_limit_is_taken_by_itself(server, caplog, family, given, taken):
    server.rule(family=family)
    asked = [f"number {n}" for n in range(20)]
    with caplog.at_level(logging.WARNING):
        completions = ask(server, *asked, at_once=4, sampling=NULLS, token_limit=given)
    assert [one.replies for one in completions] == [(f"You said: {text}",) for text in asked]
    refused = [entry for entry in server.requests() if entry["status"] != 200]
    assert 1 <= len(refused) <= 4, "only those that were sent before the refusal was known"
    assert {entry.get(taken) for entry in server.requests() if entry not in refused} == {64}
    assert len([line for line in caplog.messages if taken in line]) == 1


REFUSED = {
    "temperature": ("gpt-5", SAMPLING, "set temperature: null in profiles.sampling and dialogues.sampling"),
    "top_p": ("o-series", replace(NULLS, top_p=0.9), "set top_p: null in"),
    "frequency_penalty": ("gemini", PENALTY, "set frequency_penalty: null in"),
}


def test_a_judge_leaves_out_what_the_others_get(server):
    server.rule(family="gpt-5")
    (completion,) = ask(server, "a", sampling=SAMPLING, not_sent=("temperature", "top_p"))
    assert completion.replies == ("You said: a",)
    assert {"temperature", "top_p"}.isdisjoint(server.requests()[-1])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_parameter_ends_the_run_by_its_setting(server, name):
    family, sampling, said = REFUSED[name]
    server.rule(family=family)
    with pytest.raises(ModelError, match=said) as told:
        ask(server, "a", "b", sampling=sampling)
    assert "\n" not in str(told.value)


WHOLE = ("first", "unopened", "empty", "braces", "twice", "mistral", "gpt-oss", "parts", "field")


@pytest.mark.parametrize("form", WHOLE)
def test_thoughts_in_any_form_are_no_text(server, form):
    prompt = load_prompt("profile")
    persona = replace(PERSON, persona=f"a baker [[thought-{form}]]")
    spoiled = Request((Message("user", f"one [[thought-{form}]]"),), follow_ups=("two",))
    talk, made = ask(server, spoiled, render_profile(prompt, "English", persona))
    assert talk.replies == (f"You said: one [[thought-{form}]]", "You said: two")
    assert ("THOUGHT" in talk.thoughts[0]) == (form != "empty")
    assert talk.thoughts[1] == ""
    assert (talk.thought_tokens > 0) == (form != "empty")
    profile = parse_profile("English", persona, made)
    assert isinstance(profile, Profile)
    assert (profile.name, profile.age) == ("Ada Oduya", "34")
    assert "THOUGHT" not in str(server.requests("two"))


@pytest.mark.parametrize("form", ["thought-unclosed", "thought-after"])
def test_a_thought_that_is_not_closed_leaves_no_whole_reply(server, form):
    (completion,) = ask(server, f"hello [[{form}]]")
    assert (completion.error, completion.truncated) == ("", True)
    assert "THOUGHT" not in completion.replies[0]
    assert THOUGHT in completion.thoughts[0]


@pytest.mark.parametrize("form", ["thought-only", "blank"])
def test_an_empty_reply_is_asked_for_again(server, form):
    once, always = ask(server, f"hello [[{form} x2]]", f"never [[{form}]]")
    assert (once.error, once.replies) == ("", (f"You said: hello [[{form} x2]]",))
    assert always.error == "engine_error"
    assert len(server.requests("never")) == 3


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("MAX_TOKENS", "truncated"),
        ("model_length", "truncated"),
        ("SAFETY", "refused"),
        ("content_filter: RECITATION", "refused"),
        ("insufficient_system_resource", "engine_error"),
        ("eos", ""),
        ("STOP", ""),
        (None, ""),
    ],
)
def test_finish_reasons_are_read_without_case(server, reason, status):
    server.rule(finish_reason=reason)
    (completion,) = ask(server, "hello")
    assert ("truncated" if completion.truncated else completion.error) == status


def test_a_storm_of_429_loses_nothing(server):
    server.rule(per_second=100)
    asked = [f"number {n}" for n in range(300)]
    completions = ask_shard(server, *asked, at_once=64)  # with the retries of the default
    assert [one.replies for one in completions] == [(f"You said: {text}",) for text in asked]
    good = [entry["at"] for entry in server.requests("number") if entry["status"] == 200]
    assert len(good) == 300
    busiest = max(sum(at <= other < at + 1 for other in good) for at in good)
    assert busiest <= 200, "a second's requests, and what one second left over"


def test_what_an_endpoint_is_sent_besides_is_in_the_fingerprint(server):
    """And nothing that changes no row."""
    same = engine_of(server, token_limit="max_completion_tokens", requests_per_minute=5, tokens_per_minute=9)
    assert OpenAIBackend(same).fingerprint_settings() == {"structured": "json_schema"}
    extra = OpenAIBackend(engine_of(server, extra_body={"top_k": 5}, not_sent=("top_p",))).fingerprint_settings()
    assert extra == {"structured": "json_schema", "extra_body": {"top_k": 5}, "not_sent": ["top_p"]}


def questions(server: OpenAIServer, capfd: pytest.CaptureFixture, sampling: TokenSampling, **settings: object) -> str:
    """Return what a dry run prints of its question."""
    use = EndpointUse(
        engine_of(server, timeout_s=5, **settings),
        Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            frequency_penalty=sampling.frequency_penalty,
            max_tokens=sampling.max_tokens,
        ),
    )
    ask_endpoints([use, use], Progress())
    return capfd.readouterr().out


def test_a_dry_run_asks_one_question_with_the_runs_parameters(server, capfd):
    server.rule(family="vllm")
    said = questions(server, capfd, SAMPLING, extra_body={"top_k": 5}, prices={"input": 10, "output": 40})
    assert "engine: asks small-chat one short question: some 14 tokens in, at most 64 out, at most 0.0027 USD" in said
    assert "answered in" in said
    (entry,) = server.requests()
    sent = {name: entry[name] for name in ("temperature", "top_p", "max_tokens", "top_k")}
    assert sent == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 64, "top_k": 5}


def test_a_dry_run_tells_that_a_run_asks_in_batches_and_asks_directly_itself(server, capfd):
    said = questions(server, capfd, SAMPLING, batch=True)
    assert "engine: a run asks in batches, which take up to 24 h for each turn" in said
    assert len(server.requests()) == 1


def test_a_dry_run_names_the_setting_of_a_refused_parameter(server, capfd):
    server.rule(family="gpt-5")
    with pytest.raises(ModelError, match=r"set temperature: null in profiles\.sampling"):
        questions(server, capfd, SAMPLING)


def test_a_dry_run_tells_the_name_of_the_token_limit(server, capfd):
    server.rule(family="gpt-5")
    said = questions(server, capfd, NULLS)
    assert "takes max_completion_tokens; set token_limit to it" in said
    assert "of them thoughts" in said


def test_a_dry_run_finds_a_model_that_thinks_until_its_limit(server, capfd):
    server.rule(misbehave="length-of-thought")
    with pytest.raises(ModelError, match=r"raise max_tokens \(64\) in .*reasoning_effort"):
        questions(server, capfd, SAMPLING)


def test_a_dry_run_without_its_endpoint_or_its_key_goes_on(server, capfd, monkeypatch):
    said = questions(server, capfd, SAMPLING, base_url="http://127.0.0.1:9/v1", max_retries=0)
    assert "Not checked from here: engine.base_url" in said
    monkeypatch.delenv(KEY_ENV)
    assert questions(server, capfd, SAMPLING) == ""
    assert not server.requests()


def test_offline_dry_run_asks_nothing_and_a_dry_run_writes_nothing(server, make_run):
    engine = engine_of(server, model="small-chat").model_dump()
    instructions = [{"corpus": "talks", "source": "talks.jsonl"}]
    run = make_run("asked", 4, engine=engine, instructions=instructions)
    (run.folder / "talks.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi."}]}\n')
    assert "question" not in run.finish("--dry-run", "--offline")
    assert not server.requests()
    assert "asks small-chat one short question" in run.finish("--dry-run")
    assert len(server.requests()) == 1
    assert not list(run.folder.glob("run*/**/*.parquet"))
