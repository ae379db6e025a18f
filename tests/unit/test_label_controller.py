"""Who labels what: known answers first, nothing lost or shown twice, and what a label stores."""

import asyncio
from collections import Counter

import pytest

from factory.config import RunConfig
from factory.playground.label_controller import CANNOT_JUDGE, LabelController, open_labels
from factory.playground.profile_form import FormError
from factory.run_output import layout
from tests.label_items import CANDIDATES, label_item

GOLD = [label_item(number, "gold") for number in range(100, 103)]
SINGLES = [label_item(number) for number in range(24)]


def controller_of(output, items, **labels) -> LabelController:
    config = RunConfig.model_validate({"output": str(output), "labels": {"gold": 3, "repeat_every": 10} | labels})
    return LabelController(config, items, open_labels(config))


def rows(output) -> list[dict]:
    table = layout.LABELS.table(str(output))
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def save(controller, rater, *scores, verdict=None, comment="") -> None:
    asyncio.run(controller.save(rater, scores or ("4", None), verdict, comment))


def test_known_answers_come_first_and_no_item_twice(tmp_path):
    controller = controller_of(tmp_path, [*SINGLES, *GOLD])
    rater, seen = controller.start("Ada", "native", True), []
    while rater.shown:
        seen.append((rater.shown.item.item_id, rater.shown.repetition))
        save(controller, rater)
    assert {item for item, _ in seen[:3]} == {item.item_id for item in GOLD}
    assert len(seen) == len(set(seen)) == len({row["label_id"] for row in rows(tmp_path)})
    assert {item for item, repetition in seen if not repetition} == {item.item_id for item in [*SINGLES, *GOLD]}
    assert 1 <= sum(repetition for _, repetition in seen) <= 3
    assert controller.progress(rater) == (24, 0)


@pytest.mark.parametrize("stop", [3, 15])
def test_work_is_resumed_where_it_stopped(tmp_path, stop):
    items = [*SINGLES, *GOLD]
    first, second = (tmp_path / name for name in ("whole", "stopped"))
    seen = []
    for output in (first, second):
        controller = controller_of(output, items)
        rater, shown = controller.start("Ada", "native", True), []
        while rater.shown:
            shown.append((rater.shown.item.item_id, rater.shown.repetition))
            save(controller, rater)
            if output == second and len(shown) == stop:
                controller = controller_of(output, items)  # the page was started again
                rater = controller.start(" Ada ", "fluent", True)
        seen.append(shown)
    assert seen[0] == seen[1]
    assert len(rows(first)) == len(rows(second))


def test_people_share_the_items(tmp_path):
    controller = controller_of(tmp_path, SINGLES, gold=0, repeat_every=1000)
    raters = [controller.start(name, "native", True) for name in ("Ada", "Bo", "Cy")]
    while any(rater.shown for rater in raters):
        for rater in raters:
            controller.show_next(rater)
            if rater.shown:
                save(controller, rater)
    assert Counter(row["item_id"] for row in rows(tmp_path)) == Counter({item.item_id: 1 for item in SINGLES})
    by_candidate = {item.item_id: item.candidates for item in SINGLES}
    for name in ("Ada", "Bo", "Cy"):
        own = Counter(by_candidate[row["item_id"]] for row in rows(tmp_path) if row["rater"] == name)
        assert own == Counter({(candidate,): 4 for candidate in CANDIDATES})


def test_several_people_label_each_item(tmp_path):
    controller = controller_of(tmp_path, SINGLES[:4], gold=0, raters=2)
    for name in ("Ada", "Bo", "Cy"):
        rater = controller.start(name, "native", True)
        while rater.shown:
            save(controller, rater)
    assert Counter(Counter(row["item_id"] for row in rows(tmp_path)).values()) == {2: 4}


