"""Rules about who speaks: the character alone, not the model behind it, its prompt or the user."""

import re
from collections import Counter
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from factory.curation.rules import phrases
from factory.curation.rules.context import DialogueContext, RuleSettings
from factory.text.control_tokens import find_control_token, has_control_tokens
from factory.text.language import prose
from factory.text.ngrams import contained, ngrams, shingles, word_hashes, words

PROFILE_LINES = 2
"""So many whole lines of the profile are a leak; one may be an answer."""
ECHO_WORDS = 6
"""A later turn of the user's with so many words does not stand in a reply by chance."""


def breaks_character(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply speaks as the assistant behind the character, unless the character is such a machine."""
    about = f"{case.persona}\n{case.profile}"
    asked = "\n".join(case.users)
    for reply in case.replies:
        said = _unquoted(reply)
        found = [phrases.MODEL.search(said)]
        if not phrases.IS_MACHINE.search(about):
            found.append(phrases.MACHINE.search(said))
        for match in phrases.ASSISTANT.finditer(said):
            name = match[1] or match[2]
            found.append(None if name.casefold() in about.casefold() else match)
        if not phrases.USER.search(f"{about}\n{asked}"):
            found.append(phrases.ABOUT_USER.search(said))
        for match in filter(None, found):
            return match[0].strip()
    return None


def _unquoted(reply: str) -> str:
    """What is left without the quotations, which tell of others; all of a reply that is mostly quoted."""
    rest = phrases.QUOTED.sub(" ", reply)
    return rest if len(rest.strip()) * 2 >= len(reply) else reply


def leaked_prompt(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply holds a control mark or a prompt's heading, or recites the prompt or the profile that it was given."""
    asked = "\n".join(case.users)
    own_lines = _lines(case.profile)
    for reply, hashes in zip(case.replies, case.reply_hashes, strict=True):
        mark = find_control_token(reply)
        if mark and mark not in asked and not has_control_tokens(asked):
            return mark
        match = phrases.HEADING.search(prose(reply))
        if match and not phrases.HEADING.search(asked):
            return match[0].strip()
        lines = [line.strip() for line in reply.splitlines() if " ".join(words(line)) in own_lines]
        if len(lines) >= PROFILE_LINES:
            return "; ".join(lines)
        found = _recited(case, book, reply, hashes)
        if found:
            return found
    return None


def _recited(case: DialogueContext, book: RuleSettings, reply: str, hashes: np.ndarray) -> str | None:
    """Words in a row that stand in the profile, the persona or a prompt, and not in what was asked."""
    n = book.quality.leaked_words
    grams = ngrams(hashes, n)
    for text in (case.profile, case.persona, *book.prompts):
        for start in np.flatnonzero(contained(grams, _known(text, n))).tolist():
            given = (_known(turn, n) for turn in case.users + case.references)
            if not any(contained(grams[[start]], known).any() for known in given):
                return " ".join(words(reply)[start : start + n])
    return None


@lru_cache(64)
def _lines(profile: str) -> frozenset[str]:
    return frozenset(" ".join(words(line)) for line in profile.splitlines()) - {""}


@lru_cache(256)
def _known(text: str, n: int) -> np.ndarray:
    return np.unique(ngrams(word_hashes(text), n))


def speaks_for_user(case: DialogueContext, book: RuleSettings) -> str | None:
    """A reply goes on with a turn of the user's, or names the roles of the chat before its lines."""
    asked = "\n".join(case.users).casefold()
    for number, (reply, hashes) in enumerate(zip(case.replies, case.reply_hashes, strict=True), 1):
        roles = [match for match in phrases.ROLE_LINE.finditer(prose(reply)) if _role(match) not in asked]
        if roles and not _is_script(reply, case.names):
            return roles[0][0].strip()
        for later in case.users[number:]:
            turn = word_hashes(later)
            said = np.sort(ngrams(hashes, len(turn)))
            if len(turn) >= ECHO_WORDS and contained(shingles(turn, len(turn)), said).any():
                return later[:200]
    return None


def _role(line: re.Match[str]) -> str:
    return (line[1] or line[2]).casefold()


def _is_script(reply: str, names: Collection[str]) -> bool:
    """Return whether somebody else than the character and the roles of a chat speaks twice, as in a play."""
    own = {name.casefold() for name in names}
    labels = Counter(match[1].casefold() for match in phrases.LABEL.finditer(reply))
    return any(times > 1 and label not in own and not phrases.ROLE.fullmatch(label) for label, times in labels.items())
