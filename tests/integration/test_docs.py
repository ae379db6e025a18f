"""The generated pages and the schema are those of the code, and the reference of reject reasons is complete."""

import importlib.util
import re

import pytest

from tests.integration.runs import PROJECT

REASON = re.compile(r'Reject\(\s*"([a-z_]+)"')


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(generate):
    changed = [path.name for path, text in generate.pages().items() if path.read_text() != text]
    assert changed == [], "run `make docs`"


def test_every_reject_reason_is_in_the_reference():
    page = (PROJECT / "docs" / "reference" / "reject-reasons.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    texts = [path.read_text() for path in (PROJECT / "factory").rglob("*.py")]
    assert {reason for text in texts for reason in REASON.findall(text)} - listed == set()


def test_every_page_of_the_docs_is_in_the_navigation():
    navigation = (PROJECT / "mkdocs.yml").read_text()
    pages = [path.relative_to(PROJECT / "docs").as_posix() for path in (PROJECT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []
