"""Which replies become preference pairs, and which of several pairs of the same replies is kept."""

import random

import pytest

from factory.preferences.preference_pairs import (
    JudgedAnswer,
    distinct_pairs,
    judged_pairs,
    passed_over_pair,
    vote_pairs,
)
from factory.records import Message
from factory.storage.rows import ok_row

PROMPT = (Message("system", "You are Ada."), Message("user", "What do you bake?"))
AS_ROW = [{"role": message.role, "content": message.content} for message in PROMPT]


def answer(candidate: str, text: str, draw: int = 0, **scores: float) -> JudgedAnswer:
    key = f"q1-{draw}" if draw else "q1"
    return JudgedAnswer(candidate, key, "ada", (*PROMPT[:1], Message("user", f"asked {candidate}")), text, scores)


def vote(number: int, reply: str, value: str) -> dict:
    named = {"feedback_id": f"{number:016x}", "character_id": "ada", "candidate": f"model {number}"}
    return {**named, "vote": value, "reply": reply, "messages": AS_ROW}


def row(chosen: str, rejected: str, source: str = "judged", margin: float = 1.0, pair: str = "p") -> dict:
    ids = {name: f"{name} of {chosen}" for name in ("chosen_id", "rejected_id", "chosen_by", "rejected_by")}
    return {"pair_id": pair, "source": source, "margin": margin, "chosen": chosen, "rejected": rejected, **ids}


def of(pairs) -> list[tuple[str, str, float]]:
    return [(pair.chosen, pair.rejected, pair.margin) for pair in pairs]


def test_judged_pairs_differ_by_the_margin():
    answers = [
        answer("base", "Bread.", strict=1, mild=2),
        answer("tuned", "Rye, my dear.", strict=4, mild=4),
        answer("tuned", "Rye.", draw=1, strict=3, mild=3.5),
    ]
    assert of(judged_pairs(answers, 1.0)) == [("Rye, my dear.", "Bread.", 2.5), ("Rye.", "Bread.", 1.75)]
    (wide,) = judged_pairs(answers, 2.0)
    assert (wide.chosen_id, wide.rejected_id, wide.chosen_by, wide.judges) == ("q1", "q1", "tuned", ("mild", "strict"))
    assert wide.messages[-1].content == "asked tuned"
    assert of(judged_pairs(answers, 0.75))[-1] == ("Rye, my dear.", "Rye.", 0.75), "two draws of one candidate"


def test_only_judges_of_both_answers_count():
    generous = answer("base", "Bread.", mild=5)
    both = answer("tuned", "Rye.", strict=1, mild=3)
    assert of(judged_pairs([generous, both], 1.0)) == [("Bread.", "Rye.", 2.0)]
    assert of(judged_pairs([generous, answer("tuned", "Rye.", strict=1)], 1.0)) == []


def test_margins_of_thirds_reach_a_whole_point():
    a = answer("base", "Bread.", one=1.1, two=2.1, three=2.8)
    b = answer("tuned", "Rye.", one=2.1, two=3.1, three=3.8)
    assert of(judged_pairs([a, b], 1.0)) == [("Rye.", "Bread.", 1.0)]


def test_equal_texts_are_no_pair():
    assert not list(judged_pairs([answer("base", "Rye.", strict=1), answer("tuned", " Rye. ", strict=5)], 1.0))


def test_votes_pair_liked_with_disliked_replies():
    votes = [
        vote(1, "Rye.", "up"), vote(2, "Rye.", "up"), vote(3, "Rye.", "down"),
        vote(4, "As an AI.", "down"), vote(5, "Bread.", "none"), vote(6, "Cake.", "up"), vote(7, "Cake.", "down"),
    ]  # fmt: skip
    random.Random(3).shuffle(votes)
    (pair,) = vote_pairs(votes)
    assert of([pair]) == [("Rye.", "As an AI.", 1.333333)]
    assert (pair.chosen_id, pair.chosen_by, pair.rejected_by) == (f"{1:016x}", "model 1", "model 4")
    assert pair.messages == PROMPT
    assert not list(vote_pairs([vote(1, "Rye.", "up"), vote(2, "Bread.", "none")]))


def dialogue(*texts: str, **columns: object) -> dict:
    messages = [*AS_ROW, {"role": "assistant", "content": texts[0]}]
    for number, text in enumerate(texts[1:]):
        messages += [{"role": "user", "content": f"And {number}?"}, {"role": "assistant", "content": text}]
    ids = {"dialogue_id": f"id of {texts}", "character_id": "ada", "model": "teacher"}
    return (
        ids | {"messages": messages, "wins": 0, "winner_wins": 2, "lost_to_winner": True, "judge": "strict"} | columns
    )


def test_passed_over_dialogues_lost_to_the_winner():
    winner = dialogue("Rye.")
    pair = passed_over_pair(winner, dialogue("Bread.", wins=1))
    assert pair is not None
    assert (pair.chosen, pair.rejected, pair.margin, pair.judges) == ("Rye.", "Bread.", 1.0, ("strict",))
    assert pair.messages == PROMPT
    assert passed_over_pair(winner, dialogue("Bread.", wins=2)) is None, "tied"
    assert passed_over_pair(winner, dialogue("Bread.", lost_to_winner=False)) is None, "no comparison says so"
    assert passed_over_pair(winner, dialogue("Rye.")) is None
    assert passed_over_pair(dialogue("Hm.", "Rye."), dialogue("Hm.", "Bread.")) is not None
    assert passed_over_pair(dialogue("Hm.", "Rye."), dialogue("Oh.", "Bread.")) is None, "no common prompt"


@pytest.mark.parametrize("seed", range(3))
def test_each_pair_is_kept_once_in_any_order(seed):
    rows = [
        row("Rye.", "Bread.", "judged", 3.0), row("Bread.", "Rye.", "votes", 0.5),
        row("Rye.", "Bread.", "judged", 1.0, "a"), row("Bread.", "Rye.", "judged", 2.0, "a"),
        row("Rye.", "Bread.", "passed_over", 1.0, "c"), row("Bread.", "Rye.", "passed_over", 1.0, "c"),
    ]  # fmt: skip
    random.Random(seed).shuffle(rows)
    kept = distinct_pairs(rows)
    assert [(one["pair_id"], one["source"], one["chosen"]) for one in kept] == [
        ("a", "judged", "Bread."),
        ("p", "votes", "Bread."),
    ], "people go before judges, larger margins before smaller, and an open contradiction is none"


def test_ids_do_not_depend_on_who_won():
    (one,) = judged_pairs([answer("a", "Rye.", j=5), answer("a", "Bread.", draw=1, j=1)], 1.0)
    (other,) = judged_pairs([answer("a", "Rye.", j=1), answer("a", "Bread.", draw=1, j=5)], 1.0)
    assert one.pair_id == other.pair_id
    assert one.chosen == other.rejected
    assert ok_row(one)["messages"][0] == {"role": "system", "content": "You are Ada."}