def test_double_click_stores_one_label(tmp_path):
    controller = controller_of(tmp_path, SINGLES, gold=0)
    rater = controller.start("Ada", "native", True)

    async def twice():
        await asyncio.gather(*(controller.save(rater, ("4", None), None, "") for _ in range(2)))

    asyncio.run(twice())
    assert len(rows(tmp_path)) == 1
    assert controller.progress(rater) == (1, 23)


def test_pair_is_stored_by_the_order_of_the_item(tmp_path):
    pairs = [label_item(number, "pair") for number in range(8)]
    controller = controller_of(tmp_path, pairs, gold=0)
    rater, orders = controller.start("Ada", "native", True), set()
    while rater.shown:
        orders.add(rater.shown.order)
        save(controller, rater, "5", "2", verdict="The first is better")
    assert orders == {(0, 1), (1, 0)}
    for row in rows(tmp_path):
        first = row["shown_order"][0]
        assert row["verdict"] == "ab"[first]
        assert (row["scores"][first], row["scores"][1 - first]) == (5, 2)


@pytest.mark.parametrize(
    ("scores", "comment", "told"),
    [
        ((None, None), "", "Give each answer a score"),
        (("6", None), "", "Give each answer a score"),
        ((CANNOT_JUDGE, None), " ", "Say in a few words why"),
        (("4", None), "x" * 1001, "the limit is 1,000"),
    ],
)
def test_incomplete_label_is_refused(tmp_path, scores, comment, told):
    controller = controller_of(tmp_path, SINGLES)
    rater = controller.start("Ada", "native", True)
    with pytest.raises(FormError, match=told):
        save(controller, rater, *scores, comment=comment)
    assert rows(tmp_path) == []


def test_pair_needs_a_verdict(tmp_path):
    controller = controller_of(tmp_path, [label_item(1, "pair")])
    with pytest.raises(FormError, match="which of the two"):
        save(controller, controller.start("Ada", "native", True), "4", "4")


@pytest.mark.parametrize(
    ("name", "proficiency", "consent", "told"),
    [
        ("", "native", True, "pseudonym"),
        ("x" * 65, "native", True, "pseudonym"),
        ("Ada", None, True, "how well you read"),
        ("Ada", "native", False, "consent only"),
        ("Gone", "native", True, "took back"),
    ],
)
def test_entries_are_needed_to_begin(tmp_path, name, proficiency, consent, told):
    controller = controller_of(tmp_path, SINGLES, withdrawn=("Gone",))
    with pytest.raises(FormError, match=told):
        controller.start(name, proficiency, consent)


def test_withdrawn_labels_are_deleted(tmp_path):
    controller = controller_of(tmp_path, SINGLES, gold=0)
    for name in ("Ada", "Bo"):
        rater = controller.start(name, "native", True)
        for _ in range(4):
            save(controller, rater)
    again = controller_of(tmp_path, SINGLES, gold=0, withdrawn=("Ada",))
    assert {row["rater"] for row in rows(tmp_path)} == {"Bo"}
    assert again.progress(again.start("Bo", "native", True)) == (4, 20)


def test_label_has_all_that_is_collected(tmp_path):
    controller = controller_of(tmp_path, SINGLES, gold=0)
    rater = controller.start("Ada", "fluent", True)
    shown, rater.changes = rater.shown, 2
    save(controller, rater, CANNOT_JUDGE, None, comment="It is in a language that I do not read.")
    (row,) = rows(tmp_path)
    item = shown.item
    for name in ("item_id", "persona_id", "task", "question_id", "rubric"):
        assert row[name] == getattr(item, name)
    assert tuple(row["answer_ids"]) == item.answer_ids
    assert (row["scores"], row["comment"]) == ([0], "It is in a language that I do not read.")
    assert (row["rater"], row["proficiency"], row["consent"], row["changes"]) == ("Ada", "fluent", True, 2)
    assert row["examples_shown"] is False
    assert row["page_version"]
    assert row["seconds"] >= 0
    assert row["shown"] <= row["answered"]
