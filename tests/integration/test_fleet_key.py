import os

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from factory.config import Evaluation, Fleet, RunConfig, ServedModel
from factory.errors import ConfigError
from factory.evaluation.judge_clients import open_judges
from factory.serving.deployment import (
    BODY_BYTES,
    KeyCheck,
    _digest,
    _llm_config,
    _threads,
    guarded,
    queued,
    wire_name,
    workers,
)
from factory.serving.fleet import check_fleet, fleet_key_env
from tests.chat_properties import save_byte_tokenizer
from tests.integration.endless_body import post_without_end


@pytest.fixture
def client():
    door = FastAPI()
    door.add_middleware(KeyCheck, digest=_digest("sesame"))

    @door.get("/v1/models")
    def models() -> dict:
        return {"data": []}

    return TestClient(door)


@pytest.mark.parametrize("said", [{}, {"Authorization": "Bearer open"}, {"Authorization": "Bearer "}])
def test_without_the_key_the_door_is_shut(client, said):
    assert client.get("/v1/models", headers=said).status_code == 401


def test_with_the_key_it_is_open(client):
    assert client.get("/v1/models", headers={"Authorization": "Bearer sesame"}).status_code == 200


def test_the_door_does_not_know_the_key_itself():
    assert "sesame" not in str(vars(KeyCheck(None, _digest("sesame"))))


