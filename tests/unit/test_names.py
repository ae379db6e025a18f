"""Names of modules and classes: one word for one thing, so that a search finds one place."""

import ast
from collections import Counter
from pathlib import Path

from tests.integration.runs import PROJECT

SHARED = {"dry_run"}
"""Module names that several rooms have on purpose: what each step prints instead of running."""
FILES = [path for path in (PROJECT / "factory").rglob("*.py") if path.name != "__init__.py"]


def classes(path: Path) -> list[str]:
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


def test_no_two_modules_share_a_name():
    names = Counter(path.stem for path in FILES)
    assert {name for name, count in names.items() if count > 1} == SHARED


def test_no_two_classes_share_a_name():
    names = Counter(name for path in FILES for name in classes(path))
    assert [name for name, count in names.items() if count > 1] == []
