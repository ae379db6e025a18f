"""Finds the score that a judge states in free text: "the final score is 4", "Итоговая оценка — четыре", "评分 4"."""

# ruff: noqa: RUF001 - statements in many scripts

import re
from collections.abc import Iterator
from dataclasses import dataclass

from factory.evaluation import verdict_words as words
from factory.evaluation.verdict_quotations import in_ascii, own_words, without_quotations

MAX_CHARACTERS = 20_000
"""A longer text has no statement; thoughts are not part of it."""
MAX_STATEMENTS = 50
"""Only so many are read, from the last."""
CONTEXT = 400
"""Characters before and after a statement in which its sentence is looked for."""

_GAP = r"[\s\"'“”‘’«»()\[\]{}]"
_W = r"[^\W_]"
_WORD = "|".join(sorted(map(re.escape, words.NUMBERS), key=len, reverse=True))
_UNIT = r"(?:[点點分점](?![\d一二三四五]|之)|(?=입|で))"
_VALUE = (
    rf"(?P<digit>[1-5])(?:[.,]0{{1,2}})?(?:{_UNIT}|(?!{_W}))(?![.,]\d)|(?P<word>{_WORD})(?:{_UNIT}|(?!\w))"
    r"|(?P<stars>(?=[★☆]{5}(?![★☆]))★{1,5})☆{0,4}"
)
_SCALE = (
    rf"(?:{_GAP}{{0,4}}(?:{words.POINTS}{_GAP}{{1,4}})?{words.OUT_OF}{_GAP}{{0,4}}"
    rf"(?:5|five|fünf|cinq|cinco|cinque|пяти)(?!{_W})(?!\.\d))?(?:{_GAP}{{0,4}}{words.POINTS}(?!{_W}))?"
)
_START = r"(?:^|(?<=[|.。，、!?])|(?<=[-•] ))[ \t\"'“]{0,8}"
_ASIDE = (
    r"(?:\s{1,3}(?:for|of)\s{1,3}(?:this|the)\s{1,3}(?:response|reply|answer))?"
    r"(?:\s{1,3}(?:that\s{1,3})?i\s{1,3}(?:would\s{1,3})?(?:give|assign|award))?"
)
_STATEMENT = re.compile(
    rf"(?:(?P<final>(?<!{_W})(?<!{_W}-){words.FINAL}(?!{_W})|\bboxed(?=\{{)|{_START}overall(?=[\s)\]]{{0,4}}[|:]))"
    rf"|(?P<given>\b{words.GIVEN}(?!{_W}))"
    rf"|(?P<plain>(?:{_START}|\b{words.BEFORE_PLAIN}\s{{1,3}}){words.PLAIN}))"
    rf"{_ASIDE}{_GAP}{{0,6}}"
    rf"(?:{words.IS}|[:：=|]|[-–—](?=\s)|(?(given)(?=.)|(?(final)(?:of\b|(?<=[\n{{]))|(?<=\n))))(?:{_GAP}|[:：=|])*+",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(rf"(?:(?:{words.FILLER}\b|[:=]){_GAP}{{0,4}}){{0,5}}(?:{_VALUE}){_SCALE}", re.IGNORECASE)
_TABLE = re.compile(
    rf"^[ \t]{{0,4}}\|[^\n]{{0,400}}?\|[ \t]{{0,9}}(?:{words.FINAL}|{words.PLAIN})[ \t]{{0,9}}\|?[ \t]{{0,9}}\n"
    rf"[ \t|:-]{{3,200}}\n[^\n]{{0,4000}}\|[ \t]{{0,9}}(?:{_VALUE}){_SCALE}[ \t]{{0,9}}\|?[ \t]{{0,9}}$"
    r"(?!\n[ \t]{0,4}\|)",
    re.IGNORECASE | re.MULTILINE,
)
"""A table with one row, whose last cell is the score."""

_BREAK = re.compile(
    r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bProf)(?<!\bSt)(?<!\b\w)[.!?](?=[\s\"')\]”’]{1,4}(?![a-z]))"
    r"|[。！？]|(?<![:：,，、\s])[ \t]{0,8}\n"
)
_REST = re.compile(r"(?:(?![.!?][\"'”’»)\]}]{0,4}(?:\s|\Z))[^\n。！？]){0,400}")
"""The rest of the sentence or line."""
_UNCLEAR = re.compile(
    rf"[\d½¼¾⅓⅔]|\bhalf\b|^{_GAP}{{0,4}}[,;]?{_GAP}{{0,4}}(?:[+%/]"
    r"|(?:plus|minus|point|of|out|maybe|perhaps)(?!\w))"
    rf"|^{_GAP}{{0,4}}[,;]?{_GAP}{{0,4}}(?:{words.OR})(?!\w)"
    rf"|^\s?[-–—~〜至到或]\s?(?:{_WORD})(?!\w)|^[-–—]{_W}",
    re.IGNORECASE,
)
"""A rest after which the number is not the score: "4.5", "4 or 5", "4 and a half", "4/10"."""
_REASONS = re.compile(
    rf"{_GAP}{{0,4}}[,;–—-]?{_GAP}{{0,4}}(?:because|since|although|though|with|not|given\s{{1,3}}that"
    r"|as\s{1,3}(?:it|its|the|this|all|there|\d)|on\s{1,3}a\s{1,3}scale|criterion)\b",
    re.IGNORECASE,
)
"""A rest that gives reasons: the digits in it count criteria and name examples."""
_REMARK = re.compile(r"\s{0,3}\((?!\s{0,3}(?:or|maybe|perhaps|\d|to|plus|half)\b)[^()\n]{0,120}\)", re.IGNORECASE)
_LIST = re.compile(rf"[1-5][.)][ \t]++(?:[^\n:.]{{0,60}}[^\n:.\d]:{_GAP}{{0,9}}\d|[^\n]{{0,400}}\n\s{{0,9}}2[.)])")
"""The number of a list item, "1. Toxicity: 4"."""
_WORD_END = re.compile(rf"{_GAP}{{0,9}}(?:\Z|[\n.,;:!。、，—–|]|because\b|since\b|です)|です")
"""What may follow a number word, which may also begin a phrase."""
_DEFINES = re.compile(
    r"\s{0,3}(?:means?|requires?|needs?|is|would|stands|goes|applies|calls|describes)\b", re.IGNORECASE
)

_CONDITION, _DOUBT, _HEARSAY, _DENIAL, _CORRECTION = (
    re.compile(pattern, re.IGNORECASE)
    for pattern in (words.CONDITION, words.DOUBT, words.HEARSAY, words.DENIAL, words.CORRECTION)
)
_SUPPOSED = re.compile(
    r"\W{0,8}(?:now\s|let\sus\s)?(?:suppose|imagine|assume|pretend|picture|consider)\b", re.IGNORECASE
)
_ITS_TEXT = re.compile(r"\b(?:response|reply|answer)\W{0,9}(?:json\s)?\Z", re.IGNORECASE)
_FOLLOWS = re.compile(r"(?:as\sfollows|like\sthis|these\swords|this\sline)\W{0,4}\Z", re.IGNORECASE)
_ONLY_IF = re.compile(
    r"\W{0,8}(?:but\s|and\s|that\sis,\s|at\sleast\s){0,2}(?:only\sif|if\sonly|provided|unless)\b", re.I
)
_MODAL = re.compile(r"\b(?:would|should)\b", re.IGNORECASE)
_SO = re.compile(rf"\W{{0,9}}(?P<so>{words.SO}\W{{1,3}})?(?:the|my|a|an)?\W{{0,9}}", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """A statement: its score, None where it is unclear, and where its number stands."""

    score: int | None
    at: int
    rank: int
    """A final score counts before a score that is given, and that before a plain "score: 4"."""
    end: int


def find_statement(text: str) -> Statement | None:
    """Return the statement that counts: the last of the highest rank; its score is None where the text is unclear."""
    if len(text) > MAX_CHARACTERS:
        return None
    plain = own_words(text)
    found = [*_table_scores(plain), *_statements(plain)]
    if not found:
        return None
    top = max(statement.rank for statement in found)
    counted = [statement for statement in found if statement.rank == top]
    last = max(counted, key=lambda statement: statement.at)
    differ = top == 0 and len({statement.score for statement in counted}) > 1
    unclear = differ or is_corrected(plain[last.end :])
    return Statement(None if unclear else last.score, last.at, last.rank, last.end)


def read_number(text: str) -> int | None:
    """Return the score that a text consists of, such as "4", "4/5" or "four"."""
    found = _NUMBER.fullmatch(in_ascii(text).strip())
    return _value(found) if found else None


def is_hearsay(text: str, start: int, end: int) -> bool:
    """Return whether a part of a text is introduced as that of another, or stands under a condition."""
    shown = without_quotations(text[:start] + "x" * (end - start) + text[end:])
    if shown[start] != "x":
        return True
    previous, before = _sentence_before(in_ascii(shown), start)
    return _is_under_a_condition(shown, end) or _is_of_another(previous, before)


def is_corrected(text: str) -> bool:
    """Return whether a text takes back what was said before."""
    return bool(_CORRECTION.search(text))


def _table_scores(plain: str) -> Iterator[Statement]:
    for found in _TABLE.finditer(plain):
        yield Statement(_value(found), found.end(), 2, found.end())


def _statements(plain: str) -> Iterator[Statement]:
    for found in list(_STATEMENT.finditer(plain))[-MAX_STATEMENTS:]:
        if plain.startswith("--", found.end()):  # the head of a table
            continue
        number = _NUMBER.match(plain, found.end())
        end = number.end() if number else found.end()
        rest = _REST.match(plain, end)
        assert rest is not None  # it may be empty
        if _is_own(plain, found, rest):
            rank = 2 if found["final"] else 1 if found["given"] else 0
            score = _clear_score(plain, number, rest[0]) if number else None
            yield Statement(score, _place(number) if number else end, rank, end)


def _is_own(plain: str, found: re.Match[str], rest: re.Match[str]) -> bool:
    """Return whether a statement is the judge's own, and without a condition."""
    previous, before = _sentence_before(plain, found.start())
    clause = re.split(r"[,;:]|\b(?:and|but|so)\b", before)[-1]
    return not (
        _is_of_another(previous, before)
        or _is_under_a_condition(plain, rest.start())
        or _DENIAL.search(clause)
        or plain.startswith(("?", "？"), rest.end())
        or _ends_a_quotation(plain[max(0, found.start() - 1) : rest.end() + 2])
        or _DEFINES.match(rest[0])
        or (_MODAL.search(found[0]) and not _is_conclusion(before, bool(found["given"])))
    )


def _is_of_another(previous: str, before: str) -> bool:
    return (
        any(pattern.search(before) for pattern in (_CONDITION, _DOUBT, _HEARSAY))
        or bool(_SUPPOSED.match(previous))
        or bool(_FOLLOWS.search(previous))
        or bool(_ITS_TEXT.search(before))
    )


def _is_under_a_condition(plain: str, end: int) -> bool:
    rest = _REST.match(plain, end)
    assert rest is not None  # it may be empty
    return bool(_CONDITION.search(rest[0]) or _ONLY_IF.match(plain, rest.end()))


def _is_conclusion(before: str, given: bool) -> bool:
    """Return whether a sentence has nothing before its statement but a "therefore", which "I would give" can lack."""
    so = _SO.fullmatch(before)
    return so is not None and (given or so["so"] is not None)


def _ends_a_quotation(sentence: str) -> bool:
    """Return whether a sentence has the end of a quotation, but not its beginning."""
    closed = any(sentence.count(last) > sentence.count(first) for first, last in ("“”", "«»", "「」", "『』"))
    return closed or sentence.count('"') % 2 == 1


def _sentence_before(plain: str, start: int) -> tuple[str, str]:
    """Return the sentence before that of a place, and the part of its own before it."""
    window = plain[max(0, start - CONTEXT) : start]
    breaks = list(_BREAK.finditer(window))
    if not breaks:
        return "", window
    return window[breaks[-2].end() if len(breaks) > 1 else 0 : breaks[-1].start()], window[breaks[-1].end() :]


def _clear_score(plain: str, number: re.Match[str], rest: str) -> int | None:
    if _LIST.match(plain, _place(number)):
        return None
    if number["word"] and not _WORD_END.match(plain, number.end()):
        return None
    rest = _REMARK.sub("", rest, count=1) if _REMARK.match(rest) else rest
    return None if not _REASONS.match(rest) and _UNCLEAR.search(rest) else _value(number)


def _place(number: re.Match[str]) -> int:
    return max(number.start(group) for group in ("digit", "word", "stars"))


def _value(number: re.Match[str]) -> int:
    if number["digit"]:
        return int(number["digit"])
    return words.NUMBERS[number["word"].casefold()] if number["word"] else len(number["stars"])
