"""Training-data attribution: the worst answers of a task, each with the most similar training examples.

    judgments ──mean over judges──► the lowest ──► their answers ──┐ cosine of
    curated/train, accepted ──batches──► replies as vectors ────────┴──────────► the nearest of each

Vectors are hashed words and pairs of words with TF-IDF weights. So near means similar in words: a lead where to
look, not proof of cause.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from factory.config import RunConfig
from factory.config.evaluation import MAX_DRAWS
from factory.errors import ConfigError, InputError
from factory.personagym import TASKS
from factory.records import answer_key, question_of
from factory.run_output import layout
from factory.run_output.layout import own_candidates
from factory.run_output.scan import RunTables, TableFiles
from factory.text.redaction import redact_urls

TRAIN = layout.CURATED.name(split="train")
FEATURES = 2**20
SAMPLE_SHARDS, SAMPLE_ROWS = 64, 4096
"""The sample for word frequencies: the first dialogues of some shards; it is random, since their ids are hashes."""
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: a character is a word there."""
WORD = rf"(?u)[{UNSPACED}]|[^\W_{UNSPACED}]+"


@dataclass(frozen=True)
class NearestExample:
    """A training example, and the similarity (0 to 1) of its replies to an answer."""

    dialogue_id: str
    similarity: float
    character_id: str
    instruction_id: str
    source: str
    user: str
    reply: str


@dataclass(frozen=True)
class WorstAnswer:
    """An answer with its mean score over the judges (1 to 5), their judgments, and the nearest training examples."""

    question_id: str
    persona_id: str
    persona: str
    question: str
    answer: str
    score: float
    expected_score: float | None
    judgments: list[dict[str, Any]]
    nearest: list[NearestExample] = field(default_factory=list)


@dataclass(frozen=True)
class AttributionResult:
    """The worst answers of a candidate on a task, the lowest first.

    `judged` is the number of answers with a score, `compared` that of training examples.
    """

    task: str
    candidate: str
    output: str
    judged: int
    compared: int
    worst: list[WorstAnswer]
    notes: list[str]


def attribute(
    config: RunConfig, tables: RunTables, task: str, candidate: str | None, report: Callable[[int, int], None]
) -> AttributionResult:
    """Find the worst answers of a task and the training examples near them.

    Args:
        config: the run's settings.
        tables: the run's tables.
        task: a task's name or short name.
        candidate: the candidate; None for the model that the run trained, or the config's last one.
        report: receives the number of training examples compared so far, and of all.

    Raises:
        ConfigError: there is no such task or candidate.
        InputError: nothing was judged, or there are no training examples.
    """
    task = _find_task(task)
    candidate = _find_candidate(config, tables, candidate)
    judgments = [name for name in tables.names(layout.JUDGMENTS, candidate=candidate) if tables[name].shards]
    judged, lowest = _find_lowest([tables[name] for name in judgments], task, config.attribution.worst)
    if not lowest:
        raise InputError(
            f"evaluation/{candidate}/judgments: no answer to {task} has a score yet; "
            "run `character-factory evaluate` with this config first"
        )
    worst = [_read_answer(tables, candidate, judgments, scored) for scored in lowest]
    files = tables[TRAIN]
    if not files.shards:
        raise InputError(
            f"{TRAIN}: there are no training examples; run `character-factory curate` with this config first"
        )
    compared, nearest = _find_nearest(files, [one.answer for one in worst], config.attribution.nearest, report)
    notes = [f"{name} is half done" for name in (*judgments, TRAIN) if tables[name].state == "half done"]
    if config.evaluation.candidates and candidate not in own_candidates(config):
        notes.append(f"{candidate} is not the model that this run trained, so it has not seen these examples")
    with_nearest = [replace(one, nearest=examples) for one, examples in zip(worst, nearest, strict=True)]
    return AttributionResult(task, candidate, config.output, judged, compared, with_nearest, notes)


def _find_task(text: str) -> str:
    for name, short in TASKS.items():
        if text.strip().casefold() in (name.casefold(), short.casefold()):
            return name
    tasks = ", ".join(f"{name} ({short})" for name, short in TASKS.items())
    raise ConfigError(f"--explain {text!r}: no such task; give one of {tasks}")


def _find_candidate(config: RunConfig, tables: RunTables, name: str | None) -> str:
    configured, own = [one.name for one in config.evaluation.candidates], own_candidates(config)
    answered = [parts["candidate"] for table in tables.names(layout.ANSWERS) if (parts := layout.ANSWERS.parts(table))]
    known = list(dict.fromkeys([*configured, *answered]))
    if name is not None and name not in known:
        raise ConfigError(f"--candidate {name!r} has no answers here; give one of {', '.join(known) or '(none)'}")
    if not known:
        raise InputError(
            "evaluation.candidates: the config has none, and there are no answers; "
            "run `character-factory evaluate` with this config first"
        )
    return name or [*known, *configured, *own][-1]


@dataclass(frozen=True, order=True)
class _ScoredAnswer:
    """An answer, ordered by its mean score, then by the mean expected score."""

    score: float
    expected: float
    answer: str
    """Its `answer_key`."""


