"""The winner among the candidates for a dialogue, and those that were passed over."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from factory.evaluation.best_of.candidate_pairs import reply_text
from factory.records import content_id
from factory.storage.rows import Row


def find_wins(comparisons: Iterable[Row]) -> set[tuple[str, str]]:
    """Return the ids of winner and loser of each comparison whose two orders agree."""
    preferred: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for row in comparisons:
        if row["status"] == "ok":
            preferred[frozenset((row["first_id"], row["second_id"]))].append(row["preferred"])
    return {
        (names[0], loser)
        for pair, names in preferred.items()
        if len(names) == 2 and names[0] == names[1]
        for loser in pair - {names[0]}
    }


def choose(candidates: Sequence[Row], won: Collection[tuple[str, str]]) -> tuple[Row, list[dict[str, Any]]]:
    """Return the row of the dialogue, and the rows of the other accepted candidates.

    The candidate with the most wins is the winner; of several the first by a hash of its replies. If all were rejected,
    the first one's reject is the dialogue's.
    """
    accepted = [row for row in candidates if row["status"] == "ok"]
    if not accepted:
        return candidates[0], []
    wins = Counter(name for name, _ in won)
    winner = min(accepted, key=lambda row: (-wins[row["dialogue_id"]], content_id(reply_text(row) or "")))
    about = {"winner_id": winner["dialogue_id"], "winner_wins": wins[winner["dialogue_id"]]}
    others = [row for row in accepted if row is not winner]
    return winner, [
        {
            **row,
            **about,
            "wins": wins[row["dialogue_id"]],
            "lost_to_winner": (winner["dialogue_id"], row["dialogue_id"]) in won,
        }
        for row in others
    ]
