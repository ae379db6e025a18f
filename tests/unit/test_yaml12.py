"""YAML as version 1.2 has it, and nothing that a file can do to its reader."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.config import RunConfig, yaml12
from factory.config.loading import checked, load_config
from factory.errors import ConfigError

GOOD = "output: runs/x\nengine: {kind: scripted}\npersonas: {source: data/personas.jsonl}\n"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0042", 42), ("010", 10), ("0o17", 15), ("0x1F", 31), ("-7", -7), ("1e4", 10_000.0), ("1E-6", 1e-6),
        ("3e-5", 3e-5), ("+.5", 0.5), ("1.", 1.0), (".inf", math.inf), ("true", True), ("False", False), ("~", None),
        ("", None), ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("no", "no"), ("Yes", "Yes"), ("on", "on"),
        ("y", "y"), ("2001-12-14", "2001-12-14"), ("2001-13-45", "2001-13-45"), ("1_000", "1_000"), ("0b1", "0b1"),
        ("0x_", "0x_"), ("=", "="), ("'0042'", "0042"), ("!!str 012", "012"), ("%YAML 1.1\n---\nno", "no"),
        ("{a: 1, 'b': [x, 2]}", {"a": 1, "b": ["x", 2]}), ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2(text, value):
    found = yaml12.parse(text)
    assert (found, type(found)) == (value, type(value))


@settings(deadline=None)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8))
def test_json_is_yaml(value):
    assert yaml12.parse(json.dumps(value)) == value


LAUGHS = "x0: &x0 [lol, lol]\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 10))
TOWER = "x0: &x0 {}\n" + "".join(f"x{i}: &x{i} {{k: [*x{i - 1}]}}\n" for i in range(1, 300))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: !!int foo", "line 2, column 4: cannot be read as int"),
        ("!!bool foo", "cannot be read as bool"), ("!!int ''", "cannot be read as int"),
        ("!!timestamp foo", "timestamp"), ("!!python/name:os.system x", "os.system"), ("!mine x", "!mine"),
        ("1" * 5000, "cannot be read as int"), ("1" * 20, "more than 64 bits"),
        ("[-0, -9223372036854775809]", "64 bits"),
        ("a: 1\na: 2", "line 2, column 1: 'a' is given twice"),
        ("1: a\n1.0: b", "line 2"), ("? [a]\n: b", "a key must be a text"), ("a: &a {b: *a}", "*a is inside of itself"),
        ("&a [[*a]]", "inside of itself"), ("a: *b", "undefined alias"), ("<<: {a: 1}", "`<<` is not in YAML 1.2"),
        (LAUGHS, "expand to more than 1,000,000"), ("[" * 100_000, "more than 100 levels"),
        (TOWER, "expand to more than 100 levels"),
        ("- " * 100_000, "more than 100 levels"), ('"\\uD800"', "half a character"), ('"\\uD800": 1', "half a"),
        ("a: \ud800", "#xd800"), ("a: '\0'", "#x0000"), ("a: [", "line 1, column 5"), ("--- a\n--- b", "line 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(text, said):
    with pytest.raises(yaml12.YamlError) as caught:
        yaml12.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_side_by_side_add_no_levels():
    value = yaml12.parse(f"a: &a {'[' * 98 + ']' * 98}\nb: [{', '.join(['*a'] * 50)}, 1]\nc: [*a]")
    assert len(value["b"]) == 51


def test_a_file_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * yaml12.MAX_SIZE)
    assert yaml12.read(path) is None
    path.write_bytes(b"#" * (yaml12.MAX_SIZE + 1))
    with pytest.raises(yaml12.YamlError, match="more than 1,000,000 bytes"):
        yaml12.read(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(yaml12.YamlError, match="byte 3 is not UTF-8"):
        yaml12.read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a #b", "a #b"), ("#b", "#b"), ("'a #b'", "a #b"), ("{a: b #c}", {"a": "b #c"}), ("1 #b", "1 #b"),
        ("no", "no"), ("", None), ("7", 7), ("[1, '#']", [1, "#"]),
    ],
)  # fmt: skip
def test_a_hash_in_a_value_is_text(text, value):
    assert yaml12.parse_value(text) == value


def config_of(tmp_path, *overrides: str, more: str = "") -> RunConfig:
    (tmp_path / "run.yaml").write_text(GOOD + more)
    return load_config(tmp_path / "run.yaml", overrides)


def test_overrides_keep_their_text(tmp_path):
    config = config_of(tmp_path, "output=runs/a #b", "seed=0042", "profiles.language=no")
    assert (config.output, config.seed, config.profiles.language) == ("runs/a #b", 42, "no")


def test_an_override_changes_one_use_of_an_alias(tmp_path):
    more = "profiles: {sampling: &s {top_p: 0.5}}\ndialogues: {sampling: *s}\n"
    config = config_of(tmp_path, "profiles.sampling.top_p=1.0", more=more)
    assert (config.profiles.sampling.top_p, config.dialogues.sampling.top_p) == (1.0, 0.5)


def test_numbers_of_an_engine_are_numbers(tmp_path):
    more = "evaluation: {judges: [{name: a, model: embedded, engine_kwargs: {max_model_len: 1e4, dtype: no}}]}\n"
    assert config_of(tmp_path, more=more).evaluation.judges[0].engine_kwargs == {"max_model_len": 10_000, "dtype": "no"}


@pytest.mark.parametrize(
    "override",
    [
        ".=1", "a.=1", ".a=1", "seed=1:30", "seed=!!bool foo", "seed=2001-13-45", "seed=" + "[" * 20_000,
        "seed=" + "1" * 5000, "profiles.language=\udcff", "\udcff=1", "personas.source.0.x=1", "seed.a=1",
        "a." * 5000 + "a=1", "training.lora=[1] #x", "instructions=[{1: 2}]", "{1: 2}=3", "seed=?",
    ],
)  # fmt: skip
def test_a_wrong_override_is_one_short_line(tmp_path, override):
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, override)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("more", ["1: 2\n", "null: 2\n", "true: 1\n", "engine_: &a {b: *a}\n", "chat: {1: 2}\n"])
def test_a_key_of_another_kind_is_refused(tmp_path, more):
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, more=more)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_no_text_is_named():
    with pytest.raises(ConfigError, match="1"):
        checked(RunConfig, {1: 2}, "config key")  # type: ignore[dict-item]
