"""Accepted questions to a benchmark's folder in PersonaGym's layout; `personas.json` is written last.

It holds the personas with questions for all tasks; a persona's file is named by its id.
"""

import json
from collections.abc import Collection
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from typing import Any

from factory.benchmark_generation.generation_steps import PROMPTS, TABLES, available_settings
from factory.config import RunConfig
from factory.errors import ModelError
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.personagym import BUILT_IN, STRATA_JSON, TASKS
from factory.records import Counts, content_id
from factory.runtime.build_table import Built, build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table

FOLDER = "benchmark"
NAME = "generated-v1"
"""Name of the set of questions; not PersonaGym's, since the scores are not comparable."""


def write_benchmark(
    config: RunConfig, model: Located, personas: Table, settings: Table, questions: Table, progress: Progress
) -> None:
    """Write the folder, unless it is finished.

    Raises:
        ModelError: no persona has questions for all tasks.
    """
    folder = Table(config.output, FOLDER)
    total, generated_by = (personas.manifest() or {})["ok"], _generated_by(config, model)

    def write() -> Built:
        written = {}
        for row in map_shards(questions, partial(_write_questions, questions, folder.path)):
            written[row["shard"]] = json.loads(row["personas"])
            progress.advance(Counts(ok=len(written[row["shard"]])))
        # Personas of one sentence may differ in their facts, of which a benchmark knows nothing.
        complete = list(dict.fromkeys(persona for shard in sorted(written) for persona in written[shard]))
        if not complete:
            raise ModelError(
                f"engine.model {config.engine.model!r}: wrote questions for all tasks for none of {total} personas; "
                f"see `rejected` in {questions.path}/.manifest.json, and use a stronger model or fewer questions"
            )
        for task in TASKS:
            name = file_io.join("rubrics", f"{task}.txt")
            file_io.write_bytes(file_io.join(folder.path, name), file_io.read_bytes(file_io.join(BUILT_IN, name)))
        _write(file_io.join(folder.path, "settings.json"), available_settings())
        readme = _readme(config, generated_by, total, len(complete), settings, questions)
        file_io.write_bytes(file_io.join(folder.path, "README.md"), readme.encode())
        if strata := _strata(personas, set(complete)):
            _write(file_io.join(folder.path, STRATA_JSON), strata)
        _write(file_io.join(folder.path, "personas.json"), complete)
        rejected = {"incomplete": total - len(complete)} if total > len(complete) else {}
        return Built(Counts(ok=len(complete), rejected=rejected), generated_by)

    inputs = {"questions": identity(questions), "rubrics": _rubrics()}
    build_table(folder, inputs, total, write, progress)
    progress.print(f"Benchmark: {folder.path} (set evaluation.benchmark and curation.benchmark to it)")


def _generated_by(config: RunConfig, model: Located) -> dict[str, Any]:
    refs = [load_prompt(name, config.prompt_places).ref for name in PROMPTS]
    return {"prompts": refs, "engine": config.engine.kind, "model": asdict(model)}


def _rubrics() -> list[str]:
    folder = file_io.join(BUILT_IN, "rubrics")
    return [file_io.read_bytes(file_io.join(folder, f"{task}.txt")).decode() for task in TASKS]


def _write_questions(questions: Table, folder: str, shard: dict[str, Any]) -> dict[str, Any]:
    """Write the files of a shard's complete personas; a persona's rows are in one shard."""
    rows = questions.read(shard["shard"], ["persona_id", "persona", "task", "questions", "status"]).to_pylist()
    by_persona: dict[str, dict[str, list[str]]] = {}
    personas = {}
    for row in rows:
        if row["status"] == "ok":
            by_persona.setdefault(row["persona_id"], {})[row["task"]] = row["questions"]
            personas[row["persona_id"]] = row["persona"]
    complete = [name for name, tasks in by_persona.items() if tasks.keys() == TASKS.keys()]
    for name in complete:
        file = f"{content_id(personas[name])}.json"
        _write(file_io.join(folder, "questions", NAME, file), {task: by_persona[name][task] for task in TASKS})
    return {**shard, "personas": json.dumps([personas[name] for name in complete])}


def _strata(personas: Table, complete: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the strata of the complete personas that have any."""
    found: dict[str, dict[str, str]] = {}
    for row in sorted(map_shards(personas, partial(_strata_of_shard, personas)), key=itemgetter("shard")):
        for persona, strata in json.loads(row["strata"]):
            if persona in complete:
                found.setdefault(persona, strata)
    return found


def _strata_of_shard(personas: Table, shard: dict[str, Any]) -> dict[str, Any]:
    rows = personas.read(shard["shard"], ["persona", "strata", "status"]).to_pylist()
    listed = [[row["persona"], json.loads(row["strata"])] for row in rows if row["status"] == "ok" and row["strata"]]
    return {**shard, "strata": json.dumps(listed)}


def _write(path: str, content: Any) -> None:
    file_io.write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _readme(
    config: RunConfig, generated_by: dict[str, Any], total: int, complete: int, settings: Table, questions: Table
) -> str:
    source, generation = config.personas.source, config.benchmark_generation
    sources = source if isinstance(source, str) else ", ".join(source)
    model = generated_by["model"]
    return f"""# {NAME}: a generated role-playing benchmark

{complete:,} personas with {generation.questions_per_task} questions for each of the five tasks of PersonaGym, in the
layout of a PersonaGym checkout. `character-factory generate-benchmark` generated it. None of it is from PersonaGym,
and its scores are not comparable with PersonaGym's.

- Model: {model["ref"]} (revision {model["revision"]}), which chose {generation.settings_per_persona} settings
  for each persona, and then wrote its questions. Prompts: {", ".join(generated_by["prompts"])}.
- Personas: {total:,} of {sources}; {total - complete:,} are left out, since they lack questions for a task. Rejected
  replies: settings {_rejected(settings)}, questions {_rejected(questions)}; `{TABLES}/` has each with its reason.
- `questions/{NAME}/<id>.json` is named by a hash of the persona's sentence.
- Rubrics and settings are those of the character factory's own benchmark.

Keep these personas and questions out of the training set: set `curation.benchmark` to this folder.

Licenses: rubrics and settings are under the Apache License 2.0. Personas and questions are subject to the license of
the personas' source and to that of the model that wrote the questions; check both before you pass them on.
"""


def _rejected(table: Table) -> str:
    reasons = (table.manifest() or {})["rejected"]
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.items()) or "none"
