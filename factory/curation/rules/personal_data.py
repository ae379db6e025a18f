"""Personal data in a dialogue: candidates by their written form, validated by the rules of such numbers.

phonenumbers (Google's rules for all countries), email-validator and python-stdnum (check digits, dates
and issuers) validate them. Presidio does the same, but would load spaCy into every task. Results have
only the kind and the position of what was found, and its masked context.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

from factory.config import PersonalData, Safety
from factory.curation.rules.context import DialogueContext
from factory.errors import ConfigError

EXCERPT = 40
"""Characters that an excerpt shows on each side of what was found."""
TRIES = 200
"""Candidates of one text that may turn out to be no telephone number."""
NAMES: dict[PersonalData, str] = {
    "email": "e-mail address",
    "phone": "telephone number",
    "card": "payment card",
    "iban": "bank account",
    "national_id": "identity number",
}
_ROLES = {"system": "the system message", "user": "user turn", "assistant": "reply"}

# Repeats are bounded, and no match begins in the middle of a word, so that no text takes long.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w%+-][\w.%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}")
_NUMBER = re.compile(r"\d(?:\D{0,3}\d){6}")
"""All kinds but e-mail have seven digits close together; the few texts that have them are searched further."""
_CARD = re.compile(r"(?<![\w-])[2-6]\d{3}(?:[ -]?\d){8,15}(?![\w-])")
_ISSUER = re.compile(r"4|5[1-5]|2[2-7]|3[47]|3[0689]|6(?:011|4[4-9]|5)|35")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_IDS = {
    "us.ssn": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "kr.rrn": re.compile(r"(?<![\w-])\d{6}-[1-8]\d{6}(?![\w-])"),
    "br.cpf": re.compile(r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"),
    "es.dni": re.compile(r"(?<![\w-])\d{8}-?[A-Z](?![\w-])"),
    "es.nie": re.compile(r"(?<![\w-])[XYZ]-?\d{7}-?[A-Z](?![\w-])"),
    "it.codicefiscale": re.compile(r"(?<!\w)[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)"),
    "in_.aadhaar": re.compile(r"(?<![\w-])\d{4} \d{4} \d{4}(?![\w-]| \d)"),
    "fr.nir": re.compile(r"(?<!\w)[12] \d{2} \d{2} (?:\d{2}|2[AB]) \d{3} \d{3} \d{2}(?!\w)"),
    "cn.ric": re.compile(r"(?<!\w)\d{17}[\dX](?!\w)"),
}
"""How the identity numbers of countries are written, by the module of `stdnum` that validates them.

