"""Pairs of replies to one prompt, the preferred one first: from scores of judges, from votes, from best of n.

A pair's id is a hash of its prompt and both texts in any order, so that sources that disagree about two replies meet.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from factory.config import PREFERENCE_SOURCES
from factory.records import Message, PreferencePair, content_id
from factory.storage.rows import Row, to_messages

VOTES = {"up": 1.0, "down": -1.0}
"""What a vote counts; withdrawn ones count nothing."""


@dataclass(frozen=True)
class JudgedAnswer:
    """A candidate's answer, with the score of each judge that gave one, and what the candidate was asked."""

    candidate: str
    answer_id: str
    character_id: str
    messages: tuple[Message, ...]
    text: str
    scores: Mapping[str, float]


def prompt_id(messages: Iterable[Message]) -> str:
    """Return the hash of a prompt."""
    return content_id(*(part for message in messages for part in (message.role, message.content)))


def pair_id(messages: Iterable[Message], texts: Sequence[str]) -> str:
    """Return the hash of a prompt and two replies, whichever is preferred."""
    return content_id(prompt_id(messages), *sorted(texts))


def judged_pairs(answers: Sequence[JudgedAnswer], min_margin: float) -> Iterator[PreferencePair]:
    """Yield the pairs of answers to one question whose mean scores differ by at least `min_margin`.

    The means are over the judges that scored both. The prompt is that of the preferred answer.
    """
    for a, b in itertools.combinations(sorted(answers, key=lambda one: (one.candidate, one.answer_id)), 2):
        judges = tuple(sorted(a.scores.keys() & b.scores.keys()))
        if not judges or a.text.strip() == b.text.strip():
            continue
        # Rounded, as a mean of thirds may be below a whole point by a rounding error.
        margin = round(fmean(a.scores[name] - b.scores[name] for name in judges), 6)
        if abs(margin) < min_margin:
            continue
        chosen, rejected = (a, b) if margin > 0 else (b, a)
        yield PreferencePair(
            pair_id=pair_id(chosen.messages, [a.text, b.text]),
            source="judged",
            character_id=chosen.character_id,
            messages=chosen.messages,
            chosen=chosen.text,
            rejected=rejected.text,
            margin=abs(margin),
            chosen_id=chosen.answer_id,
            rejected_id=rejected.answer_id,
            chosen_by=chosen.candidate,
            rejected_by=rejected.candidate,
            judges=judges,
        )


def vote_pairs(votes: Iterable[Row]) -> Iterator[PreferencePair]:
    """Yield the pairs of a reply that people like and one that they do not, for votes on replies to the same prompt.

    Votes on equal replies are averaged; the margin is the difference of the means, between 0 and 2.

    Args:
        votes: rows with `feedback_id`, `character_id`, `candidate`, `vote`, `reply` and the prompt's `messages`.
    """
    by_reply: defaultdict[str, list[Row]] = defaultdict(list)
    for vote in sorted(votes, key=lambda row: str(row["feedback_id"])):
        if vote["vote"] in VOTES:
            by_reply[vote["reply"]].append(vote)
    means = {reply: fmean(VOTES[row["vote"]] for row in rows) for reply, rows in sorted(by_reply.items())}
    for liked, disliked in itertools.product(means, means):
        if not means[liked] > 0 > means[disliked]:
            continue
        chosen, rejected = by_reply[liked][0], by_reply[disliked][0]
        messages = to_messages(chosen)
        yield PreferencePair(
            pair_id=pair_id(messages, [liked, disliked]),
            source="votes",
            character_id=chosen["character_id"],
            messages=messages,
            chosen=liked,
            rejected=disliked,
            margin=round(means[liked] - means[disliked], 6),
            chosen_id=chosen["feedback_id"],
            rejected_id=rejected["feedback_id"],
            chosen_by=chosen["candidate"],
            rejected_by=rejected["candidate"],
            judges=(),
        )


def passed_over_pair(winner: Row, passed_over: Row) -> PreferencePair | None:
    """Return the pair of a dialogue that won a comparison and one that lost it.

    None where the judge did not prefer the winner to it in both orders, where it has as many wins, or where the replies
    differ before the last one: they have no common prompt.
    """
    won, lost = to_messages(winner), to_messages(passed_over)
    margin = passed_over["winner_wins"] - passed_over["wins"]
    if not passed_over["lost_to_winner"] or margin <= 0 or won[:-1] != lost[:-1] or won[-1].content == lost[-1].content:
        return None
    return PreferencePair(
        pair_id=pair_id(won[:-1], [won[-1].content, lost[-1].content]),
        source="passed_over",
        character_id=winner["character_id"],
        messages=won[:-1],
        chosen=won[-1].content,
        rejected=lost[-1].content,
        margin=float(margin),
        chosen_id=winner["dialogue_id"],
        rejected_id=passed_over["dialogue_id"],
        chosen_by=winner["model"],
        rejected_by=passed_over["model"],
        judges=(passed_over["judge"],),
    )


def distinct_pairs(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each pair of replies, sorted by id.

    Of several, people's votes go before judges, then the larger margin. Where these leave both orders, there is no
    preference, and the pair is left out.
    """
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["pair_id"]].append(row)
    kept = []
    for _, group in sorted(groups.items()):
        first = min(map(_rank, group))
        best = [row for row in group if _rank(row) == first]
        if len({row["chosen"] for row in best}) == 1:
            names = ("chosen_by", "rejected_by", "chosen_id", "rejected_id")
            kept.append(min(best, key=lambda row: [str(row[name]) for name in names]))
    return kept


def _rank(row: Row) -> tuple[int, float]:
    return PREFERENCE_SOURCES.index(row["source"]), -row["margin"]
