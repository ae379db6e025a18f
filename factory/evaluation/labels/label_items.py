"""Judged answers to those that people label: a stratified sample, drawn by hash in Ray tasks.

Each task keeps the first rows of each stratum by their hash, at most as many as are drawn in all, so the driver never
sees more than these.
"""

import heapq
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.evaluation_steps import read_rubrics
from factory.evaluation.judge_check.pairs import ORDERED, read_pairs
from factory.evaluation.labels.strata import (
    BINS,
    SIGNS,
    Cell,
    allocate,
    difference_bins,
    draw_key,
    merge_small,
    score_bins,
    stratum_name,
)
from factory.evaluation.rubric import Rubric
from factory.evaluation.run_benchmark import named_benchmark
from factory.evaluation.scoring.score_arrays import TASK_NAMES
from factory.records import LabelItem, answer_key, content_id, question_of
from factory.run_output import layout
from factory.runtime.build_table import build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage.rows import Row, ok_row
from factory.storage.schemas import LABEL_ITEMS
from factory.storage.tables import Table, compute_fingerprint

Group = tuple[str, ...]
"""The candidates of an item: one, or the two of a pair."""
Drawn = tuple[float, str, str]
"""The hash by which a row is drawn, its `answer_key`, and its shard."""


@dataclass
class Strata:
    """The rows of each group and cell: their number, and the first by hash."""

    limit: int
    counts: Counter[tuple[Group, Cell]] = field(default_factory=Counter)
    first: defaultdict[tuple[Group, Cell], list[Drawn]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: tuple[Group, Cell], row: Drawn) -> None:
        """Count a row."""
        self.counts[place] += 1
        self.first[place].append(row)

    def merge(self, other: "Strata") -> None:
        """Add the rows of another part."""
        self.counts += other.counts
        for place, rows in other.first.items():
            self.first[place] = heapq.nsmallest(self.limit, self.first[place] + rows)


def label_groups(config: RunConfig) -> list[Group]:
    """Return the candidates whose answers are labeled, alone or as a pair.

    Raises:
        InputError: a candidate of `labels.pair` is none of the evaluation.
    """
    names = [candidate.name for candidate in config.evaluation.candidates]
    if config.labels.pair is None:
        return [(name,) for name in names]
    for name in config.labels.pair:
        if name not in names:
            raise InputError(f"labels.pair has {name!r}, which is none of the candidates {names}")
    return [config.labels.pair]


def build_items(config: RunConfig, progress: Progress) -> Table:
    """Draw the answers to label, and write them.

    Raises:
        InputError: the evaluation is not finished.
    """
    table, groups = layout.LABEL_ITEMS.table(config.output), label_groups(config)
    sources = _sources(config, groups)
    for source in sources:
        if source.manifest() is None:
            raise InputError(f"{source.name} is not finished; run evaluate first")
    settings = config.labels.model_dump(include={"answers", "pair", "gold"})
    inputs = {**settings, "seed": config.seed, "sources": [identity(source) for source in sources]}
    frame = compute_fingerprint({"sources": inputs["sources"]})
    build_table(table, inputs, None, partial(_write_items, config, table, groups, frame, progress), progress)
    return table


def _sources(config: RunConfig, groups: list[Group]) -> list[Table]:
    names = sorted({name for group in groups for name in group})
    judges = [judge.name for judge in config.evaluation.judges]
    answers = [layout.ANSWERS.table(config.output, candidate=name) for name in names]
    return answers + [
        layout.JUDGMENTS.table(config.output, candidate=name, judge=judge) for name in names for judge in judges
    ]


def _write_items(config: RunConfig, table: Table, groups: list[Group], frame: str, progress: Progress) -> Any:
    strata = Strata(config.labels.answers)
    questions = layout.BENCHMARK_QUESTIONS.table(config.output)
    for part in map_shards(questions, partial(_scan, config, groups)):
        strata.merge(pickle.loads(part["strata"]))
    rubrics = read_rubrics(named_benchmark(config))
    rows = [*_gold_items(config, rubrics, frame), *_sampled_items(config, strata, rubrics, frame)]
    return table.write("00000", sorted(rows, key=lambda row: row["item_id"]), LABEL_ITEMS)


def _scan(config: RunConfig, groups: list[Group], shard: dict[str, Any]) -> dict[str, Any]:
    """Count the rows of a shard by group and cell, and keep the first of each by hash."""
    name, strata, part = shard["shard"], Strata(config.labels.answers), Strata(config.labels.answers)
    tasks = _tasks(config, name)
    members = {candidate for group in groups for candidate in group}
    means = {candidate: _mean_scores(config, candidate, name) for candidate in members}
    for group in groups:
        answered = [key for key in means[group[0]] if all(key in means[one] for one in group)]
        values = np.array([[means[one][key] for one in group] for key in answered]).reshape(-1, len(group))
        bins = score_bins(values[:, 0]) if len(group) == 1 else difference_bins(values[:, 0] - values[:, 1])
        for key, number in zip(answered, bins.tolist(), strict=True):
            order = draw_key(config.seed, "label", *group, key)
            part.add((group, (tasks[question_of(key)], number)), (order, key, name))
    strata.merge(part)  # keeps the first only
    return {"strata": pickle.dumps(strata)}


