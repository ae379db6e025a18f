"""The examples of docs/extending.md, each added to a copy of the package, in its one place."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from factory.config.prompt_places import PromptPlaces
from factory.inference.prompts import load_prompt
from tests.integration.runs import PROJECT

BLOCK = re.compile(r'^```\w+ title="(.*?)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def examples() -> dict[str, list[tuple[str, str]]]:
    """Return the code blocks of each section, as title and text."""
    page = (PROJECT / "docs" / "extending.md").read_text()
    return {title: BLOCK.findall(text) for title, text in SECTION.findall(page)}


def put(root: Path, title: str, text: str) -> None:
    """Add a block to the copy: a file, or lines of one."""
    name, _, place = title.partition(": ")
    path = root / name
    if not place:
        assert not path.exists(), f"{name} is there already"
        path.write_text(text)
        return
    how, _, mark = place.partition(" ")
    lines = path.read_text().splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if mark in line]
    lines[at : at + 1] = {"after": [lines[at], text], "before": [text, lines[at]], "replaces": [text]}[how]
    path.write_text("".join(lines))


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package beside what it reads."""
    shutil.copytree(PROJECT / "factory", tmp_path / "factory", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prompts", "data", "jobs", "cluster"):
        (tmp_path / name).symlink_to(PROJECT / name)
    return tmp_path


def run(copy: Path, section: str, code: str) -> str:
    """Add a section's examples and run code with them."""
    for title, text in examples()[section]:
        put(copy, title, text)
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy), "RAY_ENABLE_AUTO_CONNECT": "0"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_prompt_takes_the_place_of_the_built_in_one(tmp_path):
    ((name, text),) = examples()["A prompt"]
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(text)
    prompt = load_prompt("profile", PromptPlaces(str(path.parent)))
    assert prompt.ref.startswith("profile@100#")
    assert "a baker" in prompt.render(persona="a baker", language="English")[-1].content


def test_a_rule_rejects_and_has_settings(copy):
    code = """
from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.records import Message
quality = Quality.model_validate({"shouting": {"max_share": 0.3}})
print(list(quality.rules), quality.shouting.max_share)
dialogue = DialogueContext((Message("user", "Hello?"), Message("assistant", "WHO IS THERE at this door")), "", "")
print(quality.shouting.find(dialogue))
"""
    assert run(copy, "A rule", code).splitlines() == [
        "['leaked_thoughts', 'too_short', 'unfinished_sentence', 'repetition', 'shouting', 'breaks_character', "
        "'leaked_prompt', 'speaks_for_user', 'copied_reference', 'echoes_request', 'only_question', 'lost_numbers', "
        "'lost_code', 'lost_names', 'lost_substance', 'wrong_language'] 0.3",
        "reply 1 is in capital letters",
    ]


def test_an_engine_answers_a_run(copy):
    code = """
import asyncio
from factory.config import RunConfig
from factory.inference.engines.registry import backend_for
from factory.inference.engines.echo import EchoReplica
from factory.records import Message, Request
config = RunConfig.model_validate({"output": "x", "engine": {"kind": "echo"}})
print(type(backend_for(config.engine)).__name__, backend_for(config.engine).locate())
print(asyncio.run(EchoReplica().complete(Request((Message("user", "hello"),)))).replies)
"""
    assert run(copy, "An engine", code).splitlines() == [
        "EchoBackend Located(ref='echo', revision='1')",
        "('hello',)",
    ]


def test_judges_are_settings():
    from factory.config import RunConfig

    ((_, text),) = examples()["A judge"]
    config = RunConfig.model_validate({"output": "x", **yaml.safe_load(text)})
    assert [judge.kind for judge in config.evaluation.judges] == ["served", "openai"]


def test_a_task_is_read_from_a_benchmark(copy):
    code = """
import json, shutil
from pathlib import Path
from factory.personagym import all_questions, open_benchmark
folder = Path("gym")
shutil.copytree("data/benchmark", folder)
rubric = (folder / "rubrics" / "Toxicity.txt").read_text()
(folder / "rubrics" / "Sense of Humor.txt").write_text(rubric)
for path in (folder / "questions").rglob("*.json"):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Sense of Humor": ["What made you laugh today?"]}))
benchmark = open_benchmark(str(folder))
print(len(benchmark.rubrics), next(iter(all_questions(benchmark, None, 1)))[1]["Sense of Humor"])
"""
    assert run(copy, "A task", code) == "6 ['What made you laugh today?']\n"


def test_an_export_is_a_format_of_the_command(copy):
    code = """
from factory.export.formats import SHAPES
ids = dict.fromkeys(["dialogue_id", "character_id", "instruction_id", "corpus", "strategy"], "x")
row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}], **ids}
print(SHAPES["transcript"].convert(row)["transcript"])
import sys
sys.argv = ["export", "--help"]
from factory.commands.export import run
try:
    run()
except SystemExit:
    pass
"""
    shown = run(copy, "An export", code)
    assert shown.startswith("user: Hi\nassistant: Ahoy\n")
    assert "transcript" in shown.partition("--format")[2]
