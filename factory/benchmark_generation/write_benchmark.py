"""Accepted questions to a benchmark's folder in PersonaGym's layout; `personas.json` is written last.

A persona is in it that has questions for all tasks; its file is named by its id.
"""

import json
from dataclasses import asdict
from functools import partial
from typing import Any

from factory.benchmark_generation.generation_steps import PROMPTS, settings_on_offer
from factory.config import RunConfig
from factory.errors import ModelError
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.personagym import BUILT_IN, TASKS
from factory.records import Counts
from factory.runtime.build_table import Built, build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table

FOLDER = "benchmark"
NAME = "made-v1"
"""Of the set of questions: another than PersonaGym's own, with whose scores these do not compare."""


def write_benchmark(
    config: RunConfig, model: Located, personas: Table, settings: Table, questions: Table, progress: Progress
) -> None:
    """Write the folder, unless it is there.

    Raises:
        ModelError: no persona has questions for all tasks.
    """
    folder = Table(config.output, FOLDER)
    cast, told = (personas.manifest() or {})["ok"], _made_with(config, model)

    def write() -> Built:
        written = {}
        for row in map_shards(questions, partial(_write_questions, questions, folder.path)):
            written[row["shard"]] = json.loads(row["personas"])
            progress.advance(Counts(ok=len(written[row["shard"]])))
        complete = [persona for shard in sorted(written) for persona in written[shard]]
        if not complete:
            raise ModelError(
                f"engine.model {config.engine.model!r}: wrote questions for all tasks for none of {cast} personas; "
                f"see `rejected` in {questions.path}/.manifest.json, and take a stronger model or fewer questions"
            )
        for task in TASKS:
            name = file_io.join("rubrics", f"{task}.txt")
            file_io.write_bytes(file_io.join(folder.path, name), file_io.read_bytes(file_io.join(BUILT_IN, name)))
        _write(file_io.join(folder.path, "settings.json"), settings_on_offer())
        readme = _readme(config, told, cast, len(complete), settings, questions)
        file_io.write_bytes(file_io.join(folder.path, "README.md"), readme.encode())
        _write(file_io.join(folder.path, "personas.json"), complete)
        rejected = {"incomplete": cast - len(complete)} if cast > len(complete) else {}
        return Built(Counts(ok=len(complete), rejected=rejected), told)

    decided = {"questions": identity(questions), "rubrics": _rubrics()}
    build_table(folder, decided, cast, write, progress)
    progress.say(f"Benchmark: {folder.path} (name it in evaluation.benchmark, and in curation.benchmark)")


def _made_with(config: RunConfig, model: Located) -> dict[str, Any]:
    refs = [load_prompt(name, config.prompts_dir).ref for name in PROMPTS]
    return {"prompts": refs, "engine": config.engine.kind, "model": asdict(model)}


def _rubrics() -> list[str]:
    folder = file_io.join(BUILT_IN, "rubrics")
    return [file_io.read_bytes(file_io.join(folder, f"{task}.txt")).decode() for task in TASKS]


def _write_questions(questions: Table, folder: str, shard: dict[str, Any]) -> dict[str, Any]:
    """Write the files of the complete personas of a shard, which holds whole ones."""
    rows = questions.read(shard["shard"], ["persona_id", "persona", "task", "questions", "status"]).to_pylist()
    asked: dict[str, dict[str, list[str]]] = {}
    personas = {}
    for row in rows:
        if row["status"] == "ok":
            asked.setdefault(row["persona_id"], {})[row["task"]] = row["questions"]
            personas[row["persona_id"]] = row["persona"]
    complete = [name for name, tasks in asked.items() if tasks.keys() == TASKS.keys()]
    for name in complete:
        _write(file_io.join(folder, "questions", NAME, f"{name}.json"), {task: asked[name][task] for task in TASKS})
    return {**shard, "personas": json.dumps([personas[name] for name in complete])}


def _write(path: str, content: Any) -> None:
    file_io.write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _readme(
    config: RunConfig, told: dict[str, Any], cast: int, complete: int, settings: Table, questions: Table
) -> str:
    source = config.personas.source
    sources = source if isinstance(source, str) else ", ".join(source)
    model, revision, count = (
        told["model"]["ref"],
        told["model"]["revision"],
        config.benchmark_generation.questions_per_task,
    )
    return f"""# {NAME}: a made benchmark of role-playing

{complete:,} personas with {count} questions for each of the five tasks of PersonaGym, laid out like a checkout of it.
`character-factory generate-benchmark` made it. None of it is PersonaGym's, and its scores do not compare with those.

- Model: {model} (revision {revision}), which picked {config.benchmark_generation.settings_per_persona} settings
  for each persona, and then wrote its questions. Prompts: {", ".join(told["prompts"])}.
- Personas: {cast:,} of {sources}; {cast - complete:,} are left out, since they lack questions for a task. Rejected
  replies: settings {_lost(settings)}, questions {_lost(questions)}; `benchmark-making/` has each with its reason.
- `questions/{NAME}/<id>.json` is named by the persona's id, a hash of its sentence.
- Rubrics and settings are those of the character factory's own benchmark.

Keep these personas and questions out of the training set: name this folder in `curation.benchmark`.

Licences: rubrics and settings are under the Apache License 2.0. Personas and questions are subject to the licence of
the personas' source and to that of the model that wrote the questions; look both up before you pass them on.
"""


def _lost(table: Table) -> str:
    reasons = (table.manifest() or {})["rejected"]
    return ", ".join(f"{reason} {number:,}" for reason, number in reasons.items()) or "none"
