"""The probe whether a judge returns log-probabilities, against endpoints that do, refuse or fail."""

from collections.abc import Iterator

import pytest

from factory.config import EndpointJudge
from factory.evaluation.judge_clients import JudgeClient, probe_judges
from factory.inference.model_files import Located
from factory.runtime.progress import Progress
from tests.integration.openai_server import KEY, OpenAIServer

KEY_ENV = "JUDGE_KEY"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.stop()


def requests_logprobs(server: OpenAIServer, **settings: object) -> bool:
    """Return whether a judge behind the server still gets requests for log-probabilities after the probe."""
    values = {"kind": "openai", "name": "paid", "model": "small-chat", "base_url": server.base_url}
    config = EndpointJudge.model_validate(
        values | {"api_key_env": KEY_ENV, "max_retries": 0, "timeout_s": 5} | settings
    )
    (judge,) = probe_judges([JudgeClient("paid", "openai", Located("small-chat", "x"), config, {})], Progress())
    assert isinstance(judge.config, EndpointJudge)
    return judge.config.logprobs


@pytest.mark.parametrize(
    ("misbehave", "still"),
    [
        ("", True),
        ("refuse-logprobs", False),
        ("422", False),
        ("no-logprobs", False),
        ("401", True),
        ("429", True),
        ("500", True),
        ("drop", True),
        ("html", True),
        ("shapeless", True),
        ("no-choices", True),
    ],
)
def test_probe_turns_logprobs_off_only_when_sure(server, monkeypatch, misbehave, still):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(misbehave=misbehave)
    assert requests_logprobs(server) == still


@pytest.mark.parametrize(("family", "still"), [("deepseek", True), ("vllm", True), ("gpt-5", False), ("gemini", False)])
def test_probe_asks_reasoning_models_as_they_know_it(server, monkeypatch, family, still):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(family=family)
    assert requests_logprobs(server) == still


def test_probe_takes_the_other_name_of_the_token_limit(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(family="mistral")
    assert requests_logprobs(server, token_limit="max_completion_tokens")
    assert [entry["status"] for entry in server.requests()] == [422, 200]


def test_silent_endpoint_keeps_logprobs(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(misbehave="hang")
    assert requests_logprobs(server, timeout_s=0.5)
    assert requests_logprobs(server, base_url="http://127.0.0.1:9/v1")


def test_judge_without_logprobs_is_not_probed(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule()
    assert not requests_logprobs(server, logprobs=False)
    assert not server.requests()
