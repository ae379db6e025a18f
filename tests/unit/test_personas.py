"""Personas from raw rows."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import Persona, Reject
from factory.synthesis.personas import read_persona


@given(st.text())
def test_texts_are_clean_personas_or_rejects(text):
    result = read_persona({"persona": text}, "persona")
    if isinstance(result, Persona):
        assert result.persona == " ".join(unicodedata.normalize("NFC", text).split())
        assert read_persona({"persona": result.persona}, "persona") == result
    else:
        assert result.reason in ("empty", "invalid_text")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty"), (" \t\n ", "empty"), (None, "empty"), (7, "not_text"), (["a"], "not_text"),
        ({"a": 1}, "not_text"), ("a\x00b", "invalid_text"), ("a\ud800b", "invalid_text"), ("x" * 200_000, "too_long"),
    ],
)  # fmt: skip
def test_invalid_personas_are_rejected(value, reason):
    result = read_persona({"persona": value}, "persona")
    assert isinstance(result, Reject)
    assert result.reason == reason


def test_missing_column_is_rejected_with_the_others():
    result = read_persona({"text": "a baker"}, "persona")
    assert isinstance(result, Reject)
    assert (result.reason, "'text'" in result.detail) == ("missing_column", True)


def test_line_of_text_is_a_persona():
    assert read_persona("a baker", "persona") == read_persona({"persona": "a  baker\n"}, "persona")
