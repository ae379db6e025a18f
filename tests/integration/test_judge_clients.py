"""Whether a judge tells log-probabilities: what its endpoint says of that, and what says nothing of it."""

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


def asked(server: OpenAIServer, **settings: object) -> bool:
    """Whether a judge behind the server is asked for log-probabilities after the probe."""
    told = {"kind": "openai", "name": "paid", "model": "small-chat", "base_url": server.base_url}
    config = EndpointJudge.model_validate(told | {"api_key_env": KEY_ENV, "max_retries": 0, "timeout_s": 5} | settings)
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
def test_only_a_refusal_or_a_good_reply_without_them_ends_the_asking_for_log_probabilities(
    server, monkeypatch, misbehave, still
):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(misbehave=misbehave)
    assert asked(server) == still


def test_an_endpoint_that_does_not_answer_in_time_or_at_all_is_asked_for_log_probabilities_later(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule(misbehave="hang")
    assert asked(server, timeout_s=0.5)
    assert asked(server, base_url="http://127.0.0.1:9/v1")


def test_a_judge_that_is_not_to_be_asked_is_not(server, monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    server.rule()
    assert not asked(server, logprobs=False)
    assert not server.requests()