Plain digits with a single check digit, which one number in ten has by chance, are left out."""
_FICTION = re.compile(
    r"\+1\d{3}555\d{4}|\+44(?:7700900\d{3}|2079460\d{3}|1(?:1[3-8]|[2-6]1)4960\d{3}|1914980\d{3}|1632960\d{3}"
    r"|8081570\d{3}|9098790\d{3}|3069990\d{3}|2890180\d{3}|2920180\d{3})"
)
"""Telephone numbers reserved for fiction: NANPA's 555, Ofcom's numbers for drama."""
_EXAMPLE = re.compile(r"(?:^|\.)example(?:\.(?:com|net|org|edu))?$", re.IGNORECASE)
"""Reserved domains (RFC 2606); email-validator rejects `.test`, `.invalid` and `.local`."""

Span = tuple[int, int, PersonalData]


def personal_data(dialogue: DialogueContext, safety: Safety) -> str | None:
    """Return the kind and position of the first personal datum of a dialogue, with its masked context, or None."""
    turns = dict.fromkeys(_ROLES, 0)
    for message in dialogue.messages:
        turns[message.role] += 1
        found = find_personal_data(message.content, safety.personal_data, safety.phone_regions)
        if found:
            turn = _ROLES[message.role] + ("" if message.role == "system" else f" {turns[message.role]}")
            return f"{NAMES[found[0][2]]} in {turn}: {excerpt(message.content, found)}"
    return None


@lru_cache(64)  # each dialogue of a character has the same system message
def find_personal_data(text: str, kinds: tuple[PersonalData, ...], regions: tuple[str, ...]) -> tuple[Span, ...]:
    """Find all personal data in a text.

    Args:
        text: the text.
        kinds: the kinds to look for.
        regions: countries whose telephone numbers are detected without a country code.

    Returns:
        (start, end, kind) of each, in order, without overlaps.
    """
    found: list[Span] = []
    if "email" in kinds and "@" in text:
        found += [(start, end, "email") for start, end in _emails(text)]
    if _NUMBER.search(text):
        if "iban" in kinds:
            found += [(start, end, "iban") for start, end in _ibans(text)]
        if "card" in kinds:
            found += [(start, end, "card") for start, end in _cards(text)]
        if "national_id" in kinds:
            found += [(start, end, "national_id") for start, end in _ids(text)]
        if "phone" in kinds:
            found += [(start, end, "phone") for start, end in _phones(text, regions)]
    distinct: list[Span] = []
    for span in sorted(found):
        if not distinct or span[0] >= distinct[-1][1]:
            distinct.append(span)
    return tuple(distinct)


def masker(safety: Safety) -> Callable[[str], str]:
    """Return a function that replaces personal data in a text, of the kinds in `safety`, by their kind.

    Raises:
        ConfigError: a country of `phone_regions` is unknown.
    """
    check_regions(safety.phone_regions)

    def masked(text: str) -> str:
        parts, at = [], 0
        for start, end, kind in find_personal_data(text, safety.personal_data, safety.phone_regions):
            parts += [text[at:start], f"[{NAMES[kind]}]"]
            at = end
        return "".join([*parts, text[at:]])

    return masked


def excerpt(text: str, found: tuple[Span, ...]) -> str:
    """Return the text around the first datum, with all data in it replaced by their kind."""
    start, end = found[0][0], found[0][1]
    low, high = max(0, start - EXCERPT), min(len(text), end + EXCERPT)
    parts, at = [], low
    for start, end, kind in found:
        if start < high:
            parts += [text[at:start], f"[{NAMES[kind]}]"]
            at = end
    masked = "".join([*parts, text[at:high]])
    return ("… " if low else "") + " ".join(masked.split()) + (" …" if high < len(text) else "")


def check_regions(regions: tuple[str, ...]) -> None:
    """Check that telephone numbers of these countries are supported.

    Raises:
        ConfigError: one is not.
    """
    from phonenumbers import SUPPORTED_REGIONS

    unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
    if unknown:
        raise ConfigError(
            f"safety.phone_regions: {unknown[0]!r} is not a supported country; give ISO 3166 letters, such as GB"
        )


def _emails(text: str) -> Iterator[tuple[int, int]]:
    from email_validator import EmailNotValidError, validate_email

    for match in _EMAIL.finditer(text):
        try:
            address = validate_email(match[0], check_deliverability=False)
        except (EmailNotValidError, UnicodeError):
            continue
        if not _EXAMPLE.search(address.domain):
            yield match.span()


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        if _ISSUER.match(match[0]) and _is_valid("luhn", re.sub(r"\D", "", match[0])):
            yield match.span()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        if _is_valid("iban", match[0]):
            yield match.span()


def _ids(text: str) -> Iterator[tuple[int, int]]:
    for standard, pattern in _IDS.items():
        for match in pattern.finditer(text):
            if _is_valid(standard, match[0]):
                yield match.span()


def _is_valid(standard: str, number: str) -> bool:
    return bool(_validator(standard).is_valid(number))


@cache
def _validator(standard: str) -> Any:
    return import_module(f"stdnum.{standard}")


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, format_number

    for region in regions or (None,):
        # Strict grouping: digits must be grouped as in that country, unlike dates, prices and scores.
        for match in PhoneNumberMatcher(text, region, Leniency.STRICT_GROUPING, TRIES):
            if not _FICTION.fullmatch(format_number(match.number, PhoneNumberFormat.E164)):
                yield match.start, match.end
