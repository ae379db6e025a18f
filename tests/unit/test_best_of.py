"""Which candidate wins, by a judge's choices in both orders."""

import itertools

import pytest

from factory.evaluation.best_of.winners import choose, find_wins
from factory.records import content_id


def candidate(name: str, text: str, status: str = "ok") -> dict:
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]
    return {"dialogue_id": name, "status": status, "messages": messages if status == "ok" else None}


def asked(first: str, second: str, preferred: str | None) -> dict:
    status = "ok" if preferred else "rejected"
    return {"first_id": first, "second_id": second, "preferred": preferred, "status": status}


def both_orders(better: str, worse: str) -> list[dict]:
    return [asked(better, worse, better), asked(worse, better, better)]


def test_a_win_takes_both_orders():
    wins = find_wins(
        [
            *both_orders("a", "b"),
            asked("a", "c", "a"), asked("c", "a", "c"),  # the first one each time
            asked("b", "c", "b"), asked("c", "b", None),  # the judge failed once
        ]
    )  # fmt: skip
    assert wins == {("a", "b")}


def test_most_wins_and_the_others_are_passed_over():
    candidates = [candidate(name, f"I am {name}.") for name in "abc"]
    winner, others = choose(candidates, find_wins([*both_orders("c", "a"), *both_orders("c", "b")]))
    assert winner["dialogue_id"] == "c"
    assert [(row["dialogue_id"], row["wins"], row["winner_wins"], row["winner_id"]) for row in others] == [
        ("a", 0, 2, "c"), ("b", 0, 2, "c"),
    ]  # fmt: skip
    assert all(row["lost_to_winner"] for row in others)


def test_who_beat_the_winner_did_not_lose_to_it():
    candidates = [candidate(name, f"I am {name}.") for name in "wxyz"]
    compared = [*both_orders("w", "x"), *both_orders("w", "y"), *both_orders("z", "w")]
    winner, others = choose(candidates, find_wins(compared))
    assert winner["dialogue_id"] == "w"
    assert {row["dialogue_id"]: row["lost_to_winner"] for row in others} == {"x": True, "y": True, "z": False}


@pytest.mark.parametrize("comparisons", [[], [*both_orders("a", "b"), *both_orders("b", "c"), *both_orders("c", "a")]])
def test_a_tie_goes_by_content_in_any_order(comparisons):
    candidates = [candidate(name, f"I am {name}.") for name in "abc"]
    first = min("abc", key=lambda name: content_id(f"I am {name}."))
    for shuffled in itertools.permutations(candidates):
        assert choose(shuffled, find_wins(comparisons))[0]["dialogue_id"] == first


def test_rejected_candidates_neither_win_nor_are_passed_over():
    candidates = [candidate("a", "", "rejected"), candidate("b", "I am b."), candidate("c", "", "rejected")]
    winner, others = choose(candidates, find_wins([]))
    assert (winner["dialogue_id"], others) == ("b", [])
    assert choose(candidates[:1] + candidates[2:], find_wins([])) == (candidates[0], [])
