"""Two candidates of one run or of two, answer by answer: who wins where, and which answers changed most.

Answers are paired by question and draw, and a judge counts where it scored both. Texts are read for the shown answers
only; of the others memory holds the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from factory.errors import InputError
from factory.records import answer_key
from factory.run_output import layout
from factory.storage import file_io
from factory.storage.rows import Row

_COLUMNS = ["question_id", "draw", "task", "persona_id", "status"]


@dataclass(frozen=True)
class Side:
    """A candidate of a run."""

    output: str
    candidate: str


@dataclass(frozen=True)
class Outcome:
    """Answers with a score for both candidates: how many a wins and loses, and its mean score minus b's."""

    wins: int
    losses: int
    ties: int
    difference: float

    @classmethod
    def of(cls, differences: np.ndarray) -> "Outcome":
        """Count the signs of a's scores minus b's."""
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        mean = float(differences.mean()) if differences.size else 0.0
        return cls(wins, losses, differences.size - wins - losses, mean)


@dataclass(frozen=True)
class ChangedAnswer:
    """A question whose answers by the two candidates score differently."""

    question_id: str
    task: str
    persona: str
    question: str
    scores_a: dict[str, float]
    """By judge; only judges that scored both."""
    scores_b: dict[str, float]
    answer_a: str
    answer_b: str
    difference: float


@dataclass(frozen=True)
class PersonaOutcome:
    """The outcome of one persona's questions."""

    persona: str
    outcome: Outcome


@dataclass(frozen=True)
class AnswerComparison:
    """What a gains over b, and where. `only_a` and `only_b` count answers of one that have no scored partner."""

    a: Side
    b: Side
    judges: tuple[str, ...]
    overall: Outcome
    tasks: dict[str, Outcome]
    best: tuple[PersonaOutcome, ...]
    worst: tuple[PersonaOutcome, ...]
    gained: tuple[ChangedAnswer, ...]
    lost: tuple[ChangedAnswer, ...]
    only_a: int
    only_b: int


@dataclass
class _Scored:
    """The scores of one side: a row per answer that has any, a column per judge, NaN where it has none."""

    keys: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    personas: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)


def compare(a: Side, b: Side, shown: int = 5) -> AnswerComparison:
    """Compare two candidates over the questions and judges that both have.

    Args:
        a: the candidate whose gains are positive.
        b: the other one.
        shown: how many personas and answers of each direction are returned.

    Raises:
        InputError: one is not evaluated, they share no judge, or no question has a score for both.
    """
    judges = _shared_judges(a, b)
    ours, theirs = (_read_scores(side, judges) for side in (a, b))
    places = {key: number for number, key in enumerate(theirs.keys)}
    pairs = [(n, places[key]) for n, key in enumerate(ours.keys) if key in places]
    left, right = (np.array(numbers, int) for numbers in zip(*pairs, strict=True)) if pairs else (np.empty(0, int),) * 2
    gaps = np.array(ours.scores, float).reshape(-1, len(judges))[left]
    gaps = gaps - np.array(theirs.scores, float).reshape(-1, len(judges))[right]
    is_paired = ~np.isnan(gaps).all(axis=1)
    left, right, differences = left[is_paired], right[is_paired], np.nanmean(gaps[is_paired], axis=1)
    if not differences.size:
        raise InputError(
            f"{a.candidate} in {a.output} and {b.candidate} in {b.output}: no judge scored answers of both to one "
            "question; evaluate both on the same benchmark and with the same judges"
        )
    tasks, personas = np.array(ours.tasks)[left], np.array(ours.personas)[left]
    order = np.argsort(differences, kind="stable")
    lowest = [n for n in order[:shown] if differences[n] < 0]
    highest = [n for n in order[::-1][:shown] if differences[n] > 0]
    texts = _Texts(a, b, judges, ours, theirs)
    ranked = _by_persona(personas, differences)
    names = texts.personas({persona for persona, _ in (*ranked[:shown], *ranked[-shown:])}, left, personas)
    return AnswerComparison(
        a=a,
        b=b,
        judges=tuple(judges),
        overall=Outcome.of(differences),
        tasks={task: Outcome.of(differences[tasks == task]) for task in dict.fromkeys(tasks.tolist())},
        best=tuple(PersonaOutcome(names[key], found) for key, found in ranked[:shown] if found.difference > 0),
        worst=tuple(PersonaOutcome(names[key], found) for key, found in ranked[::-1][:shown] if found.difference < 0),
        gained=tuple(texts.changed(left[n], right[n], differences[n]) for n in highest),
        lost=tuple(texts.changed(left[n], right[n], differences[n]) for n in lowest),
        only_a=len(ours.keys) - int(is_paired.sum()),
        only_b=len(theirs.keys) - int(is_paired.sum()),
    )


