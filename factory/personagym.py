"""A benchmark of role-playing: a folder that is laid out like a PersonaGym checkout.

    personas.json                    a list of sentences
    questions/<set>/<persona>.json   {task: [question, ...]}; the file's name is the sentence, or its id
    rubrics/<task>.txt               what the judge of a task is told, with places to fill

A persona is known by its id: its sentence may be too long for the name of a file, or hold a slash.
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
"""The places of a rubric."""

_READERS = 32
"""Files that are read at a time: a round trip to S3 takes longer than the file."""
_LAYOUT = (
    "curation.benchmark and evaluation.benchmark take a PersonaGym checkout "
    "(personas.json, questions/<set>/<persona>.json, rubrics/<task>.txt) or null"
)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that can be asked; its questions are read persona by persona (`questions_of`)."""

    place: str
    name: str
    """Of its set of questions."""
    personas: tuple[str, ...]
    rubrics: Mapping[str, str]
    """By task."""
    files: Mapping[str, str]
    """The names of the files of questions, by the personas' ids."""

    @property
    def official(self) -> bool:
        """Whether it is PersonaGym's own."""
        return self.name == OFFICIAL


def open_benchmark(place: str | None) -> Benchmark:
    """Read all of a benchmark but its questions; None is the built-in one.

    Raises:
        InputError: a file is missing or wrong, two personas are the same, or there is no one set of questions.
    """
    place = place or BUILT_IN
    path = file_io.join(place, "personas.json")
    personas = tuple(_distinct(path, "persona", read_texts(path)))
    rubrics = {task: _rubric(file_io.join(place, "rubrics", f"{task}.txt")) for task in TASKS}
    folder = file_io.join(place, "questions")
    sets = question_sets(place)
    if len(sets) > 1:
        names = ", ".join(sets)
        raise InputError(f"benchmark {folder}: holds several sets of questions ({names}); leave the one to be asked")
    ((name, files),) = sets.items()
    return Benchmark(place, name, personas, rubrics, _by_persona(file_io.join(folder, name), files))


def questions_of(benchmark: Benchmark, persona: str, per_task: int | None = None) -> dict[str, list[str]]:
    """The questions for a persona, the first `per_task` of each task; None is all.

    Raises:
        InputError: the persona has no file, or there is something wrong with it.
    """
    folder, known = file_io.join(benchmark.place, "questions", benchmark.name), content_id(persona)
    if known not in benchmark.files:
        raise InputError(f"benchmark {folder}: has no file for the persona {persona[:120]!r}; name it {known}.json")
    path = file_io.join(folder, benchmark.files[known])
    tasks = read_tasks(path)
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"benchmark {path}: has a task {task!r}; known are {', '.join(TASKS)}")
    for task in TASKS:
        if task not in tasks:
            raise InputError(f"benchmark {path}: has no questions for the task {task!r}; add some")
    return {task: _distinct(path, f"question of {task!r}", tasks[task])[:per_task] for task in TASKS}


def all_questions(
    benchmark: Benchmark, per_task: int | None = None, limit: int | None = None
) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """The first `limit` personas, each with its questions; a few files at a time are in memory.

    Raises:
        InputError: as `questions_of` does.
    """
    personas = benchmark.personas[:limit]
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(personas), _READERS):
            some = personas[start : start + _READERS]
            yield from zip(some, pool.map(partial(questions_of, benchmark, per_task=per_task), some), strict=True)


def digest_of(benchmark: Benchmark, per_task: int | None = None, limit: int | None = None) -> str:
    """A hash of all that will be asked and of the rubrics, and with it a check of every file.

    Raises:
        InputError: as `questions_of` does.
    """
    held = hashlib.sha256(json.dumps(dict(benchmark.rubrics), sort_keys=True).encode())
    for persona, questions in all_questions(benchmark, per_task, limit):
        held.update(json.dumps([content_id(persona), persona, questions]).encode())
    return held.hexdigest()[:16]


def read_texts(path: str) -> list[str]:
    """A file's list of texts, such as the personas or the settings, as they stand in it.

    Raises:
        InputError: it is missing or holds something else.
    """
    return _texts(path, _json(path))


def question_sets(place: str) -> dict[str, list[str]]:
    """The sets of questions of a benchmark, and the names of their files.

    Raises:
        InputError: there is none.
    """
    folder = file_io.join(place, "questions")
    names = file_io.list_names(folder, "")
    sets = {name: files for name in names if (files := _files(file_io.join(folder, name)))}
    if not sets:
        raise InputError(f"benchmark {folder}: holds no <set>/<persona>.json; {_LAYOUT}")
    return sets


def read_tasks(path: str) -> dict[str, list[str]]:
    """A file of questions by task, as they stand in it.

    Raises:
        InputError: it is missing or holds something else.
    """
    tasks = _json(path)
    if not isinstance(tasks, dict):
        raise InputError(f"benchmark {path}: holds no tasks with their questions; {_LAYOUT}")
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
        return json.loads(_read(path), object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"benchmark {path}: not JSON ({problem}); {_LAYOUT}") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):  # the first of two would be lost without a word
        raise ValueError("a key stands twice among " + ", ".join(repr(key) for key, _ in pairs))
    return held


def _texts(path: str, value: Any, what: str = "") -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"benchmark {path}: {what}holds no list of texts; {_LAYOUT}")
    return value


def _distinct(path: str, what: str, texts: list[str]) -> list[str]:
    """Texts in their normal form, by which personas are known and equal ones are found."""
    seen: dict[str, int] = {}
    for number, raw in enumerate(texts, 1):
        text = clean_line(raw)
        if isinstance(text, Reject):
            raise InputError(f"benchmark {path}: {what} number {number} is {_UNUSABLE[text.reason]}; mend it")
        if seen.setdefault(text, number) != number:
            again = f"{what} number {number} is the same as number {seen[text]}"
            raise InputError(f"benchmark {path}: {again} ({text[:120]!r}); take one out")
    return list(seen)


_UNUSABLE = {
    "empty": "empty",
    "too_long": "too long",
    "invalid_text": "no text that UTF-8 can hold, or has a NUL byte in it",
}


def _rubric(path: str) -> str:
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"benchmark {path}: not UTF-8 ({problem.reason} at byte {problem.start}); mend it") from None
    for slot in SLOTS:
        times = text.count(f"{{{slot}}}")
        if times != 1:
            raise InputError(f"benchmark {path}: has the place {{{slot}}} {times} times; a rubric has it once")
    return text


def _by_persona(folder: str, files: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in files:
        stem = name.removesuffix(".json")
        text = clean_line(stem)
        for known in {stem, stem if isinstance(text, Reject) else content_id(text)}:
            other = found.setdefault(known, name)
            if other != name:
                raise InputError(f"benchmark {folder}: {other!r} and {name!r} are of one persona; take one out")
    return found
