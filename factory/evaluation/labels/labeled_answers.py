"""Reads what labels are compared with: the judges' scores of all answers, some bytes each, and which are labeled."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.config import RunConfig
from factory.evaluation.labels.estimates import MIN_STRATIFIED, Population
from factory.evaluation.labels.strata import BINS, difference_bins, merge_small, score_bins
from factory.evaluation.scoring.score_arrays import TASK_NAMES
from factory.records import answer_key, content_id
from factory.run_output import layout
from factory.storage.repeated_table import RepeatedTable
from factory.storage.tables import Table

Row = Mapping[str, Any]
Place = tuple[str, str]
"""Candidate and `answer_key` of an answer."""


@dataclass(frozen=True)
class Evaluated:
    """The judges' scores; answers to a question of one draw have the same number in all arrays."""

    personas: np.ndarray
    """By number."""
    tasks: np.ndarray
    """By number."""
    scores: Mapping[str, np.ndarray]
    """By candidate: of each judge, and last their mean, shape (judges + 1, answers); NaN where there is none."""
    answered: Mapping[str, np.ndarray]
    """By candidate: whether there is an answer."""
    numbers: Mapping[str, int]
    """The numbers of the answers with a label, by their keys."""
    answer_ids: Mapping[Place, str]
    """The present hashes of their answers."""

    def population(self, candidate: str, judge: int) -> Population:
        """Return a candidate's answers with the scores of one judge, in the strata of the draw."""
        scores = self.scores[candidate]
        return self._population(scores[judge], score_bins(scores[-1]), self.answered[candidate])

    def pair_population(self, a: str, b: str, judge: int, labels: int) -> Population:
        """Return the differences of two candidates' scores on the questions that both answered."""
        scores, means = (self.scores[a][at] - self.scores[b][at] for at in (judge, -1))
        bins = difference_bins(means)
        if labels < MIN_STRATIFIED:
            bins = np.zeros_like(bins)
        return self._population(scores, bins, self.answered[a] & self.answered[b], by_task=labels >= MIN_STRATIFIED)

    def _population(
        self, scores: np.ndarray, bins: np.ndarray, answered: np.ndarray, by_task: bool = True
    ) -> Population:
        tasks = self.tasks[answered]
        cells = list(zip((tasks if by_task else tasks * 0).tolist(), bins[answered].tolist(), strict=True))
        merged = merge_small(Counter(cells))
        sizes = np.bincount(tasks, minlength=len(TASK_NAMES))
        return Population(
            scores=scores[answered],
            strata=np.array([len(BINS) * merged[cell][0] + merged[cell][1] for cell in cells]),
            personas=self.personas[answered],
            weights=1 / sizes[tasks] / (sizes > 0).sum(),
            persona_number=int(self.personas.max(initial=-1)) + 1,
        )


