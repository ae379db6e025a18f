"""A benchmark's files to the table of questions, and the places of all that is made of them.

All tables of an evaluation have the shards of the questions, which hold whole personas, so that a
row of one finds its question's rows in the others without a shuffle.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory.config import RunConfig
from factory.personagym import Benchmark, all_questions, digest_of
from factory.records import Counts, Persona, Question, content_id
from factory.runtime.build_table import build_table
from factory.runtime.progress import Progress
from factory.storage.rows import ok_row
from factory.storage.schemas import PERSONAS, QUESTIONS
from factory.storage.tables import Table, rows_per_shard

FOLDER = "evaluation"
CAST = f"{FOLDER}/benchmark/personas"
PROFILES = f"{FOLDER}/benchmark/profiles"


def questions_table(config: RunConfig) -> Table:
    """The benchmark's questions."""
    return Table(config.output, f"{FOLDER}/benchmark/questions")


def examples_table(config: RunConfig) -> Table:
    """The example replies of each score."""
    return Table(config.output, f"{FOLDER}/benchmark/examples")


def answers_table(config: RunConfig, candidate: str) -> Table:
    """A candidate's answers."""
    return Table(config.output, f"{FOLDER}/{candidate}/answers")


def judgments_table(config: RunConfig, candidate: str, judge: str) -> Table:
    """A judge's scores of a candidate's answers."""
    return Table(config.output, f"{FOLDER}/{candidate}/judgments/{judge}")


def questions_per_task(config: RunConfig) -> int | None:
    """How many of a task's questions are asked; None for all."""
    return 1 if config.evaluation.protocol == "light" else None


def ingest_questions(config: RunConfig, benchmark: Benchmark, progress: Progress) -> tuple[Table, Table]:
    """A benchmark's files to its tables of personas and of questions, with the same shards."""
    per_task, limit = questions_per_task(config), config.evaluation.limit
    decided = {"benchmark": digest_of(benchmark, per_task, limit)}
    personas, questions = Table(config.output, CAST), questions_table(config)

    def write_personas() -> Counts:
        counts = Counts()
        for number, group in enumerate(_groups(benchmark, per_task, limit)):
            counts += personas.write(f"{number:05}", [_persona_row(text, n) for n, text, _ in group], PERSONAS)
        return counts

    def write_questions() -> Counts:
        counts = Counts()
        for number, group in enumerate(_groups(benchmark, per_task, limit)):
            asked = [question for _, _, some in group for question in some]
            counts += questions.write(f"{number:05}", map(ok_row, asked), QUESTIONS)
        return counts

    for table, write in ((personas, write_personas), (questions, write_questions)):
        build_table(table, decided, None, write, progress, repeatable=True)
    return personas, questions


def _groups(
    benchmark: Benchmark, per_task: int | None, limit: int | None
) -> Iterator[list[tuple[int, str, list[Question]]]]:
    """Personas with their questions, as many as make a shard."""
    every = all_questions(benchmark, per_task, limit)
    numbered = ((number, persona, _questions(persona, tasks)) for number, (persona, tasks) in enumerate(every))
    first = next(numbered)
    a_persona = len(first[2])
    in_a_shard = max(1, rows_per_shard(a_persona * len(benchmark.personas[:limit])) // a_persona)
    rows = itertools.chain([first], numbered)
    while group := list(itertools.islice(rows, in_a_shard)):
        yield group


def _questions(persona: str, tasks: Mapping[str, Sequence[str]]) -> list[Question]:
    return [
        Question(content_id(persona, task, question), content_id(persona), persona, task, question)
        for task, questions in tasks.items()
        for question in questions
    ]


def _persona_row(persona: str, number: int) -> dict[str, Any]:
    return ok_row(Persona(content_id(persona), persona)) | {"source": 0, "row": number}
