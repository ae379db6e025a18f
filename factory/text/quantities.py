"""The numbers that a text contains, however they are written."""

import re
import unicodedata

_LIST_MARK = re.compile(
    r"^[ \t>*#-]{0,12}\(?\d{1,2}[.):][ \t]|\b(?:step|tip|item|example|day|week|chapter|part|question) \d{1,2}\b",
    re.MULTILINE | re.IGNORECASE,
)
_THOUSANDS = re.compile("(?<=\\d)[,.'\u2019\u066c \u00a0\u202f](?=\\d{3}(?!\\d))|(?<=\\d),(?=\\d\\d,\\d)")
"""Between groups of three digits; in India the higher groups have two."""
_NUMBER = re.compile("\\d++(?:[.,\u066b]\\d++)?")
_POINT = re.compile("[.,\u066b]")

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SPELLED = {word: number for number, word in enumerate(_SMALL)}
_SPELLED |= {word: number for number, word in zip(range(20, 100, 10), _TENS, strict=True)}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ENGLISH = re.compile(
    rf"\b(?:{'|'.join([*_SPELLED, *_SCALES])})(?:(?:[ -]| and )(?:{'|'.join([*_SPELLED, *_SCALES])})){{0,8}}s?\b"
)
_HAN_DIGITS = {character: number for number, character in enumerate("〇一二三四五六七八九")} | {
    "零": 0,
    "两": 2,
    "兩": 2,
}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4}
_HAN = re.compile(f"[{''.join([*_HAN_DIGITS, *_HAN_SCALES])}]{{2,12}}")


def numbers(text: str) -> set[str]:
    """Return the numbers in digits of any script, without the marks of lists, as `1234.5`."""
    found = _NUMBER.findall(_THOUSANDS.sub("", _LIST_MARK.sub(" ", text)))
    return {_plain(number) for number in found}


def spelled_numbers(text: str) -> set[str]:
    """Return the numbers that are written in English words or in Chinese characters."""
    found: set[str] = set()
    for match in _ENGLISH.findall(text.casefold()):
        found |= _english(re.split(r"[ -]", match.removesuffix("s")))
    for match in _HAN.findall(text):
        found.add(str(_han(match)))
    return found


def _plain(number: str) -> str:
    digits = "".join(str(unicodedata.decimal(digit)) if digit.isdigit() else "." for digit in number)
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _english(words: list[str]) -> set[str]:
    """Return what number words may mean: `twenty five` 25, `nineteen forty five` also 1945."""
    groups: list[int] = []  # below 100 each, as years are read
    total = current = 0
    for word in words:
        if word in _SCALES:
            current = max(1, current) * _SCALES[word]
            if _SCALES[word] >= 1000:
                total, current = total + current, 0
        elif word in _SPELLED:
            value = _SPELLED[word]
            current += value
            if value < 10 and groups and groups[-1] % 10 == 0 and groups[-1]:
                groups[-1] += value
            else:
                groups.append(value)
    return {str(total + current), "".join(f"{group:02}" for group in groups).lstrip("0"), *map(str, groups)}


def _han(characters: str) -> int:
    if not _HAN_SCALES.keys() & set(characters):
        return int("".join(str(_HAN_DIGITS[character]) for character in characters))  # a year, digit by digit
    total = section = digit = 0
    for character in characters:
        if character in _HAN_DIGITS:
            digit = _HAN_DIGITS[character]
        elif _HAN_SCALES[character] < 10**4:
            section, digit = section + max(1, digit) * _HAN_SCALES[character], 0
        else:
            total, section, digit = (total + section + digit) * 10**4, 0, 0
    return total + section + digit


def count_digits(number: str) -> int:
    """Return how many digits a number of `numbers` has."""
    return len(number.replace(".", ""))
