"""A benchmark's files to the tables of personas and of questions.

All tables of an evaluation have the shards of the questions, which hold whole personas. A row of one table therefore
finds the rows of its question in the others without a shuffle. With a frozen benchmark they are its shards, under a
limit the first of them.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from factory.config import RunConfig
from factory.evaluation.run_benchmark import questions_per_task
from factory.personagym import Benchmark, all_questions, benchmark_digest
from factory.records import Counts, Persona, Question, content_id
from factory.run_output import layout
from factory.runtime.build_table import build_table
from factory.runtime.progress import Progress
from factory.storage.rows import Row, ok_row
from factory.storage.schemas import PERSONAS, QUESTIONS
from factory.storage.tables import Table, rows_per_shard

Group = list[tuple[int, str, list[Question]]]
"""Personas with their number and questions, as many as form a shard."""


def ingest_questions(config: RunConfig, benchmark: Benchmark, progress: Progress) -> tuple[Table, Table]:
    """Write a benchmark's tables of personas and of questions, with the same shards."""
    per_task, limit = questions_per_task(config), config.evaluation.limit
    inputs = {"benchmark": benchmark_digest(benchmark, per_task, limit)}
    personas = layout.BENCHMARK_PERSONAS.table(config.output)
    questions = layout.BENCHMARK_QUESTIONS.table(config.output)

    def build(table: Table, schema: Any, rows: Callable[[Group], Iterator[Row]]) -> None:
        def write() -> Counts:
            groups = enumerate(_groups(benchmark, per_task, limit))
            return sum((table.write(f"{number:05}", rows(group), schema) for number, group in groups), Counts())

        build_table(table, inputs, None, write, progress, repeatable=True)

    build(personas, PERSONAS, lambda group: (_persona_row(persona, number) for number, persona, _ in group))
    build(questions, QUESTIONS, lambda group: (ok_row(question) for _, _, listed in group for question in listed))
    return personas, questions


def _groups(benchmark: Benchmark, per_task: int | None, limit: int | None) -> Iterator[Group]:
    personas = enumerate(all_questions(benchmark, per_task, limit))
    numbered = ((number, persona, _questions(persona, tasks)) for number, (persona, tasks) in personas)
    first = next(numbered)
    per_persona = len(first[2])
    used = len(benchmark.personas[: None if benchmark.frozen else limit])
    per_shard = max(1, rows_per_shard(per_persona * used) // per_persona)
    rows = itertools.chain([first], numbered)
    while group := list(itertools.islice(rows, per_shard)):
        yield group


def _questions(persona: str, tasks: Mapping[str, Sequence[str]]) -> list[Question]:
    return [
        Question(content_id(persona, task, question), content_id(persona), persona, task, question)
        for task, questions in tasks.items()
        for question in questions
    ]


def _persona_row(persona: str, number: int) -> dict[str, Any]:
    return ok_row(Persona(content_id(persona), persona)) | {"source": 0, "row": number}
