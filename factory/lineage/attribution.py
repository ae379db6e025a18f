"""The worst answers of a task, each with the training examples that are most like it.

    judgments ──mean over judges──► the lowest ──► their answers ──┐ cosine of
    curated/train, accepted ──batches──► replies as vectors ────────┴──────────► the nearest of each

Vectors are words and pairs of words, hashed, with TF-IDF weights. So near means similar in words: it
says where to look, and proves no cause.
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
from factory.errors import ConfigError, InputError
from factory.lineage.records_of import Reader
from factory.personagym import TASKS
from factory.run_output.layout import own_candidates
from factory.run_output.scan import Place, Tables
from factory.text.redaction import redact_urls

TRAIN = "curated/train"
FEATURES = 2**20
SAMPLE_SHARDS, SAMPLE_ROWS = 64, 4096
"""Dialogues that tell how common words are: the first of some shards; their ids are hashes, so this is chance."""
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: a character is a word there."""
WORD = rf"(?u)[{UNSPACED}]|[^\W_{UNSPACED}]+"


@dataclass(frozen=True)
class Near:
    """A training example, and how like an answer its replies are (0 to 1)."""

    dialogue_id: str
    similarity: float
    character_id: str
    instruction_id: str
    source: str
    user: str
    reply: str


@dataclass(frozen=True)
class Low:
    """An answer with its mean score over the judges (1 to 5), what each said, and what is near it."""

    question_id: str
    persona_id: str
    persona: str
    question: str
    answer: str
    score: float
    expected_score: float | None
    judgments: list[dict[str, Any]]
    nearest: list[Near] = field(default_factory=list)


@dataclass(frozen=True)
class Blame:
    """The worst answers of a candidate on a task, the lowest first.

    `judged` answers have a score, `compared` training examples were looked at.
    """

    task: str
    candidate: str
    output: str
    judged: int
    compared: int
    worst: list[Low]
    notes: list[str]


def blame(
    config: RunConfig, tables: Tables, task: str, candidate: str | None, tell: Callable[[int, int], None]
) -> Blame:
    """Find the worst answers of a task and the training examples near them.

    Args:
        config: the run's settings.
        tables: its tables.
        task: a task's name or short name.
        candidate: whose answers; None for the model that the run trained, or the config's last one.
        tell: is told how many of how many training examples were looked at.

    Raises:
        ConfigError: there is no such task or candidate.
        InputError: nothing was judged, or there are no training examples.
    """
    name = _task(task)
    reader = Reader(config, tables)
    who = _candidate(reader, candidate)
    judged = [name for name in tables.named(f"evaluation/{who}/judgments/*") if tables[name].shards]
    counted, lowest = _lowest([tables[one] for one in judged], name, config.attribution.worst)
    if not lowest:
        raise InputError(f"evaluation/{who}/judgments: no answer to {name} has a score yet; run make eval first")
    worst = [_low(tables, who, judged, scored) for scored in lowest]
    place = tables[TRAIN]
    if not place.shards:
        raise InputError(f"{TRAIN}: there are no training examples; run make curate first")
    compared, nearest = _nearest(place, [low.answer for low in worst], config.attribution.nearest, tell)
    notes = [f"{one} is half done" for one in (*judged, TRAIN) if tables[one].state == "half done"]
    if config.evaluation.candidates and who not in own_candidates(config):
        notes.append(f"{who} is not the model that this run trained, so it has not seen these examples")
    found = [replace(low, nearest=near) for low, near in zip(worst, nearest, strict=True)]
    return Blame(name, who, config.output, counted, compared, found, notes)


def _task(asked: str) -> str:
    for name, short in TASKS.items():
        if asked.strip().casefold() in (name.casefold(), short.casefold()):
            return name
    named = ", ".join(f"{name} ({short})" for name, short in TASKS.items())
    raise ConfigError(f"--explain {asked!r} is no task; give one of {named}")


def _candidate(reader: Reader, asked: str | None) -> str:
    named, own = [one.name for one in reader.config.evaluation.candidates], own_candidates(reader.config)
    there = [name.split("/")[1] for name in reader.tables.named("evaluation/*/answers")]
    every = list(dict.fromkeys([*named, *there]))
    if asked is not None and asked not in every:
        raise ConfigError(f"--candidate {asked!r} has no answers here; give one of {', '.join(every) or '(none)'}")
    if not every:
        raise InputError("evaluation.candidates: the config names none, and nothing was answered; run make eval first")
    return asked or [*every, *named, *own][-1]


@dataclass(frozen=True, order=True)
class _Scored:
    """A question's place in the order of the worst: by mean score, then by mean expected score."""

    score: float
    expected: float
    question_id: str


