"""The rules that a dialogue must pass: each gives the reason of a reject, the first that holds.

A rule is a pure function of a dialogue and the rulebook. It returns what it found, in words, or
None. A new rule is a function and a line in RULES; its name goes into `config.Rule`.
"""

from collections.abc import Callable

from factory.config import Rule
from factory.curation.rules.context import DialogueContext, RuleSettings
from factory.curation.rules.reply_form import (
    copied_reference,
    repetition,
    too_short,
    unfinished_sentence,
    wrong_language,
)
from factory.curation.rules.voice import breaks_character, leaked_prompt, speaks_for_user
from factory.records import Reject

RULES: tuple[tuple[Rule, Callable[[DialogueContext, RuleSettings], str | None]], ...] = (
    ("too_short", too_short),
    ("unfinished_sentence", unfinished_sentence),
    ("repetition", repetition),
    ("breaks_character", breaks_character),
    ("leaked_prompt", leaked_prompt),
    ("speaks_for_user", speaks_for_user),
    ("copied_reference", copied_reference),
    ("wrong_language", wrong_language),  # last, for it takes most of the time
)


def judge(case: DialogueContext, book: RuleSettings) -> Reject | None:
    """The first rule that a dialogue breaks, or None."""
    for reason, rule in RULES:
        found = None if reason in book.quality.disabled_rules else rule(case, book)
        if found is not None:
            return Reject(reason, found)
    return None
