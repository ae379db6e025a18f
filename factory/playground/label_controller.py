"""The actions of the page of labels: who sees which item, and what is stored.

A person's place is known from the stored labels alone, so a page that is loaded again goes on where it stopped.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from factory.config import RunConfig
from factory.playground.profile_form import FormError
from factory.playground.votes_table import open_for_more, read_rows, write_latest
from factory.records import Label, LabelItem, content_id
from factory.run_output import layout
from factory.storage.rows import Row, ok_row, to_record
from factory.storage.schemas import LABELS
from factory.storage.tables import Table

PAGE_VERSION = "1"
"""Of what people see and are asked; a label names it."""
SETTINGS = {"rows": "one per person, item and repetition: the last label"}
MAX_NAME = 64
MAX_COMMENT = 1000
CANNOT_JUDGE = "cannot judge"
SCORES = ("1", "2", "3", "4", "5", CANNOT_JUDGE)
VERDICTS = {"The first is better": 0, "The second is better": 1, "They are the same": None}
"""The answers' places on the page."""
PROFICIENCIES = ("native", "fluent", "intermediate", "basic")


@dataclass(frozen=True)
class Shown:
    """An item as a person sees it; `order` has the numbers of its answers as they are shown."""

    item: LabelItem
    order: tuple[int, ...]
    repetition: int
    since: datetime
    began: float


@dataclass
class Rater:
    """A person on one page, stored in gradio's state of that session only."""

    name: str
    proficiency: str
    shown: Shown | None = None
    changes: int = 0
    """Choices that were changed since the item was shown."""


@dataclass
class _Given:
    """The labels of one person: items in the order in which they were labeled, by repetition."""

    first: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    candidates: Counter[tuple[str, ...]] = field(default_factory=Counter)


