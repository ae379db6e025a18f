"""Labels against judges: which labels count, how judges and people agree, and votes of the playground."""

import math

import numpy as np
import pytest

from factory.config import RunConfig
from factory.evaluation.labels.calibration import _judge
from factory.evaluation.labels.label_agreement import label_agreement, playground_votes, summarize_raters
from factory.evaluation.labels.labeled_answers import Evaluated, count_labels
from factory.records import content_id
from factory.storage.rows import ok_row
from tests.label_items import CANDIDATES, label_item

ITEMS = [ok_row(label_item(number)) for number in range(4)]
PAIR = ok_row(label_item(10, "pair"))


def label_of(item: dict, *scores: int, rater: str = "Ada", **changes) -> dict:
    given = {"item_id": item["item_id"], "kind": item["kind"], "answer_ids": list(item["answer_ids"])}
    return given | {"scores": list(scores), "rater": rater, "repetition": 0, "seconds": 3.0} | changes


def evaluated_of(items: list[dict]) -> Evaluated:
    questions = {item["question_id"]: number for number, item in enumerate(items)}
    ids = {
        (candidate, item["question_id"]): answer
        for item in items
        for candidate, answer in zip(item["candidates"], item["answer_ids"], strict=True)
    }
    none = np.zeros(len(items))
    return Evaluated(none.astype(int), none.astype(int), {}, {}, questions, ids)


def test_labels_are_averaged_over_people():
    labels = [label_of(ITEMS[0], 4), label_of(ITEMS[0], 5, rater="Bo"), label_of(ITEMS[2], 1)]
    counted = count_labels(ITEMS, labels, evaluated_of(ITEMS))
    assert counted.by_candidate == {CANDIDATES[0]: {0: (4.5, 2.0), 2: (1.0, 2.0)}}
    numbers, values, weights = counted.of(CANDIDATES[0])
    assert (numbers.tolist(), values.tolist(), weights.tolist()) == ([0, 2], [4.5, 1.0], [2.0, 2.0])
    assert len(counted.of("nobody")[0]) == 0


def test_both_answers_of_a_pair_count():
    counted = count_labels([PAIR], [label_of(PAIR, 2, 5)], evaluated_of([PAIR]))
    assert counted.by_candidate == {CANDIDATES[0]: {0: (2.0, 2.0)}, CANDIDATES[1]: {0: (5.0, 2.0)}}
    assert counted.counted == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer_ids": [content_id("another answer")]}, "of changed answers"),
        ({"repetition": 1}, "of answers shown again"),
        ({"kind": "gold"}, "of known answers"),
        ({"scores": [0]}, "without a score"),
        ({"item_id": "unknown"}, "of items of another draw"),
    ],
)
def test_other_labels_do_not_count(changes, reason):
    counted = count_labels(ITEMS, [label_of(ITEMS[0], 4) | changes, label_of(ITEMS[1], 3)], evaluated_of(ITEMS))
    assert counted.unused == {reason: 1}
    assert counted.counted == 1


def test_agreement_by_hand():
    found = label_agreement([5, 4, 2, 1], [5, 5, 4, 1], [1, 1, 2, 1], ["a"] * 4, seed=1)
    assert (found.labels, found.same, found.within_one) == (4, 2 / 5, 3 / 5)
    assert found.bias == pytest.approx((0 + 1 + 2 * 2 + 0) / 5)
    assert found.kappa_low <= found.kappa <= found.kappa_high


def test_steadiness_of_people():
    gold = ok_row(label_item(100, "gold"))  # a bad answer
    labels = [
        label_of(gold, 2),
        label_of(ITEMS[0], 4),
        label_of(ITEMS[0], 3, repetition=1),
        label_of(ITEMS[1], 0, seconds=9.0),
        label_of(gold, 5, rater="Bo"),
    ]
    ada, bo = summarize_raters([gold, *ITEMS], labels)
    assert (ada.rater, ada.labels, ada.gold, ada.gold_right) == ("Ada", 2, 1, 1)
    assert (ada.repeated, ada.repeated_same, ada.could_not_judge, ada.median_seconds) == (1, 0, 1, 3.0)
    assert (bo.labels, bo.gold_right) == (0, 0)


def test_votes_of_the_playground_are_preferences():
    def vote(session: str, candidate: str, kind: str) -> dict:
        return {"session_id": session, "turn": 0, "candidate": candidate, "vote": kind}

    rows = [
        *(vote("1", "base", "down"), vote("1", "tuned", "up")),
        *(vote("2", "base", "down"), vote("2", "tuned", "up")),
        *(vote("3", "base", "up"), vote("3", "tuned", "down")),
        *(vote("4", "base", "up"), vote("4", "tuned", "up")),
        *(vote("5", "base", "none"), vote("5", "tuned", "up")),
    ]
    (found,) = playground_votes(rows)
    assert (found.a, found.b, found.wins, found.of) == ("tuned", "base", 2, 3)
    assert playground_votes([]) == []


def test_lenient_judge_is_corrected_by_labels():
    """The judge gives the tuned answers a point too much; people see no difference."""
    random = np.random.default_rng(5)
    number = 400
    people = {name: random.integers(2, 5, number).astype(float) for name in CANDIDATES}
    judged = {name: np.vstack([people[name] + (name == CANDIDATES[1])] * 2) for name in CANDIDATES}
    drawn = random.choice(number, 100, replace=False)
    items = [
        ok_row(label_item(question)) | {"candidates": (name,), "item_id": f"{name}{question}"}
        for question in drawn
        for name in CANDIDATES
    ]
    labels = [label_of(item, int(people[item["candidates"][0]][int(item["question_id"][1:])])) for item in items]
    evaluated = Evaluated(
        personas=np.arange(number),
        tasks=np.arange(number) % 5,
        scores=judged,
        answered={name: np.ones(number, bool) for name in CANDIDATES},
        numbers={f"q{question}": int(question) for question in drawn},
        answer_ids={(item["candidates"][0], item["question_id"]): item["answer_ids"][0] for item in items},
    )
    config = RunConfig.model_validate({"output": "x"})
    found = _judge(config, "lenient", 0, evaluated, count_labels(items, labels, evaluated))
    base, tuned = found.candidates
    assert (base.corrected.labels, tuned.corrected.labels) == (100, 100)
    truth = people[CANDIDATES[1]].mean()
    assert tuned.raw.low > truth + 0.8
    assert tuned.corrected.low <= truth <= tuned.corrected.high
    (difference,) = found.differences
    assert (difference.a, difference.b) == (CANDIDATES[1], CANDIDATES[0])
    assert difference.raw.low > 0.5
    assert difference.corrected.low <= 0 <= difference.corrected.high
    assert found.agreement["Toxicity"].bias == pytest.approx(0.5, abs=0.2)


def test_too_few_labels_correct_nothing():
    evaluated = Evaluated(
        personas=np.arange(20),
        tasks=np.zeros(20, int),
        scores={CANDIDATES[0]: np.full((2, 20), 4.0)},
        answered={CANDIDATES[0]: np.ones(20, bool)},
        numbers={},
        answer_ids={},
    )
    found = _judge(RunConfig.model_validate({"output": "x"}), "j", 0, evaluated, count_labels([], [], evaluated))
    assert found.candidates[0].raw.mean == 4
    assert math.isnan(found.candidates[0].corrected.mean)
    assert found.agreement == {}
