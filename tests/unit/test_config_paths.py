"""Paths of the settings: which places are known, and what is filled in."""

from pathlib import Path

import pytest

from factory.config import RunConfig
from factory.config.loading import load_config, path_argument
from factory.errors import ConfigError
from factory.storage.absolute_paths import input_path, output_path

GOOD = "output: runs/x\nengine: {kind: scripted}\npersonas: {source: data/personas.jsonl}\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "/mnt/shared")
    monkeypatch.setenv("BUCKET", "s3://bucket")
    monkeypatch.setenv("ARCHIVE", "zip://a.jsonl::b.zip")
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.setenv("BROKEN", "a\udcff")
    monkeypatch.delenv("UNSET", raising=False)
    path = tmp_path / "run.yaml"
    path.write_text(GOOD)

    def loaded(*overrides: str) -> RunConfig:
        return load_config(path, overrides)

    return loaded


FIELDS = [
    "output", "personas.source", "training.data", "training.base_model", "curation.benchmark", "evaluation.benchmark",
    "safety.real_people_file",
]  # fmt: skip


def value_of(config: RunConfig, field: str) -> str:
    value = config
    for name in field.split("."):
        value = getattr(value, name)
    return str(value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$PLACE/a", "/mnt/shared/a"), ("${PLACE}b/$PLACE", "/mnt/sharedb//mnt/shared"), ("$BUCKET/a", "s3://bucket/a"),
        ("~/a", str(Path.home() / "a")), ("$$PLACE/a", "$PLACE/a"), ("a #b", "a #b"), ("./~a", "./~a"),
        ("s3://bucket/a/", "s3://bucket/a/"), ("gs://bucket", "gs://bucket"), ("a:b", "a:b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", FIELDS)
def test_variables_and_home_are_filled_in(load, field, written, meant):
    assert value_of(load(f"{field}={written}"), field) == meant


WRONG = [
    ("$UNSET/a", "the environment variable UNSET is not set"), ("${UNSET}", "variable UNSET is not set"),
    ("$NOTHING/a", "variable NOTHING is not set"), ("a/$", "no name of a variable"), ("$5", "write $$"),
    ("${A-b}", "no name of a variable"), ("~nobody-of-that-name/a", "no such home folder"),
    ("$ARCHIVE", "without `::`"), ("zip://a::s3://b/c.zip", "without `::`"), ("runs/a::1", "without `::`"),
    ("simplecache::http://127.0.0.1:9/x", "without `::`"), ("s3://b//x", "whole names between the slashes"),
    ("s3:///", "give the bucket"), ("s3:///x", "give the bucket"), ("gs://b/x/../y", "whole names"),
    ("s3://b/x//", "whole names"), ("s3://", "give a whole path"),
    ('"a\\0b"', "give a whole path"), ("$BROKEN", "UTF-8"),
    *((f"{scheme}://127.0.0.1:9/x", "give a local path or s3://bucket/prefix or gs://bucket/prefix") for scheme in (
        "http", "https", "memory", "zip", "ftp", "sftp", "data", "git", "github", "hdfs", "smb", "reference", "local",
        "file", "webhdfs", "jupyter", "S3", "s3a", "abfs",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("written", "said"), WRONG)
def test_other_places_are_refused(load, written, said):
    for field in FIELDS:
        with pytest.raises(ConfigError) as caught:
            load(f"{field}={written}")
        assert f"'{field}' is" in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_hub_is_a_place_of_sources_alone(load):
    hub = "hf://datasets/org/name/a.jsonl"
    assert load(f"personas.source=[{hub}, $PLACE/b.jsonl]").personas.source == (hub, "/mnt/shared/b.jsonl")
    with pytest.raises(ConfigError, match=r"give a local path or s3://bucket/prefix or gs://bucket/prefix$"):
        load(f"output={hub}")
    with pytest.raises(ConfigError, match=r"or hf://datasets/org/name/path$"):
        load("personas.source=https://host/a.jsonl")


@pytest.mark.parametrize("field", ["prompts_dir", "planning.prices"])
def test_what_is_read_here_must_lie_here(load, field):
    assert value_of(load(f"{field}=$PLACE/a"), field) == "/mnt/shared/a"
    with pytest.raises(ConfigError, match=r"give a local path$"):
        load(f"{field}=s3://bucket/a")


def test_a_model_is_a_place_and_its_name_at_an_endpoint_is_not(load):
    assert load("engine={kind: vllm, model: $PLACE/llama}").engine.model == "/mnt/shared/llama"
    assert load("engine={kind: openai, model: a$b::c}").engine.model == "a$b::c"
    with pytest.raises(ConfigError, match=r"'evaluation.judges.0.model' is 'http://host/m': give a local path"):
        load("evaluation.judges=[{name: a, model: http://host/m}]")
    for hub in ("hf://org/name", "https://huggingface.co/org/name"):
        with pytest.raises(ConfigError, match="give the id alone, as org/name"):
            load(f"training.base_model={hub}")


def test_a_dollar_in_other_settings_stays(load):
    config = load("profiles.language=$PLACE", "engine.default='~ ${UNSET} $5'")
    assert (config.profiles.language, config.engine.default) == ("$PLACE", "~ ${UNSET} $5")


def test_paths_are_filled_in_once(load):
    config = load("output=/a/$$PLACE", "personas.source=$$x.jsonl")
    placed = config.with_paths(input_path, output_path)
    assert (placed.output, Path(placed.personas.source).name) == ("/a/$PLACE", "$x.jsonl")


def test_a_place_of_the_command_line_is_checked_as_those_of_a_config(load):
    assert path_argument("--pilot", "s3://b/x") == "s3://b/x"
    with pytest.raises(ConfigError, match=r"^--pilot 'zip://a::b': give a path without"):
        path_argument("--pilot", "zip://a::b")
