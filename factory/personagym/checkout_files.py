"""The files of a PersonaGym checkout, read without running anything of it.

personas.json, or code/personas.py   a list of sentences
questions/<set>/<persona>.json       {task: [question, ...]}; the file's name is the sentence, or its id
rubrics/<task>.txt                   the judge's prompt for a task, with slots for data
"""

import ast
import json
from typing import Any

from factory.errors import InputError
from factory.storage import file_io

LAYOUT = (
    "curation.benchmark and evaluation.benchmark take a PersonaGym checkout "
    "(personas.json or code/personas.py, questions/<set>/<persona>.json, rubrics/<task>.txt) or null"
)
PERSONAS_JSON = "personas.json"
PERSONAS_MODULE = "code/personas.py"
"""Where PersonaGym itself keeps its personas."""
_PERSONAS_NAME = "benchmark_personas"
"""What the list is called there."""


def read_personas(benchmark: str) -> tuple[str, list[str]]:
    """Read the personas of a benchmark's folder, unchanged, and return the file's path with them.

    Raises:
        InputError: there is no file of them, or it has another format.
    """
    path, module = file_io.join(benchmark, PERSONAS_JSON), file_io.join(benchmark, PERSONAS_MODULE)
    if not file_io.exists(path) and file_io.exists(module):
        return module, _texts(module, _assigned_list(module))
    return path, read_texts(path)


def _assigned_list(path: str) -> Any:
    """Return the list that a Python file assigns to the personas' name; only literals are read."""
    try:
        tree = ast.parse(read_text(path))
        values = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == _PERSONAS_NAME for target in node.targets)
        ]
        if not values:
            raise InputError(f"benchmark {path}: assigns no list to {_PERSONAS_NAME}; {LAYOUT}")
        return ast.literal_eval(values[-1])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise InputError(f"benchmark {path}: {_PERSONAS_NAME} is not a list of plain texts ({reason})") from None


def read_texts(path: str) -> list[str]:
    """Read a file's list of texts, such as personas or settings, unchanged.

    Raises:
        InputError: it is missing or has another format.
    """
    return _texts(path, _json(path))


def read_tasks(path: str) -> dict[str, list[str]]:
    """Read a file of questions by task, unchanged.

    Raises:
        InputError: it is missing or has another format.
    """
    tasks = _json(path)
    if not isinstance(tasks, dict):
        raise InputError(f"benchmark {path}: is not an object of tasks with their questions; {LAYOUT}")
    return {task: _texts(path, questions, f"the task {task!r} ") for task, questions in tasks.items()}


def read_text(path: str) -> str:
    """Read a file of text, with a line feed at the end of each line.

    Raises:
        InputError: it is missing, or not UTF-8.
    """
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"benchmark {path}: not UTF-8 ({problem.reason} at byte {problem.start}); fix it") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def question_sets(benchmark: str) -> dict[str, list[str]]:
    """List the sets of questions in a benchmark's folder, with the names of their files.

    Raises:
        InputError: there is none.
    """
    folder = file_io.join(benchmark, "questions")
    names = file_io.list_names(folder, "")
    sets = {name: files for name in names if (files := _files(file_io.join(folder, name)))}
    if not sets:
        raise InputError(f"benchmark {folder}: has no <set>/<persona>.json; {LAYOUT}")
    return sets


def _files(folder: str) -> list[str]:
    fs, name = file_io.filesystem(folder)
    return file_io.list_names(folder, ".json") if fs.isdir(name) else []


def _read(path: str) -> bytes:
    if not file_io.exists(path):
        raise InputError(f"benchmark {path}: no such file; {LAYOUT}")
    return file_io.read_bytes(path)


def _json(path: str) -> Any:
    try:
        return json.loads(_read(path), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"benchmark {path}: not JSON ({problem}); {LAYOUT}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):  # the first of two would be lost silently
        raise ValueError("a key occurs twice among " + ", ".join(repr(key) for key, _ in pairs))
    return unique


def _texts(path: str, value: Any, what: str = "") -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"benchmark {path}: {what}is not a non-empty list of texts; {LAYOUT}")
    return value
