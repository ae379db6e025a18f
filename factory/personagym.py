"""A role-playing benchmark: a folder with the layout of a PersonaGym checkout.

    personas.json                    a list of sentences
    questions/<set>/<persona>.json   {task: [question, ...]}; the file's name is the sentence, or its id
    rubrics/<task>.txt               the judge's prompt for a task, with slots for data

A persona is identified by its id: its sentence may be too long for a file name, or contain a slash.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from factory.errors import InputError
from factory.records import Reject, content_id
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.text.normalize import clean_line

BUILT_IN = file_io.join(str(RESOURCES), "data", "benchmark")
OFFICIAL = "benchmark-v1"
"""PersonaGym's own set of questions; scores on others do not compare with published ones."""
TASKS = {
    "Expected Action": "EA",
    "Toxicity": "TC",
    "Linguistic Habits": "LH",
    "Persona Consistency": "PC",
    "Action Justification": "AJ",
}
"""The tasks as PersonaGym's files name them, and their short names."""
SLOTS = ("persona", "question", "response", "score_example")
"""The slots of a rubric."""

_READERS = 32
"""Files that are read at the same time: a round trip to S3 takes longer than the file."""
_LAYOUT = (
    "curation.benchmark and evaluation.benchmark take a PersonaGym checkout "
    "(personas.json, questions/<set>/<persona>.json, rubrics/<task>.txt) or null"
)


@dataclass(frozen=True)
class Benchmark:
    """An open benchmark; its questions are read persona by persona (`persona_questions`)."""

    folder: str
    name: str
    """Name of its set of questions."""
    personas: tuple[str, ...]
    rubrics: Mapping[str, str]
    """By task."""
    files: Mapping[str, str]
    """The names of the files of questions, by the personas' ids."""

    @property
    def official(self) -> bool:
        """Whether it is PersonaGym itself."""
        return self.name == OFFICIAL


def open_benchmark(folder: str | None) -> Benchmark:
    """Read a benchmark without its questions; None is the built-in one.

    Raises:
        InputError: a file is missing or invalid, two personas are equal, or there is not exactly one set of questions.
    """
    folder = folder or BUILT_IN
    path = file_io.join(folder, "personas.json")
    personas = tuple(_distinct(path, "persona", read_texts(path)))
    rubrics = {task: _rubric(file_io.join(folder, "rubrics", f"{task}.txt")) for task in TASKS}
    questions = file_io.join(folder, "questions")
    sets = question_sets(folder)
    if len(sets) > 1:
        raise InputError(f"benchmark {questions}: has several sets of questions ({', '.join(sets)}); keep only one")
    ((name, files),) = sets.items()
    return Benchmark(folder, name, personas, rubrics, _by_persona(file_io.join(questions, name), files))


def persona_questions(benchmark: Benchmark, persona: str, per_task: int | None = None) -> dict[str, list[str]]:
    """Read the questions for a persona, the first `per_task` of each task; None is all.

    Raises:
        InputError: the persona has no file, or the file is invalid.
    """
    folder, persona_id = file_io.join(benchmark.folder, "questions", benchmark.name), content_id(persona)
    if persona_id not in benchmark.files:
        raise InputError(
            f"benchmark {folder}: has no file for the persona {persona[:120]!r}; name it {persona_id}.json"
        )
    path = file_io.join(folder, benchmark.files[persona_id])
    tasks = read_tasks(path)
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"benchmark {path}: has an unknown task {task!r}; the tasks are {', '.join(TASKS)}")
    for task in TASKS:
        if task not in tasks:
            raise InputError(f"benchmark {path}: has no questions for the task {task!r}; add them")
    return {task: _distinct(path, f"question of {task!r}", tasks[task])[:per_task] for task in TASKS}