def _by_persona(personas: np.ndarray, differences: np.ndarray) -> list[tuple[str, Outcome]]:
    """Return the outcomes of all personas, the highest difference first."""
    keys, numbers = np.unique(personas, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    groups = np.split(differences[order], np.cumsum(np.bincount(numbers))[:-1])
    outcomes = [(str(key), Outcome.of(group)) for key, group in zip(keys, groups, strict=True)]
    return sorted(outcomes, key=lambda pair: (-pair[1].difference, pair[0]))


def _shared_judges(a: Side, b: Side) -> list[str]:
    found = [_judges(side) for side in (a, b)]
    shared = [judge for judge in found[0] if judge in found[1]]
    if not shared:
        raise InputError(
            f"{a.candidate} has the judges {', '.join(found[0])} and {b.candidate} the judges {', '.join(found[1])}: "
            "none has scored both; evaluate one of them with a judge of the other"
        )
    return shared


def _judges(side: Side) -> list[str]:
    prefix = layout.JUDGMENTS.name(candidate=side.candidate, judge="")
    names = file_io.list_names(file_io.join(side.output, prefix), "")
    tables = {name: layout.JUDGMENTS.table(side.output, candidate=side.candidate, judge=name) for name in names}
    finished = [name for name, table in tables.items() if table.manifest() is not None]
    if not finished:
        raise InputError(f"{side.candidate} in {side.output}: has no finished judgments; evaluate it first")
    return finished


def _read_scores(side: Side, judges: Sequence[str]) -> _Scored:
    found = _Scored()
    tables = [layout.JUDGMENTS.table(side.output, candidate=side.candidate, judge=judge) for judge in judges]
    for shard in tables[0].shards():
        rows: dict[str, Row] = {}
        scores: dict[str, list[float]] = {}
        for number, table in enumerate(tables):
            for row in table.read(shard, [*_COLUMNS, "score"]).to_pylist():
                if row["status"] == "ok":
                    rows[answer_key(row)] = row
                    scores.setdefault(answer_key(row), [np.nan] * len(judges))[number] = row["score"]
        for key, row in rows.items():
            found.keys.append(key)
            found.tasks.append(row["task"])
            found.personas.append(row["persona_id"])
            found.shards.append(shard)
            found.scores.append(scores[key])
    return found


@dataclass(frozen=True)
class _Texts:
    """The texts of single answers, read from the shards that hold them."""

    a: Side
    b: Side
    judges: Sequence[str]
    ours: _Scored
    theirs: _Scored

    def changed(self, ours: int, theirs: int, difference: float) -> ChangedAnswer:
        row, other = _answer(self.a, self.ours, ours), _answer(self.b, self.theirs, theirs)
        both = [
            (judge, one, two)
            for judge, one, two in zip(self.judges, self.ours.scores[ours], self.theirs.scores[theirs], strict=True)
            if not np.isnan(one - two)
        ]
        return ChangedAnswer(
            question_id=row["question_id"],
            task=row["task"],
            persona=row["persona"],
            question=row["question"],
            scores_a={judge: one for judge, one, _ in both},
            scores_b={judge: two for judge, _, two in both},
            answer_a=row["answer"],
            answer_b=other["answer"],
            difference=float(difference),
        )

    def personas(self, wanted: set[str], left: np.ndarray, personas: np.ndarray) -> dict[str, str]:
        """Return the sentences of some personas by their ids."""
        first = {key: left[int(np.argmax(personas == key))] for key in wanted}
        return {key: str(_answer(self.a, self.ours, int(number))["persona"]) for key, number in first.items()}


def _answer(side: Side, scored: _Scored, number: int) -> Row:
    table = layout.ANSWERS.table(side.output, candidate=side.candidate)
    columns = ["question_id", "draw", "task", "persona", "question", "answer"]
    rows = table.read(scored.shards[number], columns).to_pylist()
    return next(row for row in rows if answer_key(row) == scored.keys[number])