def _tasks(config: RunConfig, shard: str) -> dict[str, int]:
    columns = layout.BENCHMARK_QUESTIONS.table(config.output).read(shard, ["question_id", "task"]).to_pydict()
    return {
        question: TASK_NAMES.index(task) for question, task in zip(columns["question_id"], columns["task"], strict=True)
    }


def _mean_scores(config: RunConfig, candidate: str, shard: str) -> dict[str, float]:
    """Return the mean of the judges by the key of each accepted answer; NaN where all failed."""
    answers = layout.ANSWERS.table(config.output, candidate=candidate).read(shard, ["question_id", "draw", "status"])
    scores: dict[str, list[float]] = {answer_key(row): [] for row in answers.to_pylist() if row["status"] == "ok"}
    columns = ["question_id", "draw", "status", "score", "expected_score"]
    for judge in config.evaluation.judges:
        judgments = layout.JUDGMENTS.table(config.output, candidate=candidate, judge=judge.name)
        for row in judgments.read(shard, columns).to_pylist():
            if row["status"] == "ok":
                score = row["score"] if row["expected_score"] is None else row["expected_score"]
                scores[answer_key(row)].append(score)
    return {key: float(np.mean(given)) if given else np.nan for key, given in scores.items()}


def _sampled_items(
    config: RunConfig, strata: Strata, rubrics: Mapping[str, Rubric], frame: str
) -> Iterator[dict[str, Any]]:
    """Yield an item for each drawn row; each group has its own share and strata."""
    groups = sorted({group for group, _ in strata.counts})
    sizes = {group: sum(count for (one, _), count in strata.counts.items() if one == group) for group in groups}
    per_item = len(groups[0]) if groups else 1
    shares = allocate(sizes, config.labels.answers // per_item)
    bins = BINS if per_item == 1 else SIGNS
    for group in groups:
        counts = {cell: count for (one, cell), count in strata.counts.items() if one == group}
        merged = merge_small(counts)
        rows: Counter[Cell] = Counter()
        first: defaultdict[Cell, list[Drawn]] = defaultdict(list)
        for cell, count in counts.items():
            rows[merged[cell]] += count
            first[merged[cell]] += strata.first[group, cell]
        for cell, number in allocate(rows, shares[group]).items():
            draw = _Draw(stratum_name(TASK_NAMES, bins, cell), rows[cell], number, frame, config.seed)
            for _, key, shard in heapq.nsmallest(number, first[cell]):
                yield _item(config, group, key, shard, rubrics, draw)


@dataclass(frozen=True)
class _Draw:
    stratum: str
    stratum_rows: int
    stratum_drawn: int
    frame: str
    seed: int

    def columns(self) -> dict[str, Any]:
        probability = self.stratum_drawn / self.stratum_rows if self.stratum_rows else None
        names = ("stratum", "stratum_rows", "stratum_drawn", "frame", "seed")
        return {name: getattr(self, name) for name in names} | {"probability": probability}


def _item(
    config: RunConfig, group: Group, key: str, shard: str, rubrics: Mapping[str, Rubric], draw: _Draw
) -> dict[str, Any]:
    found = [_answer(config, candidate, key, shard) for candidate in group]
    kind = "single" if len(group) == 1 else "pair"
    return _row(kind, group, found[0], [str(row["answer"]) for row in found], rubrics, draw)


def _answer(config: RunConfig, candidate: str, key: str, shard: str) -> Row:
    rows = layout.ANSWERS.table(config.output, candidate=candidate).read(shard)
    of_question = rows.filter(pyarrow.compute.equal(rows["question_id"], question_of(key))).to_pylist()
    return next(row for row in of_question if answer_key(row) == key)


def _gold_items(config: RunConfig, rubrics: Mapping[str, Rubric], frame: str) -> Iterator[dict[str, Any]]:
    """Yield the good answers of built-in pairs and the bad ones of others, in turn."""
    pairs = [pair for pair in read_pairs() if pair.kind in ORDERED and pair.kind != "adjacent"]
    pairs.sort(key=lambda pair: draw_key(config.seed, pair.id))
    for number, pair in enumerate(pairs[: config.labels.gold]):
        side, text = ("better", pair.better) if number % 2 else ("worse", pair.worse)
        about = {"persona_id": pair.id, "persona": pair.persona, "task": pair.task, "question_id": pair.id}
        row = about | {"question": pair.question}
        yield _row("gold", (side,), row, [text], rubrics, _Draw("", 0, 0, frame, config.seed))


def _row(
    kind: str, group: Group, about: Row, answers: list[str], rubrics: Mapping[str, Rubric], draw: _Draw
) -> dict[str, Any]:
    names = ("persona_id", "persona", "task", "question_id", "question")
    criteria = rubrics[about["task"]].criteria
    item = LabelItem(
        item_id=content_id(kind, answer_key(about), *group, *answers),
        kind=kind,
        candidates=group,
        answers=tuple(answers),
        answer_ids=tuple(map(content_id, answers)),
        criteria=criteria,
        rubric=content_id(criteria),
        draw=about.get("draw") or 0,
        **{name: about[name] for name in names},
        **draw.columns(),
    )
    return ok_row(item)
