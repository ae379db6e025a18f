"""The rules that IFEval's published instructions name, as functions of a reply and the arguments of the rule.

Each holds where the published check holds in its strict form (arXiv 2311.07911), with three exceptions: sentences are
counted as for our own instructions, languages are identified by lingua or the script, and words in capitals are
divided at white space.
Texts of the file are searched as they are, not as patterns.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from factory.errors import InputError
from factory.evaluation.general_ability.reply_counts import count_sentences
from factory.text.language import code_of, detect

Rule = Callable[..., bool]

_HIGHLIGHT = re.compile(r"\*[^\n*]*+\*")
_BOLD = re.compile(r"\*\*[^\n*]*+\*\*")
_BULLET = re.compile(r"(?m)^[ \t\r]*+(?:\*[^*\n]|-)")
_FENCE = re.compile(r"```(?:json)?|```\Z", re.IGNORECASE)
_POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
_SCRIPTS = {"kn": "KANNADA", "ml": "MALAYALAM", "ne": "DEVANAGARI"}
"""Of languages that lingua does not know."""
_FIRST_WORD_END = re.compile(r"[.,?!'\"]")


def _compared(count: int, relation: str, bound: int) -> bool:
    if relation not in ("less than", "at least"):
        raise ValueError(f"has the relation {relation!r}; use 'less than' or 'at least'")
    return count < bound if relation == "less than" else count >= bound


def _occurs(text: str, reply: str) -> int:
    return reply.casefold().count(text.casefold())


def _lacks(word: str, reply: str) -> bool:
    return not re.search(rf"\b{re.escape(word)}\b", reply, re.IGNORECASE)


def _paragraphs(reply: str, num_paragraphs: int) -> bool:
    parts = [bool(part.strip()) for part in reply.split("***")]
    return all(parts[1:-1]) and sum(parts) == num_paragraphs


def _first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = reply.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > count or not parts[nth_paragraph - 1].strip():
        return False
    word = _FIRST_WORD_END.split(parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"'))[0]
    return count == num_paragraphs and word.lower() == first_word.lower()


def _postscript(reply: str, postscript_marker: str) -> bool:
    return bool(re.search(_POSTSCRIPTS.get(postscript_marker, re.escape(postscript_marker)), reply, re.IGNORECASE))


def _placeholders(line: str) -> int:
    count, start = 0, line.find("[")
    while start >= 0 and (end := line.find("]", start)) >= 0:
        count, start = count + 1, line.find("[", end)
    return count


def _highlights(reply: str, num_highlights: int) -> bool:
    single = sum(bool(found.strip("* \t\r")) for found in _HIGHLIGHT.findall(reply))
    bold = sum(bool(found.strip("* \t\r")) for found in _BOLD.findall(reply))
    return single + bold >= num_highlights


def _sections(reply: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d", reply)) >= num_sections


def _json(reply: str) -> bool:
    try:
        json.loads(_FENCE.sub("", reply.strip(), count=2).strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(reply: str) -> bool:
    lines = (
        line[line.find("<<") + 2 : line.rfind(">>")] for line in reply.split("\n") if "<<" in line and ">>" in line
    )
    return any(found.lstrip("<").rstrip(">").strip() for found in lines)


def _two_responses(reply: str) -> bool:
    parts = [part.strip() for part in reply.split("******")]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


def _quoted(reply: str) -> bool:
    text = reply.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capitals(reply: str, capital_relation: str, capital_frequency: int) -> bool:
    return _compared(sum(map(str.isupper, reply.split())), capital_relation, capital_frequency)


def _in_language(reply: str, language: str) -> bool:
    if script := _SCRIPTS.get(language):
        letters = [letter for letter in reply if letter.isalpha()]
        return sum(unicodedata.name(letter, "").startswith(script) for letter in letters) * 2 > len(letters)
    found = detect(reply)
    return found is None or code_of(found[0]) == language


RULES: Mapping[str, Rule] = {
    "keywords:existence": lambda reply, keywords: all(_occurs(word, reply) for word in keywords),
    "keywords:frequency": lambda reply, keyword, frequency, relation: _compared(
        _occurs(keyword, reply), relation, frequency
    ),
    "keywords:forbidden_words": lambda reply, forbidden_words: all(_lacks(word, reply) for word in forbidden_words),
    "keywords:letter_frequency": lambda reply, letter, let_frequency, let_relation: _compared(
        reply.lower().count(letter.lower()), let_relation, let_frequency
    ),
    "language:response_language": _in_language,
    "length_constraints:number_sentences": lambda reply, relation, num_sentences: _compared(
        count_sentences(reply), relation, num_sentences
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda reply, relation, num_words: _compared(
        len(re.findall(r"\w+", reply)), relation, num_words
    ),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda reply, num_placeholders: (
        sum(map(_placeholders, reply.split("\n"))) >= num_placeholders
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda reply, num_bullets: len(_BULLET.findall(reply)) == num_bullets,
    "detectable_format:constrained_response": lambda reply: any(
        f"My answer is {answer}." in reply for answer in ("yes", "no", "maybe")
    ),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda reply, prompt_to_repeat: (
        reply.strip().lower().startswith(prompt_to_repeat.strip().lower())
    ),
    "startend:end_checker": lambda reply, end_phrase: (
        reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    ),
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda reply: reply.isupper() and _in_language(reply, "en"),
    "change_case:english_lowercase": lambda reply: reply.islower() and _in_language(reply, "en"),
    "punctuation:no_comma": lambda reply: "," not in reply,
}
"""By the names of the file."""


def check_arguments(place: str, rule: str, arguments: Mapping[str, Any]) -> None:
    """Check that a rule exists and takes these arguments.

    Raises:
        InputError: it does not; the message begins with `place`.
    """
    if rule not in RULES:
        raise InputError(f"{place}: names the unknown rule {rule!r}; the known ones are {', '.join(RULES)}")
    try:
        RULES[rule]("A reply.", **arguments)
    except (TypeError, ValueError, AttributeError, IndexError) as problem:
        raise InputError(f"{place}: has arguments that {rule} does not take ({problem})") from None