def all_questions(
    benchmark: Benchmark, per_task: int | None = None, limit: int | None = None
) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the first `limit` personas with their questions; only a few files at a time are in memory.

    Raises:
        InputError: as in `persona_questions`.
    """
    personas = benchmark.personas[:limit]
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(personas), _READERS):
            batch = personas[start : start + _READERS]
            questions = pool.map(partial(persona_questions, benchmark, per_task=per_task), batch)
            yield from zip(batch, questions, strict=True)


def benchmark_digest(benchmark: Benchmark, per_task: int | None = None, limit: int | None = None) -> str:
    """Return a hash of the questions to use and of the rubrics; this checks every file.

    Raises:
        InputError: as in `persona_questions`.
    """
    digest = hashlib.sha256(json.dumps(dict(benchmark.rubrics), sort_keys=True).encode())
    for persona, questions in all_questions(benchmark, per_task, limit):
        digest.update(json.dumps([content_id(persona), persona, questions]).encode())
    return digest.hexdigest()[:16]


def read_texts(path: str) -> list[str]:
    """Read a file's list of texts, such as personas or settings, unchanged.

    Raises:
        InputError: it is missing or has another format.
    """
    return _texts(path, _json(path))


def question_sets(benchmark: str) -> dict[str, list[str]]:
    """List the sets of questions in a benchmark's folder, with the names of their files.

    Raises:
        InputError: there is none.
    """
    folder = file_io.join(benchmark, "questions")
    names = file_io.list_names(folder, "")
    sets = {name: files for name in names if (files := _files(file_io.join(folder, name)))}
    if not sets:
        raise InputError(f"benchmark {folder}: has no <set>/<persona>.json; {_LAYOUT}")
    return sets


def read_tasks(path: str) -> dict[str, list[str]]:
    """Read a file of questions by task, unchanged.

    Raises:
        InputError: it is missing or has another format.
    """
    tasks = _json(path)
    if not isinstance(tasks, dict):
        raise InputError(f"benchmark {path}: is not an object of tasks with their questions; {_LAYOUT}")
    return {task: _texts(path, questions, f"the task {task!r} ") for task, questions in tasks.items()}


def _files(folder: str) -> list[str]:
    fs, name = file_io.filesystem(folder)
    return file_io.list_names(folder, ".json") if fs.isdir(name) else []


def _read(path: str) -> bytes:
    if not file_io.exists(path):
        raise InputError(f"benchmark {path}: no such file; {_LAYOUT}")
    return file_io.read_bytes(path)


def _json(path: str) -> Any:
    try:
        return json.loads(_read(path), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"benchmark {path}: not JSON ({problem}); {_LAYOUT}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):  # the first of two would be lost silently
        raise ValueError("a key occurs twice among " + ", ".join(repr(key) for key, _ in pairs))
    return unique


def _texts(path: str, value: Any, what: str = "") -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"benchmark {path}: {what}is not a non-empty list of texts; {_LAYOUT}")
    return value


def _distinct(path: str, what: str, texts: list[str]) -> list[str]:
    """Return texts in their normal form, by which personas are identified and duplicates are found."""
    seen: dict[str, int] = {}
    for number, raw in enumerate(texts, 1):
        text = clean_line(raw)
        if isinstance(text, Reject):
            raise InputError(f"benchmark {path}: {what} number {number} is {_UNUSABLE[text.reason]}; fix it")
        if seen.setdefault(text, number) != number:
            repeated = f"{what} number {number} is the same as number {seen[text]}"
            raise InputError(f"benchmark {path}: {repeated} ({text[:120]!r}); remove one")
    return list(seen)


_UNUSABLE = {
    "empty": "empty",
    "too_long": "too long",
    "invalid_text": "not valid UTF-8 text, or contains a NUL byte",
}


def _rubric(path: str) -> str:
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"benchmark {path}: not UTF-8 ({problem.reason} at byte {problem.start}); fix it") from None
    for slot in SLOTS:
        count = text.count(f"{{{slot}}}")
        if count != 1:
            raise InputError(f"benchmark {path}: has the slot {{{slot}}} {count} times; a rubric needs it once")
    return text


def _by_persona(folder: str, files: list[str]) -> dict[str, str]:
    by_id: dict[str, str] = {}
    for name in files:
        stem = name.removesuffix(".json")
        text = clean_line(stem)
        for persona_id in {stem, stem if isinstance(text, Reject) else content_id(text)}:
            other = by_id.setdefault(persona_id, name)
            if other != name:
                raise InputError(f"benchmark {folder}: {other!r} and {name!r} are of one persona; remove one")
    return by_id
