"""Credentials in URLs and settings are never written."""

import json

import pytest

from factory.cli import exit_with_error_line
from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.job import settings_document
from factory.storage.schemas import PROFILES
from factory.storage.tables import Table, compute_fingerprint
from factory.text.redaction import find_secrets, redact_secrets, redact_urls


@pytest.mark.parametrize("user", ["me:secret@", "secret@", ":secret@", "me:se@cret@", "me:secret%2F@"])
def test_credentials_in_urls_are_redacted(user):
    assert redact_urls(f"https://{user}host:8000/v1") == "https://…@host:8000/v1"
    settings = '{"base_url": "https://%shost/v1", "contact": "me@host"}'
    assert redact_urls(settings % user) == settings % "…@"


@pytest.mark.parametrize("text", ["https://host/v1", "https://host/@me/x", '{"a": "s3://bucket", "b": "me@host"}', ""])
def test_texts_without_credentials_are_kept(text):
    assert redact_urls(text) == text


SECRET = [
    "hf_token", "token", "TOKEN", "authToken", "use_auth_token", "api_key", "apikey", "apiKey", "OPENAI_API_KEY",
    "X-Api-Key", "password", "db_password", "passwd", "secret", "client_secret", "aws_secret_access_key", "access_key",
    "privateKey", "credentials", "passphrase", "Authorization", "bearer",
]  # fmt: skip
OPEN = [
    "max_tokens", "tokenizer", "tokenizer_mode", "special_tokens", "additional_special_tokens", "tokens_per_second",
    "stop_token_ids", "pad_token", "bos_token", "image_token", "image_token_id", "start_token", "num_experts_per_token",
    "max_num_batched_tokens", "long_prefill_token_threshold", "api_key_env", "password_env", "token_id", "keys", "key",
    "secret_name", "credentials_file", "key_value_dtype", "monkey", "secretary", "tokenization", "kv_cache_dtype", "",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_secret_names_are_found(name):
    settings = {"a": [{name: "s3cret"}], "b": {name: {"user": "s3cret", "n": 5}}, name: ["s3cret"]}
    assert "s3cret" not in str(redact_secrets(settings))
    assert list(find_secrets(settings)) == [f"a.0.{name}", f"b.{name}", name]
    assert list(find_secrets({name: None})) == list(find_secrets({name: True})) == list(find_secrets({name: ""})) == []


@pytest.mark.parametrize("name", OPEN)
def test_other_names_are_kept(name):
    settings = {"a": [{name: "value"}], name: {"x": 1}}
    assert redact_secrets(settings) == settings
    assert not list(find_secrets(settings))


def test_numbers_under_secret_names_are_kept():
    assert redact_secrets({"secret": 3, "url": "http://a:b@c"}) == {"secret": 3, "url": "http://…@c"}


GOOD = {"output": "runs/x", "engine": {"kind": "scripted"}, "personas": {"source": "p.jsonl"}}
HF = {"hf_token": "s3cret"}
DEEP = {"hf_overrides": {"inner": [{"api_key": "s3cret"}]}}


@pytest.fixture
def refusal(tmp_path):
    def message(settings, *overrides):
        (tmp_path / "run.yaml").write_text(json.dumps(GOOD | settings))
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "run.yaml", overrides)
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"engine": {"kind": "vllm", "model": "m", "engine_kwargs": HF}}, "engine.engine_kwargs"),
        ({"chat": {"engine_kwargs": HF}}, "chat.engine_kwargs"),
        ({"chat": {"models": [{"name": "a", "model": "m", "engine_kwargs": DEEP}]}}, "chat.models.0.engine_kwargs"),
        ({"evaluation": {"candidates": [{"name": "a", "model": "m", "engine_kwargs": HF}]}}, "evaluation.candidates.0"),
        ({"evaluation": {"judges": [{"name": "a", "model": "m", "engine_kwargs": DEEP}]}}, "evaluation.judges.0"),
    ],
)
def test_secret_in_engine_kwargs_is_refused(refusal, settings, field):
    message = refusal(settings)
    assert field in message
    assert "HF_TOKEN" in message
    assert "'hf_token'" in message or "'hf_overrides.inner.0.api_key'" in message


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ({"engine": {"kind": "openai", "model": "m", "api_key": "s3cret"}}, ()),
        ({"engine": {"kind": "openai", "model": "m", "api_key_env": "sk-s3cret"}}, ()),
        ({"chat": {"password_env": "s3cret!"}}, ()), ({"evaluation": {"fleet": {"api_key_env": "my s3cret"}}}, ()),
        ({"chat": {"engine_kwargs": HF, "port": -1, "models": 3}}, ()), ({"personas": HF}, ()), (HF, ()),
        ({"personas": {"source": "https://me:s3cret@host/p.jsonl?token=s3cret"}}, ()),
        ({}, ["engine.engine_kwargs.hf_token=s3cret"]), ({}, ["chat={engine_kwargs: {hf_token: s3cret}"]),
        ({}, ["seed.hf_token=s3cret"]), ({}, ["chat.engine_kwargs.hf_token=[s3cret"]),
        ({}, ["seed={hf_token: s3cret}"]), ({}, ["output=https://me:s3cret@host/x"]),
        ({}, [".hf_token=s3cret"]), ({}, ["chat.engine_kwargs=[hf_token: s3cret"]),
    ],
)  # fmt: skip
def test_refusal_hides_secret(refusal, settings, overrides):
    assert refusal(settings, *overrides)


def test_refusal_hides_numeric_secret(refusal):
    assert "8162" not in refusal({"chat": {"engine_kwargs": {"auth": [{"password": 8162}]}}})


def test_written_settings_hide_passwords(tmp_path):
    (tmp_path / "run.yaml").write_text(
        json.dumps(GOOD | {"engine": {"kind": "openai", "model": "m", "base_url": "https://me:s3cret@host/v1"}})
    )
    config = load_config(tmp_path / "run.yaml")
    (tmp_path / "config.json").write_bytes(settings_document(config))
    assert "s3cret" not in (tmp_path / "config.json").read_text()
    again = load_config(tmp_path / "config.json")
    assert again.engine.base_url == "https://…@host/v1"
    assert again.model_copy(update={"engine_section": config.engine}) == config


def test_table_inputs_hide_passwords(tmp_path):
    settings = {"url": "https://me:s3cret@host", "nested": {"api_key": "s3cret", "max_tokens": 5}}
    table, lines = Table(str(tmp_path), "profiles"), []
    table.begin(compute_fingerprint(settings), settings, lines.append)
    table.begin(compute_fingerprint(settings), settings, lines.append)
    assert not lines, "the table stays"
    assert table.inputs() == {"url": "https://…@host", "nested": {"api_key": "…", "max_tokens": 5}}
    table.write_arrow("0000", PROFILES.empty_table())
    other = settings | {"nested": {"api_key": "s3cret", "max_tokens": 6}}
    table.begin(compute_fingerprint(other), other, lines.append)
    assert "nested.max_tokens was 5 and is 6" in lines[0]
    assert "s3cret" not in lines[0]


def test_error_line_hides_password(capsys):
    def fails():
        raise ConfigError("https://me:s3cret@host/v1 does not answer")

    with pytest.raises(SystemExit):
        exit_with_error_line(fails)
    assert capsys.readouterr().err == "error: https://…@host/v1 does not answer\n"