def serve_door(fleet: Fleet) -> TestClient:
    """Serve's own door for models with our checks before it, asked at the fleet's default address."""
    from ray.llm._internal.serve.core.ingress.ingress import init

    door = guarded(init(), fleet)

    @door.get("/v1/models")
    def models() -> dict:
        return {"data": []}

    @door.post("/v1/chat/completions")
    async def answer(request: Request) -> int:
        return len(await request.body())

    return TestClient(door, "http://127.0.0.1:8800")


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def test_a_keyless_fleet_answers_no_web_page(monkeypatch):
    monkeypatch.delenv("JUDGES_API_KEY", raising=False)
    client = serve_door(Fleet())
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/models", headers={"Host": "evil.example:8800"}).status_code == 400
    for origin in ("http://evil.example", "http://127.0.0.1:3000", "null"):
        for answer in (
            client.options("/v1/chat/completions", headers={"Origin": origin, **PREFLIGHT}),
            client.get("/v1/models", headers={"Origin": origin}),
            client.post("/v1/chat/completions", content="{}", headers={"Origin": origin}),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers


def test_a_fleet_on_a_network_has_a_key_and_any_name(monkeypatch):
    monkeypatch.setenv("JUDGES_API_KEY", "sesame")
    client = serve_door(Fleet(host="0.0.0.0"))
    key = {"Authorization": "Bearer sesame", "Host": "judges.example.com:8800"}
    assert client.get("/v1/models", headers=key).status_code == 200
    assert client.get("/v1/models", headers=key | {"Origin": "http://evil.example"}).status_code == 403
    named = serve_door(Fleet(host="0.0.0.0", allowed_hosts=("judges.example.com", "app.example.com")))
    assert named.get("/v1/models", headers=key | {"Origin": "https://app.example.com"}).status_code == 200
    assert named.get("/v1/models", headers=key | {"Host": "evil.example"}).status_code == 400


def test_a_fleet_reads_no_request_without_end(monkeypatch):
    monkeypatch.delenv("JUDGES_API_KEY", raising=False)
    client = serve_door(Fleet())
    assert client.post("/v1/chat/completions", content=b"x" * BODY_BYTES).json() == BODY_BYTES
    assert client.post("/v1/chat/completions", content=b"x" * (BODY_BYTES + 1)).status_code == 413
    answer, read = post_without_end(client.app, "/v1/chat/completions")
    assert answer == 413
    assert BODY_BYTES <= read < 2 * BODY_BYTES


def test_a_fleet_that_others_can_reach_must_have_a_key(monkeypatch):
    monkeypatch.delenv("JUDGES_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="holds no key"):
        check_fleet(Fleet(host="0.0.0.0"))
    with pytest.raises(ConfigError, match=r"allowed_hosts has 'judges.example.com'.* holds no key"):
        check_fleet(Fleet(allowed_hosts=("judges.example.com",)))
    check_fleet(Fleet())
    assert fleet_key_env(Fleet()) is None
    monkeypatch.setenv("JUDGES_API_KEY", "sesame")
    check_fleet(Fleet(host="0.0.0.0"))
    assert fleet_key_env(Fleet()) == "JUDGES_API_KEY"


def test_another_model_or_setting_is_another_name_on_the_wire():
    judge = ServedModel(name="a", model="embedded")
    assert wire_name(judge) == wire_name(judge.model_copy(update={"replicas": (1, 9)}))
    assert wire_name(judge) != wire_name(judge.model_copy(update={"engine_kwargs": {"max_model_len": 512}}))
    assert wire_name(judge).startswith("a-")


def test_the_clients_of_a_fleet_know_the_special_tokens_of_its_models():
    judge = ServedModel(name="a", model="embedded", device="cpu")
    (client,) = open_judges(RunConfig.model_construct(evaluation=Evaluation(judges=(judge,))), "http://127.0.0.1:1/v1")
    assert {"<|im_end|>", "<file_sep>"} < set(client.config.special_tokens)


def test_a_served_judge_asks_as_its_own_chat_template_does(tmp_path):
    """Its server merges the system message where the template takes none, and leaves out thoughts by default."""
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('none') }}{% endif %}{{ m.content }}</s>"
        "{% endfor %}{{ date_string }}{% if not enable_thinking %}<think></think>{% endif %}"
    )
    save_byte_tokenizer(tmp_path, ["<think>", "</think>"])
    (tmp_path / "chat_template.jinja").write_text(template)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    judge = ServedModel(
        name="a", model=str(tmp_path), device="cpu", chat_template_kwargs={"date_string": "01 Feb 2026"}
    )
    asked = _llm_config(judge, 1).engine_kwargs
    assert asked["default_chat_template_kwargs"] == {"enable_thinking": False, "date_string": "01 Feb 2026"}
    assert asked["chat_template"].endswith(template)
    thinking = judge.model_copy(update={"chat_template_kwargs": {"enable_thinking": True}})
    assert wire_name(thinking) != wire_name(judge)
    expected = {"enable_thinking": True, "date_string": "26 Jul 2024"}
    assert _llm_config(thinking, 1).engine_kwargs["default_chat_template_kwargs"] == expected
    (client,) = open_judges(
        RunConfig.model_construct(evaluation=Evaluation(judges=(thinking,))), "http://127.0.0.1:1/v1"
    )
    assert client.settings["chat_template_kwargs"] == {"enable_thinking": True}


@pytest.mark.parametrize("replicas", [(1, 1), (1, 8)])
def test_the_queue_of_one_replica_holds_all_that_a_run_asks_at_a_time(replicas):
    """A fleet begins with its fewest replicas, and its clients with as many requests as the most can take."""
    judge = ServedModel(name="a", model="embedded", device="cpu", replicas=replicas)
    (client,) = open_judges(RunConfig.model_construct(evaluation=Evaluation(judges=(judge,))), "")
    assert client.config.max_concurrency <= queued(judge) <= 2 * replicas[1] * judge.max_concurrency


def test_a_replica_has_a_bundle_for_each_stage_of_its_pipeline_too():
    parallel = {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}
    assert workers(ServedModel(name="a", model="embedded", engine_kwargs=parallel)) == 8


def test_replicas_share_the_cores_of_a_machine_of_their_own(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    one, two = (ServedModel(name=name, model="embedded", device="cpu", replicas=(1, 2)) for name in ("one", "two"))
    assert [_threads(judges) for judges in ([one], [one, two], [one, two] * 4)] == [4, 2, 1]
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert _threads([one]) == 1
