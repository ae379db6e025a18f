"""A benchmark: its personas, and the questions and rubrics of one of its sets of questions.

A persona is identified by its id: its sentence may be too long for a file name, or contain a slash.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from factory.errors import InputError
from factory.personagym.checkout_files import question_sets, read_personas, read_tasks, read_text
from factory.personagym.frozen import Frozen, read_frozen
from factory.personagym.persona_strata import Strata, read_strata
from factory.records import Reject, content_id
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.text.normalize import clean_line

BUILT_IN = file_io.join(str(RESOURCES), "data", "benchmark")
OFFICIAL = "benchmark-v1"
"""PersonaGym's own set of questions; scores on others do not compare with published ones."""
LIGHT_SUFFIX = "_personagym-light"
"""Ends the name of a set that has the first question of each task of another: PersonaGym-Light."""
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


@dataclass(frozen=True)
class Benchmark:
    """An open benchmark; its questions are read persona by persona (`persona_questions`)."""

    folder: str
    name: str
    """Name of its set of questions."""
    personas: tuple[str, ...]
    """In the order of the file."""
    rubrics: Mapping[str, str]
    """By task."""
    files: Mapping[str, str]
    """The files of questions by the personas' ids, each with the name of its set's folder."""
    frozen: Frozen | None = None
    """What it was frozen from, with its example replies."""
    strata: Strata = field(default_factory=dict)
    """By persona, for those that have any."""

    @property
    def is_light(self) -> bool:
        """Whether only the first question of each task is used, whatever the files hold."""
        return self.name.endswith(LIGHT_SUFFIX)


def open_benchmark(folder: str | None, question_set: str | None = None) -> Benchmark:
    """Read a benchmark without its questions.

    Args:
        folder: None is the built-in one.
        question_set: the name of a folder of questions; None is PersonaGym's own, or the only one. A Light set that is
            not there is taken from the whole set, as its first questions.

    Raises:
        InputError: a file is missing or invalid, two personas are equal, or there is no such set of questions.
    """
    folder = folder or BUILT_IN
    path, sentences = read_personas(folder)
    personas = tuple(_distinct(path, "persona", sentences))
    rubrics = {task: _rubric(file_io.join(folder, "rubrics", f"{task}.txt")) for task in TASKS}
    sets, questions = question_sets(folder), file_io.join(folder, "questions")
    name = question_set or _only_set(questions, sorted(sets))
    source = name if name in sets else name.removesuffix(LIGHT_SUFFIX)
    if source not in sets:
        raise InputError(f"benchmark {questions}: has no set {name!r}, only {', '.join(sorted(sets))}")
    files = _by_persona(questions, source, sets[source])
    return Benchmark(folder, name, personas, rubrics, files, read_frozen(folder), read_strata(folder, personas))


def _only_set(questions: str, names: Sequence[str]) -> str:
    if OFFICIAL in names:
        return OFFICIAL
    if len(names) > 1:
        raise InputError(
            f"benchmark {questions}: has several sets of questions ({', '.join(names)}); "
            "name one in evaluation.question_set"
        )
    return names[0]


def chosen_personas(benchmark: Benchmark, limit: int | None = None) -> list[str]:
    """Return the first `limit` personas in the order of their ids, which are hashes; None is all.

    So a limit takes personas of all kinds, whatever the order of the file, and a larger one keeps those of a smaller.
    """
    return sorted(benchmark.personas, key=content_id)[:limit]


def persona_questions(benchmark: Benchmark, persona: str, per_task: int | None = None) -> dict[str, list[str]]:
    """Read the questions for a persona, the first `per_task` of each task; None is all, or the first of a Light set.

    Raises:
        InputError: the persona has no file, or the file is invalid.
    """
    folder, persona_id = file_io.join(benchmark.folder, "questions"), content_id(persona)
    if persona_id not in benchmark.files:
        raise InputError(
            f"benchmark {file_io.join(folder, benchmark.name)}: has no file for the persona {persona[:120]!r}; "
            f"name it {persona_id}.json"
        )
    path = file_io.join(folder, benchmark.files[persona_id])
    tasks = read_tasks(path)
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"benchmark {path}: has an unknown task {task!r}; the tasks are {', '.join(TASKS)}")
    for task in TASKS:
        if task not in tasks:
            raise InputError(f"benchmark {path}: has no questions for the task {task!r}; add them")
    first = 1 if benchmark.is_light else per_task
    return {task: _distinct(path, f"question of {task!r}", tasks[task])[:first] for task in TASKS}


def all_questions(
    benchmark: Benchmark, per_task: int | None = None, limit: int | None = None
) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the chosen personas with their questions; only a few files at a time are in memory.

    Raises:
        InputError: as in `persona_questions`.
    """
    personas = chosen_personas(benchmark, limit)
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
    text = read_text(path)
    for slot in SLOTS:
        count = text.count(f"{{{slot}}}")
        if count != 1:
            raise InputError(f"benchmark {path}: has the slot {{{slot}}} {count} times; a rubric needs it once")
    return text


def _by_persona(questions: str, name: str, files: list[str]) -> dict[str, str]:
    by_id: dict[str, str] = {}
    for file in files:
        stem, path = file.removesuffix(".json"), file_io.join(name, file)
        text = clean_line(stem)
        for persona_id in {stem, stem if isinstance(text, Reject) else content_id(text)}:
            other = by_id.setdefault(persona_id, path)
            if other != path:
                raise InputError(
                    f"benchmark {file_io.join(questions, name)}: {other.removeprefix(name)[1:]!r} and {file!r} are of "
                    "one persona; remove one"
                )
    return by_id
