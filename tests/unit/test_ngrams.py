"""Words and n-grams of texts in many scripts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.text.ngrams import _HAS_NO_MARKS, _IS_UNSPACED, _WORD, ngrams, word_hashes, words


@given(st.text(), st.text())
def test_words_of_joined_texts(left, right):
    assert words(f"{left} {right}") == words(left) + words(right)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_words_are_the_same_in_mixed_texts(text):
    assert [*words(text), "é"] == words(f"{text} é")


@given(st.text(st.sampled_from("aéйß빵_\u2019\u2014\u201c 5\n😀\u017f\u0130") | st.characters()))
def test_words_of_texts_without_marks_are_those_of_all_scripts(text):
    assert words(text) == _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def test_no_script_without_spaces_and_no_mark_counts_as_plain():
    plain = [c for c in map(chr, range(0x20000)) if _HAS_NO_MARKS.fullmatch(c)]
    assert not [c for c in plain if unicodedata.category(c)[0] == "M" or _IS_UNSPACED.match(c)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP; it's 2 cups!", ["don", "t", "stop", "it", "s", "2", "cups"]),
        ("ﬁne café", ["fine", "café"]),
        ("我爱面包", list("我爱面包")),
        ("빵을 굽다", ["빵을", "굽다"]),
        ("हिन्दी रोटी", ["हिन्दी", "रोटी"]),
        ("パンとbread", ["パ", "ン", "と", "bread"]),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_of_many_scripts(text, expected):
    assert words(text) == expected


@given(st.lists(st.sampled_from("abcde"), max_size=30), st.integers(1, 5))
def test_ngrams_are_equal_where_the_words_are(letters, n):
    numbers = ngrams(word_hashes(" ".join(letters)), n).tolist()
    expected = [tuple(letters[start : start + n]) for start in range(len(letters) - n + 1)]
    assert len(numbers) == len(expected)
    assert len(set(numbers)) == len(set(expected)) == len(set(zip(numbers, expected, strict=True)))
