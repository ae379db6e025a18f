"""The rule `lost_numbers`."""

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.content import without_code
from factory.text.language import detect, prose
from factory.text.quantities import count_digits, numbers, spelled_numbers

MIN_DIGITS, LONG_NUMBER = 2, 3
"""Digits of the numbers that count, and of those that are hardly ever written in words."""


class LostNumbers(Rule):
    """A rewritten reply lacks numbers of its reference, of two digits and more, or has another one in place of one."""

    max_lost: float = Field(0.34, ge=0, lt=1)
    """The fraction of the reference's numbers that may be missing; one may always be."""
    min_numbers: int = Field(2, ge=1)
    """Of references with fewer numbers, only those of three digits and more are compared, and one must be replaced by
    another number with as many digits."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which numbers are missing, or None."""
        turns = zip(dialogue.users, dialogue.replies, dialogue.references, strict=False)
        for user, reply, reference in turns:
            given = {number for number in numbers(without_code(reference)) if count_digits(number) >= MIN_DIGITS}
            said = numbers(reply) if given else set()
            if not given - said:
                continue
            new = said - numbers(reference) - numbers(user)
            lost = given - said - spelled_numbers(reply)
            if not _is_english(reply):
                lost -= _perhaps_spelled(lost, new)
            if len(given) >= self.min_numbers:
                is_broken = len(lost) > max(1, self.max_lost * len(given))
            else:
                is_broken = _replaced(lost, new)
            if is_broken:
                return f"{len(lost)} of {len(given)} numbers: {', '.join(sorted(lost)[:5])}"
        return None


def _perhaps_spelled(lost: set[str], new: set[str]) -> set[str]:
    """Return lost numbers that may be there in words, which are read in English and Chinese characters only."""
    lost, new = ({number for number in some if count_digits(number) < LONG_NUMBER} for some in (lost, new))
    return lost if len(new) < len(lost) else set()


def _replaced(lost: set[str], new: set[str]) -> bool:
    lengths = {count_digits(number) for number in new}
    return any(count_digits(number) in lengths for number in lost if count_digits(number) >= LONG_NUMBER)


def _is_english(text: str) -> bool:
    return text.isascii() or (detect(prose(text)) or ("",))[0] == "ENGLISH"
