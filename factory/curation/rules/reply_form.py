"""Rules about the form of replies: their length, their end, their repetitions, their language."""
# ruff: noqa: RUF001 - sentences end in many scripts

import re
from collections.abc import Collection

import numpy as np

from factory.curation.rules.context import DialogueContext, RuleSettings
from factory.curation.rules.endings import is_whole
from factory.text.language import detect, languages_named, likelihood, prose, with_similar
from factory.text.ngrams import ngrams, shingles, word_hashes, words

REPEATED_NGRAM = 6
"""Words in a row that a reply says twice by its own doing, not by the language's."""
JUDGED_NGRAMS = 20
"""Fewer than these are too few for a share."""
LOOP_TIMES, LOOP_WORDS, LOOP_PERIOD = 4, 24, 60
"""A loop says at most LOOP_PERIOD words LOOP_TIMES or more with nothing between, in LOOP_WORDS or more."""
LONG_REPLY = 8
"""From so many words on, a reply that stands twice in a dialogue is no polite phrase."""

CAUSE, TELLING_LETTERS = 0.25, 20
"""How likely a user's turn must be in a language to be answered in it: few letters leave doubts."""

_LIST_ITEM = re.compile(r"\s*(?:[-*•+–]|\d+[.)])\s|\s*[|#]")
_NUMBERING = re.compile(r"(?m)^[ \t]*(?:[-*•+–]|\d+[.)])[ \t]+")
_UNFINISHED = re.compile(r"[\w,:(\[{&+=]\Z")
_SENTENCE_END = re.compile(r"[.!?…。！？｡।॥؟۔։።၊။។]")
_WORD = re.compile(r"[^\W\d_]{2}|[^\W\d_A-Za-z\u00c0-\u024f\u0370-\u052f]")
"""Two letters, or one of a script in which one may be a word."""
_NO_FULL_STOP = re.compile(r"[\u0e00-\u0eff]\Z")
"""Thai and Lao end sentences with a space."""
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{14,}")
"""Letters without a space between, over and over."""


def too_short(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply has next to no words, or numbers and symbols alone."""
    for number, hashes in enumerate(case.reply_hashes, 1):
        if len(hashes) < book.quality.min_words:
            return f"reply {number} has {len(hashes)} words"
        if not _WORD.search(case.replies[number - 1]):
            return f"reply {number} has no words, but numbers and symbols alone"
    return None


def unfinished_sentence(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply ends in the middle of a sentence or of a block of code."""
    for number, reply in enumerate(case.replies, 1):
        if reply.count("```") % 2:
            return f"reply {number} does not close its code"
        *before, last = reply.rstrip().splitlines() or [""]
        if len(words(last)) >= book.quality.unfinished_min_words and _is_cut(before, last, case.names):
            return f"reply {number} ends with: {last[-60:]}"
    return None


def _is_cut(before: list[str], last: str, names: Collection[str]) -> bool:
    if not _UNFINISHED.search(last) or _NO_FULL_STOP.search(last) or is_whole(last, names):
        return False
    # Some write all lines, or all items of a list, without full stops.
    peers = [line for line in before if bool(_LIST_ITEM.match(line)) == bool(_LIST_ITEM.match(last))]
    earlier = "" if _LIST_ITEM.match(last) else last
    return any(_SENTENCE_END.search(line.rstrip()[-1:]) for line in peers) or bool(_SENTENCE_END.search(earlier))


def repetition(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply goes in circles, or the same long reply stands twice."""
    for number, reply in enumerate(case.replies, 1):
        found = _circles(_NUMBERING.sub("", prose(reply)), book.quality.max_repeated)
        if found:
            return f"reply {number}: {found}"
    long = [hashes.tobytes() for hashes in case.reply_hashes if len(hashes) >= LONG_REPLY]
    return "the same reply twice" if len(set(long)) < len(long) else None


def _circles(text: str, most: float) -> str | None:
    stutter = _STUTTER.search(text)
    if stutter:
        return f"{stutter[0][:40]!r}"
    hashes = word_hashes(text)
    total = len(hashes) - REPEATED_NGRAM + 1
    repeated = total - len(np.unique(ngrams(hashes, REPEATED_NGRAM)))
    if total >= JUDGED_NGRAMS and repeated > most * total:
        return f"{repeated / total:.0%} of it was said before"
    # No loop repeats fewer of them, and few replies repeat as many.
    return _loop(hashes) if repeated > LOOP_WORDS // 2 else None


def _loop(hashes: np.ndarray) -> str | None:
    for period in range(1, min(LOOP_PERIOD, len(hashes) // LOOP_TIMES) + 1):
        same = np.concatenate([[False], hashes[period:] == hashes[:-period], [False]])
        changes = np.flatnonzero(same[1:] != same[:-1])
        longest = int((changes[1::2] - changes[::2]).max(initial=0)) + period
        if longest >= max(LOOP_TIMES * period, LOOP_WORDS):
            return f"{period} words {longest // period} times in a row"
    return None


def copied_reference(case: DialogueContext, book: RuleSettings) -> str | None:
    """A rewritten reply is its reference; a short one may be, beside others that are not."""
    copied = [
        number
        for number, (hashes, reference) in enumerate(zip(case.reply_hashes, case.references, strict=False), 1)
        if _alike(hashes, word_hashes(reference)) >= book.quality.max_copied
    ]
    long = [number for number in copied if len(case.reply_hashes[number - 1]) >= LONG_REPLY]
    if long or (copied and len(copied) == len(case.replies)):
        return f"reply {(long or copied)[0]} is its reference"
    return None


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """The Jaccard similarity of two texts, by three words in a row."""
    first, second = shingles(one, 3), shingles(other, 3)
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / max(1, len(first) + len(second) - common)


def wrong_language(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply is neither in the characters' language nor in one that the dialogue gives cause for.

    That is the language of a user's turn or of a reference, or one that a user's turn names.
    """
    if not book.languages:
        return None
    for number, reply in enumerate(case.replies, 1):
        language = language_of(reply, book)
        if language and language not in with_similar(book.languages) and not _has_cause(language, case, book):
            return f"reply {number} is in {language.title()}"
    return None


def _has_cause(language: str, case: DialogueContext, book: RuleSettings) -> bool:
    asked, likes = "\n".join(case.users), with_similar(frozenset({language}))
    if likes & languages_named(asked):
        return True
    # By itself a turn of a word or two may be in many languages.
    long = [text for text in case.users + case.references if _letters(text) >= TELLING_LETTERS]
    for text in [asked, *long]:
        told = language_of(text, book)
        if told in likes or likelihood(prose(text), language, book.languages | {told or language}) >= CAUSE:
            return True
    return False


def language_of(text: str, book: RuleSettings) -> str | None:
    """The language of a text that is long enough to tell it with certainty."""
    written = prose(text)
    if _letters(written) < book.quality.language_letters:
        return None
    language, certainty = detect(written) or ("", 0.0)
    return language if certainty >= book.quality.language_certainty else None


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))