def _lowest(judgments: list[Place], task: str, count: int) -> tuple[int, list[_Scored]]:
    """How many answers have a score, and the lowest; one shard of all judges is in memory at a time."""
    judged = 0

    def every() -> Iterator[_Scored]:
        nonlocal judged
        # The tables of an evaluation have the same shards.
        for shard in sorted({shard for place in judgments for shard in place.shards}):
            scores: dict[str, list[tuple[int, float]]] = {}
            for place in judgments:
                for row in _scores(place, shard, task):
                    expected = row["score"] if row["expected_score"] is None else row["expected_score"]
                    scores.setdefault(row["question_id"], []).append((row["score"], expected))
            judged += len(scores)
            for question, given in scores.items():
                mean, expected = np.mean(given, axis=0).tolist()
                yield _Scored(mean, expected, question)

    lowest = heapq.nsmallest(count, every())
    return judged, lowest


def _scores(place: Place, shard: str, task: str) -> Iterator[dict[str, Any]]:
    if shard in place.sizes:
        where = (ds.field("task") == task) & (ds.field("status") == "ok")
        for batch in place.scan(["question_id", "score", "expected_score"], where, [shard]):
            yield from batch.to_pylist()


def _low(tables: Tables, candidate: str, judged: list[str], scored: _Scored) -> Low:
    where = ds.field("question_id") == scored.question_id
    answers = tables[f"evaluation/{candidate}/answers"].find(where, 1).rows
    answer = redact_urls(answers[0]) if answers else {}
    told = ("judge", "score", "expected_score", "reasoning", "reason")
    given = redact_urls(
        [{key: row.get(key) for key in told} for name in judged for row in tables[name].find(where, 1).rows]
    )
    expected = scored.expected if any(one["expected_score"] is not None for one in given) else None
    return Low(
        question_id=scored.question_id,
        persona_id=str(answer.get("persona_id", "")),
        persona=str(answer.get("persona", "")),
        question=str(answer.get("question", "")),
        answer=str(answer.get("answer", "")),
        score=scored.score,
        expected_score=expected,
        judgments=given,
    )


def _nearest(
    place: Place, answers: list[str], count: int, tell: Callable[[int, int], None]
) -> tuple[int, list[list[Near]]]:
    """How many training examples there are, and of each answer the nearest of them."""
    hashing = HashingVectorizer(
        n_features=FEATURES, alternate_sign=False, norm=None, ngram_range=(1, 2), token_pattern=WORD
    )
    weights = TfidfTransformer(sublinear_tf=True)
    sample = [_replies(row) for row in _sample(place)]
    weights.fit(hashing.transform([*sample, *answers]))
    asked = weights.transform(hashing.transform(answers))
    best: list[list[tuple[float, str, dict[str, Any]]]] = [[] for _ in answers]
    seen, everything = 0, int(place.manifest.get("ok", 0))
    for batch in _examples(place, place.shards):
        rows = batch.to_pylist()
        similar = (weights.transform(hashing.transform(map(_replies, rows))) @ asked.T).toarray()
        for number, top in enumerate(best):
            floor = top[-1][0] if len(top) == count else 0.0
            column = similar[:, number]
            new = ((float(column[at]), rows[at]["dialogue_id"], rows[at]) for at in np.flatnonzero(column >= floor))
            good = (one for one in new if one[0] > 0)
            best[number] = heapq.nsmallest(count, chain(top, good), key=lambda one: (-one[0], one[1]))
        seen += len(rows)
        tell(seen, max(seen, everything))
    return seen, [[_near(row, similarity) for similarity, _, row in top] for top in best]


def _examples(place: Place, shards: list[str]) -> Iterator[pa.RecordBatch]:
    columns = ["dialogue_id", "character_id", "instruction_id", "strategy", "corpus", "messages"]
    for shard in shards:  # one by one: of many, Arrow reads up to 1 GiB ahead of a slow reader
        yield from place.scan(columns, ds.field("status") == "ok", [shard])


def _sample(place: Place) -> Iterator[dict[str, Any]]:
    shards = place.shards[:: -(-len(place.shards) // SAMPLE_SHARDS)]
    for shard in shards:
        left = -(-SAMPLE_ROWS // len(shards))
        for batch in _examples(place, [shard]):
            yield from batch.slice(0, left).to_pylist()
            left = max(0, left - batch.num_rows)


def _replies(row: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in row["messages"] if message["role"] == "assistant")


def _near(row: dict[str, Any], similarity: float) -> Near:
    said = redact_urls({message["role"]: message["content"] for message in reversed(row["messages"])})
    ids = (row["character_id"], row["instruction_id"], f"{row['strategy']}-{row['corpus']}")
    return Near(row["dialogue_id"], round(similarity, 4), *ids, said.get("user", ""), said.get("assistant", ""))