def _find_lowest(judgments: list[TableFiles], task: str, count: int) -> tuple[int, list[_ScoredAnswer]]:
    """Return the number of answers with a score, and the lowest; one shard of all judges is in memory at a time."""
    judged = 0

    def scored_answers() -> Iterator[_ScoredAnswer]:
        nonlocal judged
        # The tables of an evaluation have the same shards.
        for shard in sorted({shard for files in judgments for shard in files.shards}):
            scores: dict[str, list[tuple[int, float]]] = {}
            for files in judgments:
                for row in _scores(files, shard, task):
                    expected = row["score"] if row["expected_score"] is None else row["expected_score"]
                    scores.setdefault(answer_key(row), []).append((row["score"], expected))
            judged += len(scores)
            for answer, by_judge in scores.items():
                mean, expected = np.mean(by_judge, axis=0).tolist()
                yield _ScoredAnswer(mean, expected, answer)

    lowest = heapq.nsmallest(count, scored_answers())
    return judged, lowest


def _scores(files: TableFiles, shard: str, task: str) -> Iterator[dict[str, Any]]:
    if shard in files.sizes:
        where = (ds.field("task") == task) & (ds.field("status") == "ok")
        for batch in files.scan(["question_id", "draw", "score", "expected_score"], where, [shard]):
            yield from batch.to_pylist()


def _find_rows(files: TableFiles, key: str) -> list[dict[str, Any]]:
    """Return the rows about an answer: among those of all draws, which are few."""
    rows = files.find(ds.field("question_id") == question_of(key), MAX_DRAWS).rows
    return [row for row in rows if answer_key(row) == key]


def _read_answer(tables: RunTables, candidate: str, judgments: list[str], scored: _ScoredAnswer) -> WorstAnswer:
    answers = _find_rows(tables[layout.ANSWERS.name(candidate=candidate)], scored.answer)
    answer = redact_urls(answers[0]) if answers else {}
    columns = ("judge", "score", "expected_score", "reasoning", "reason")
    rows = [row for name in judgments for row in _find_rows(tables[name], scored.answer)]
    found = redact_urls([{key: row.get(key) for key in columns} for row in rows])
    return WorstAnswer(
        question_id=question_of(scored.answer),
        persona_id=str(answer.get("persona_id", "")),
        persona=str(answer.get("persona", "")),
        question=str(answer.get("question", "")),
        answer=str(answer.get("answer", "")),
        score=scored.score,
        expected_score=scored.expected if any(one["expected_score"] is not None for one in found) else None,
        judgments=found,
    )


def _find_nearest(
    files: TableFiles, answers: list[str], count: int, report: Callable[[int, int], None]
) -> tuple[int, list[list[NearestExample]]]:
    """Return the number of training examples, and for each answer the nearest of them."""
    hashing = HashingVectorizer(
        n_features=FEATURES, alternate_sign=False, norm=None, ngram_range=(1, 2), token_pattern=WORD
    )
    weights = TfidfTransformer(sublinear_tf=True)
    sample = [_replies(row) for row in _sample(files)]
    weights.fit(hashing.transform([*sample, *answers]))
    queries = weights.transform(hashing.transform(answers))
    best: list[list[tuple[float, str, dict[str, Any]]]] = [[] for _ in answers]
    seen, total = 0, int(files.manifest.get("ok", 0))
    for batch in _examples(files, files.shards):
        rows = batch.to_pylist()
        similarities = (weights.transform(hashing.transform(map(_replies, rows))) @ queries.T).toarray()
        for number, top in enumerate(best):
            floor = top[-1][0] if len(top) == count else 0.0
            column = similarities[:, number]
            new = ((float(column[at]), rows[at]["dialogue_id"], rows[at]) for at in np.flatnonzero(column >= floor))
            positive = (one for one in new if one[0] > 0)
            best[number] = heapq.nsmallest(count, chain(top, positive), key=lambda one: (-one[0], one[1]))
        seen += len(rows)
        report(seen, max(seen, total))
    return seen, [[_nearest_example(row, similarity) for similarity, _, row in top] for top in best]


def _examples(files: TableFiles, shards: list[str]) -> Iterator[pa.RecordBatch]:
    columns = ["dialogue_id", "character_id", "instruction_id", "strategy", "corpus", "messages"]
    for shard in shards:  # one by one: of many, Arrow reads up to 1 GiB ahead of a slow reader
        yield from files.scan(columns, ds.field("status") == "ok", [shard])


def _sample(files: TableFiles) -> Iterator[dict[str, Any]]:
    shards = files.shards[:: -(-len(files.shards) // SAMPLE_SHARDS)]
    for shard in shards:
        left = -(-SAMPLE_ROWS // len(shards))
        for batch in _examples(files, [shard]):
            yield from batch.slice(0, left).to_pylist()
            left = max(0, left - batch.num_rows)


def _replies(row: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in row["messages"] if message["role"] == "assistant")


def _nearest_example(row: dict[str, Any], similarity: float) -> NearestExample:
    first = redact_urls({message["role"]: message["content"] for message in reversed(row["messages"])})
    ids = (row["character_id"], row["instruction_id"], f"{row['strategy']}-{row['corpus']}")
    return NearestExample(
        row["dialogue_id"], round(similarity, 4), *ids, first.get("user", ""), first.get("assistant", "")
    )
