"""Near-duplicates: what is alike meets, what is not does not, and the smallest id stays."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.curation.minhash import band_keys, banding_for, duplicate_groups, edges, signature
from factory.text.ngrams import ngrams, word_hashes, words

IDS = st.integers(0, 2**64 - 1)


def groups_of(texts: dict[int, str], similarity: float = 0.8) -> dict[int, int]:
    """Who goes for whom."""
    banding = banding_for(similarity)
    ids = np.array(list(texts), np.uint64)
    keys = band_keys(np.stack([signature(word_hashes(text)) for text in texts.values()]), banding)
    goes, stays = duplicate_groups(edges(keys.ravel(), np.repeat(ids, banding.bands)))
    return dict(zip(goes.tolist(), stays.tolist(), strict=True))


def sentence(seed: int, length: int = 120) -> list[str]:
    return [f"w{word}" for word in random.Random(seed).choices(range(5000), k=length)]


def test_equal_replies_are_one_whatever_their_case_and_punctuation():
    texts = {5: "Flour, water and salt, love!", 3: "flour water and salt love", 9: "Something else altogether."}
    assert groups_of(texts) == {5: 3}


@pytest.mark.parametrize("short", ["Yes.", "네", "Static and Steam"])
def test_short_replies_are_alike_when_they_are_equal(short):
    assert groups_of({1: short, 2: short, 3: "Another answer"}) == {2: 1}


def test_a_few_changed_words_hide_nothing_and_other_replies_stay():
    texts = {}
    for number in range(40):
        words_ = sentence(number)
        texts[2 * number] = " ".join(words_)
        texts[2 * number + 1] = " ".join([*words_[:60], "changed", *words_[61:]])  # similarity 0.95
    assert groups_of(texts) == {2 * number + 1: 2 * number for number in range(40)}


def test_half_of_a_reply_in_common_is_not_enough():
    texts = {}
    for number in range(40):
        words_ = sentence(number)
        texts[2 * number] = " ".join(words_)
        texts[2 * number + 1] = " ".join([*words_[:60], *sentence(1000 + number, 60)])  # similarity 0.33
    assert groups_of(texts) == {}


def test_the_banding_catches_what_it_promises():
    banding = banding_for(0.8)
    assert banding.caught(0.9) > 0.98
    assert banding.caught(0.8) > 0.7
    assert banding.caught(0.5) < 0.02
    assert banding.bands * banding.rows <= 128


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), IDS), min_size=1, max_size=30), st.randoms())
def test_who_stays_does_not_depend_on_the_order(rows, drawing):
    told = []
    for _ in range(2):
        bands, dialogues = (np.array(column, np.uint64) for column in zip(*rows, strict=True))
        goes, stays = duplicate_groups(edges(bands, dialogues))
        told.append((goes.tolist(), stays.tolist()))
        drawing.shuffle(rows)
    assert told[0] == told[1]
    goes, stays = told[0]
    assert goes == sorted(set(goes))
    assert not set(goes) & set(stays)
    assert all(stay < go for go, stay in zip(goes, stays, strict=True))


def test_a_chain_is_one_group_across_partitions():
    one = edges(np.array([1, 1], np.uint64), np.array([2**63 + 7, 4], np.uint64))
    two = edges(np.array([2, 2], np.uint64), np.array([2**63 + 7, 9], np.uint64))
    goes, stays = duplicate_groups(np.concatenate([one, two]))
    assert goes.tolist() == [9, 2**63 + 7]
    assert stays.tolist() == [4, 4]


@given(st.text(), st.text())
def test_words_are_the_same_whatever_stands_between_them(one, other):
    assert words(f"{one} {other}") == words(one) + words(other)


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_has_the_same_words_beside_other_scripts(text):
    assert [*words(text), "é"] == words(f"{text} é")


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
def test_ngrams_are_equal_exactly_where_the_words_are(letters, n):
    numbers = ngrams(word_hashes(" ".join(letters)), n).tolist()
    spelled = [tuple(letters[start : start + n]) for start in range(len(letters) - n + 1)]
    assert len(numbers) == len(spelled)
    assert len(set(numbers)) == len(set(spelled)) == len(set(zip(numbers, spelled, strict=True)))
