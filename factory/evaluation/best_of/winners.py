"""The winner among the candidates for a dialogue, and those that were passed over."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from factory.evaluation.best_of.candidate_pairs import reply_text
from factory.records import content_id
from factory.storage.rows import Row


def count_wins(comparisons: Iterable[Row]) -> Counter[str]:
    """Count the wins of each candidate: over another one that it was preferred to in both orders."""
    preferred: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for row in comparisons:
        if row["status"] == "ok":
            preferred[frozenset((row["first_id"], row["second_id"]))].append(row["preferred"])
    return Counter(names[0] for names in preferred.values() if len(names) == 2 and names[0] == names[1])


def choose(candidates: Sequence[Row], wins: Counter[str]) -> tuple[Row, list[dict[str, Any]]]:
    """Return the row of the dialogue, and the rows of the other accepted candidates.

    The candidate with the most wins is the winner; of several the first by a hash of its replies. If all were rejected,
    the first one's reject is the dialogue's.
    """
    accepted = [row for row in candidates if row["status"] == "ok"]
    if not accepted:
        return candidates[0], []
    winner = min(accepted, key=lambda row: (-wins[row["dialogue_id"]], content_id(reply_text(row) or "")))
    about = {"winner_id": winner["dialogue_id"], "winner_wins": wins[winner["dialogue_id"]]}
    return winner, [{**row, **about, "wins": wins[row["dialogue_id"]]} for row in accepted if row is not winner]