class LabelController:
    """The logic behind the page.

    Args:
        config: the run's.
        items: all items, which a person sees one after the other.
        table: of the labels; this is its only writer.
    """

    def __init__(self, config: RunConfig, items: Sequence[LabelItem], table: Table) -> None:
        self.config = config
        self._items = {item.item_id: item for item in items}
        self._table = table
        self._lock = asyncio.Lock()
        self._given: dict[str, _Given] = {}
        self._labels: Counter[str] = Counter()
        self._number = 0
        for shard in table.shards():
            for row in read_rows(table, shard, LABELS):
                self._number = max(self._number, row["number"])
                self._count(row)

    def build_page(self) -> Any:
        """Return the gradio page, with its events connected."""
        from factory.playground.label_page import build_label_page  # it imports this module

        return build_label_page(self)

    def start(self, name: str, proficiency: str | None, consent: bool) -> Rater:
        """Begin or resume a person's work.

        Raises:
            FormError: an entry is missing.
        """
        name = " ".join((name or "").split())
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise FormError(f"Enter a pseudonym of up to {MAX_NAME} characters; use the same one whenever you return.")
        if name in self.config.labels.withdrawn:
            raise FormError("You took back your consent; enter another pseudonym to begin again.")
        if proficiency not in PROFICIENCIES:
            raise FormError("Say how well you read the language of the answers.")
        if not consent:
            raise FormError("Your labels can be stored with your consent only.")
        rater = Rater(name, proficiency)
        self.show_next(rater)
        return rater

    def show_next(self, rater: Rater) -> None:
        """Choose the item that a person sees next; none when all is done."""
        item, repetition = self._next(rater.name)
        rater.changes = 0
        rater.shown = None
        if item:
            flipped = len(item.answers) > 1 and int(content_id(rater.name, item.item_id, str(repetition)), 16) % 2 == 1
            order = tuple(reversed(range(len(item.answers)))) if flipped else tuple(range(len(item.answers)))
            rater.shown = Shown(item, order, repetition, datetime.now(UTC), time.monotonic())

    def _next(self, name: str) -> tuple[LabelItem | None, int]:
        given = self._given.setdefault(name, _Given())
        done = set(given.first)
        for item in self._items.values():
            if item.kind == "gold" and item.item_id not in done:
                return item, 0
        own = [one for one in given.first if one in self._items and self._items[one].kind != "gold"]
        if len(own) // self.config.labels.repeat_every > len(given.again):
            old = [one for one in own[: -self.config.labels.repeat_every // 2] if one not in given.again]
            return self._items[min(old, key=lambda one: content_id(name, one))], 1
        open_items = [item for item in self._items.values() if item.item_id not in done and self._is_open(item)]
        # Items with few labels first, and candidates in turn.
        return min(
            open_items,
            key=lambda item: (
                self._labels[item.item_id], given.candidates[item.candidates], content_id(name, item.item_id)
            ),
            default=None,
        ), 0  # fmt: skip

    def _is_open(self, item: LabelItem) -> bool:
        return item.kind != "gold" and self._labels[item.item_id] < self.config.labels.raters

    def progress(self, rater: Rater) -> tuple[int, int]:
        """Return how many labels a person gave that count, and how many are open to them."""
        own = [one for one in self._given[rater.name].first if one in self._items]
        counted = sum(self._items[one].kind != "gold" for one in own)
        left = sum(item.item_id not in own and self._is_open(item) for item in self._items.values())
        return counted, left

    async def save(self, rater: Rater, scores: Sequence[str | None], verdict: str | None, comment: str) -> None:
        """Store a person's label of the item that they see, and show the next one.

        Args:
            rater: the person.
            scores: of the answers, in the order in which they are shown.
            verdict: on a pair.
            comment: why they cannot judge.

        Raises:
            FormError: an entry is missing, or the label could not be stored.
        """
        shown = rater.shown
        if shown is None:
            raise FormError("There is nothing to save.")
        label = self._label(rater, shown, scores, verdict, (comment or "").strip())
        async with self._lock:
            self._number += 1
            row = ok_row(label) | {"number": self._number}
            try:
                await asyncio.to_thread(write_latest, self._table, [row], "label_id", LABELS)
            except Exception as problem:  # of a local disk or a bucket
                raise FormError("Your label could not be saved; press Save again in a moment.") from problem
            if rater.shown is shown:  # not saved twice by a double click
                self._count(row)
                self.show_next(rater)

    def _label(
        self, rater: Rater, shown: Shown, scores: Sequence[str | None], verdict: str | None, comment: str
    ) -> Label:
        item, given = shown.item, list(scores)[: len(shown.order)]
        if any(score not in SCORES for score in given):
            raise FormError("Give each answer a score, or say that you cannot judge it.")
        if CANNOT_JUDGE in given and not comment:
            raise FormError("Say in a few words why you cannot judge it.")
        if len(comment) > MAX_COMMENT:
            raise FormError(f"The reason has {len(comment):,} characters; the limit is {MAX_COMMENT:,}.")
        if len(given) > 1 and verdict not in VERDICTS:
            raise FormError("Say which of the two answers is better, or that they are the same.")
        by_place = dict(zip(shown.order, given, strict=True))
        place = VERDICTS[verdict] if len(given) > 1 and verdict else None
        preferred = "same" if place is None else "ab"[shown.order[place]]
        return Label(
            label_id=content_id(rater.name, item.item_id, str(shown.repetition)),
            item_id=item.item_id,
            kind=item.kind,
            persona_id=item.persona_id,
            task=item.task,
            question_id=item.question_id,
            answer_ids=item.answer_ids,
            shown_order=shown.order,
            rubric=item.rubric,
            examples_shown=False,
            scores=tuple(SCORES.index(by_place[number]) + 1 if by_place[number] != CANNOT_JUDGE else 0
                         for number in range(len(given))),
            verdict=preferred if len(given) > 1 else "",
            comment=comment,
            repetition=shown.repetition,
            rater=rater.name,
            proficiency=rater.proficiency,
            consent=True,
            page_version=PAGE_VERSION,
            shown=shown.since.isoformat(timespec="seconds"),
            answered=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - shown.began, 1),
            changes=rater.changes,
            number=0,
        )  # fmt: skip

    def _count(self, row: Row) -> None:
        given = self._given.setdefault(row["rater"], _Given())
        labeled = given.again if row["repetition"] else given.first
        if row["item_id"] in labeled:
            return
        labeled.append(row["item_id"])
        if row["kind"] != "gold" and not row["repetition"]:
            self._labels[row["item_id"]] += 1
            if row["item_id"] in self._items:
                given.candidates[self._items[row["item_id"]].candidates] += 1


def open_labels(config: RunConfig) -> Table:
    """Return the table of labels for more of them, without those of people who took back their consent."""
    table = open_for_more(layout.LABELS.table(config.output), SETTINGS)
    for shard in table.shards():
        rows = read_rows(table, shard, LABELS)
        kept = [row for row in rows if row["rater"] not in config.labels.withdrawn]
        if len(kept) < len(rows):
            table.write(shard, kept, LABELS)
    return table


def read_items(table: Table) -> list[LabelItem]:
    """Return all items."""
    return [to_record(LabelItem, row) for shard in table.shards() for row in table.read(shard).to_pylist()]