@dataclass(frozen=True)
class CountedLabels:
    """The labels that count: by candidate, answer numbers with people's mean score and the draw's weight."""

    by_candidate: Mapping[str, Mapping[int, tuple[float, float]]]
    counted: int
    unused: Mapping[str, int]
    """The others, by reason."""

    def of(self, candidate: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return answer numbers in order, the labels and the weights, each of shape (labels,)."""
        labels = self.by_candidate.get(candidate, {})
        numbers = sorted(labels)
        values, weights = (np.array([labels[number][at] for number in numbers], float) for at in (0, 1))
        return np.array(numbers, int), values, weights


def read_evaluated(config: RunConfig, items: Sequence[Row]) -> Evaluated:
    """Read the scores shard by shard, expected ones where all judges gave them, and the answers of items."""
    judges = [judge.name for judge in config.evaluation.judges]
    names = [candidate.name for candidate in config.evaluation.candidates]
    wanted = {answer_key(item) for item in items if item["kind"] != "gold"}
    personas: dict[str, int] = {}
    numbers: dict[str, int] = {}
    answer_ids: dict[Place, str] = {}
    parts: list[list[np.ndarray]] = []
    start = 0
    table = RepeatedTable.of(layout.BENCHMARK_QUESTIONS.table(config.output), config.evaluation.draws, "draw")
    for shard in table.shards():
        asked = table.read(shard, ["question_id", "persona_id", "task"]).to_pylist()
        index = {answer_key(row): number for number, row in enumerate(asked)}
        whole = np.full((len(names), len(judges), len(index)), np.nan, np.float32)
        expected, answered = whole.copy(), np.zeros((len(names), len(index)), bool)
        for c, candidate in enumerate(names):
            for row in _accepted(config, layout.ANSWERS.name(candidate=candidate), shard, ["answer"]):
                key = answer_key(row)
                answered[c, index[key]] = True
                if key in wanted:
                    answer_ids[candidate, key] = content_id(row["answer"])
            for j, judge in enumerate(judges):
                name = layout.JUDGMENTS.name(candidate=candidate, judge=judge)
                for row in _accepted(config, name, shard, ["score", "expected_score"]):
                    number = index[answer_key(row)]
                    whole[c, j, number] = row["score"]
                    expected[c, j, number] = np.nan if row["expected_score"] is None else row["expected_score"]
        numbers |= {key: start + number for key, number in index.items() if key in wanted}
        start += len(index)
        owners = [personas.setdefault(persona, len(personas)) for persona in (row["persona_id"] for row in asked)]
        tasks = np.array([TASK_NAMES.index(row["task"]) for row in asked])
        parts.append([np.array(owners), tasks, whole, expected, answered])
    owners_of, tasks, whole, expected, answered = (np.concatenate(part, -1) for part in zip(*parts, strict=True))
    scores = whole if np.isnan(expected[~np.isnan(whole)]).any() else expected
    return Evaluated(
        personas=owners_of,
        tasks=tasks,
        scores={name: np.vstack([scores[c], _mean(scores[c])[None]]) for c, name in enumerate(names)},
        answered={name: answered[c] for c, name in enumerate(names)},
        numbers=numbers,
        answer_ids=answer_ids,
    )


def _accepted(config: RunConfig, name: str, shard: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    table = Table(config.output, name)
    rows = table.read(shard, ["question_id", "draw", "status", *columns]).to_pylist()
    return (row for row in rows if row["status"] == "ok")


def _mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean over the judges that scored, shape (answers,)."""
    counts = (~np.isnan(scores)).sum(axis=0)
    means: np.ndarray = np.where(counts, np.nansum(scores, axis=0) / np.maximum(1, counts), np.nan)
    return means


def count_labels(items: Sequence[Row], labels: Sequence[Row], evaluated: Evaluated) -> CountedLabels:
    """Take the labels of present answers, averaged over people.

    A label of an answer that is no longer the candidate's is refused, by the hash of the answer.
    """
    by_id = {item["item_id"]: item for item in items}
    given: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    weights: dict[tuple[str, int], float] = {}
    unused: Counter[str] = Counter()
    for label in labels:
        item = by_id.get(label["item_id"])
        reason = _why_unused(label, item, evaluated)
        if reason or item is None:
            unused[reason] += 1
            continue
        number = evaluated.numbers[answer_key(item)]
        for candidate, score in zip(item["candidates"], label["scores"], strict=True):
            given[candidate, number].append(score)
            weights[candidate, number] = 1 / item["probability"]
    by_candidate: defaultdict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for (candidate, number), scores in given.items():
        by_candidate[candidate][number] = (sum(scores) / len(scores), weights[candidate, number])
    return CountedLabels(by_candidate, sum(map(len, by_candidate.values())), dict(unused))


def _why_unused(label: Row, item: Row | None, evaluated: Evaluated) -> str:
    if label["kind"] == "gold":
        return "of known answers"
    if label["repetition"]:
        return "of answers shown again"
    if item is None:
        return "of items of another draw"
    places = [(candidate, answer_key(item)) for candidate in item["candidates"]]
    if [evaluated.answer_ids.get(place) for place in places] != list(label["answer_ids"]):
        return "of changed answers"
    return "without a score" if 0 in label["scores"] else ""
