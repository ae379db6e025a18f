"""Frozen benchmarks in the store that several runs share, each by benchmark, models and prompt of its example replies.

<store>/benchmarks/<set>-<protocol>-<key>/   as `factory.personagym.frozen` has it
"""

import json
from functools import partial
from hashlib import sha256
from typing import Any

from factory.config import RunConfig, ServedModel
from factory.errors import ConfigError
from factory.evaluation.example_tables import all_examples, example_writers
from factory.evaluation.run_benchmark import examples_prompt, named_benchmark, questions_per_task
from factory.inference import model_files
from factory.personagym import (
    FROZEN,
    PERSONAS_JSON,
    PROMPT_PATHS,
    STRATA_JSON,
    TASKS,
    Benchmark,
    Frozen,
    benchmark_digest,
    open_benchmark,
)
from factory.run_output import layout
from factory.runtime.build_table import map_shards
from factory.storage import file_io
from factory.storage.tables import Table, compute_fingerprint

FOLDER = "benchmarks"


def run_benchmark(config: RunConfig) -> Benchmark:
    """Open the benchmark of a run: that of the config, or the frozen one of it in `evaluation.store`.

    Raises:
        UserError: it cannot be read, or a model cannot be found.
    """
    benchmark = named_benchmark(config)
    if config.evaluation.store is None or benchmark.frozen:
        return benchmark
    folder = frozen_folder(config, benchmark)
    return open_benchmark(folder) if file_io.exists(file_io.join(folder, FROZEN)) else benchmark


def check_not_frozen(config: RunConfig) -> Benchmark:
    """Open the benchmark that the config names.

    Raises:
        UserError: it cannot be read.
        ConfigError: it is a frozen one.
    """
    benchmark = named_benchmark(config)
    if benchmark.frozen:
        raise ConfigError(
            f"evaluation.benchmark is {benchmark.folder}, which is frozen; name the one that it is made of"
        )
    return benchmark


def frozen_folder(config: RunConfig, benchmark: Benchmark) -> str:
    """Return where the store keeps a benchmark with the example replies that the config's judges write.

    The order of the judges does not matter, nor do their names.

    Raises:
        ConfigError: the config names no store.
    """
    evaluation = config.evaluation
    if evaluation.store is None:
        raise ConfigError(
            "evaluation.store is missing: it is where frozen benchmarks are kept, such as store: runs/store"
        )
    made_of = {
        "benchmark": benchmark_digest(benchmark, questions_per_task(config)),
        "models": writing_models(config),
        "prompt": examples_prompt(config),
        "sampling": evaluation.example_sampling.model_dump(),
    }
    name = f"{benchmark.name}-{evaluation.protocol}-{compute_fingerprint(made_of)[:12]}"
    return file_io.join(evaluation.store, FOLDER, name)


def writing_models(config: RunConfig) -> list[str]:
    """Return the models that write example replies, sorted, each with its revision."""
    judges = {judge.name: judge for judge in config.evaluation.judges}
    names = [config.evaluation.example_writer] if config.evaluation.example_writer else list(judges)
    return sorted({_with_revision(judges[name]) for name in names})


def _with_revision(judge: Any) -> str:
    revision = model_files.locate(judge.model).revision if isinstance(judge, ServedModel) else ""
    return f"{judge.model}@{revision or getattr(judge, 'revision', 'endpoint')}"


def write_frozen(config: RunConfig, benchmark: Benchmark) -> Frozen:
    """Write the files of a frozen benchmark, whose tables are finished.

    Args:
        config: the settings by which its tables were made, with the benchmark's folder as output.
        benchmark: the one that is frozen.
    """
    folder, questions = config.output, layout.BENCHMARK_QUESTIONS.table(config.output)
    name, examples = file_io.join(folder, "questions", benchmark.name), all_examples(config, benchmark)
    written = sum(row["questions"] for row in map_shards(questions, partial(_write_questions, questions, name)))
    for path in (*(f"rubrics/{task}.txt" for task in TASKS), *PROMPT_PATHS, STRATA_JSON):
        if file_io.exists(source := file_io.join(benchmark.folder, path)):
            file_io.write_bytes(file_io.join(folder, path), file_io.read_bytes(source))
    file_io.write_bytes(file_io.join(folder, PERSONAS_JSON), _json(list(benchmark.personas)))
    digests = {row["shard"]: row["digest"] for row in map_shards(examples, partial(_digest_shard, examples))}
    frozen = Frozen(
        digest=benchmark_digest(benchmark, questions_per_task(config)),
        examples_digest=compute_fingerprint(digests),
        question_set=benchmark.name,
        protocol=config.evaluation.protocol,
        prompt=examples_prompt(config),
        models=tuple(writing_models(config)),
        writers=tuple(example_writers(config)),
        questions=written,
        examples=(examples.manifest() or {})["ok"],
    )
    file_io.write_bytes(file_io.join(folder, FROZEN), _json(frozen.document()))
    return frozen


def _write_questions(questions: Table, folder: str, shard: dict[str, Any]) -> dict[str, Any]:
    """Write the files of a shard's personas, each by its id; a persona's rows are in one shard."""
    by_persona: dict[str, dict[str, list[str]]] = {}
    rows = questions.read(shard["shard"], ["persona_id", "task", "question"]).to_pylist()
    for row in rows:
        by_persona.setdefault(row["persona_id"], {}).setdefault(row["task"], []).append(row["question"])
    for persona_id, tasks in by_persona.items():
        file_io.write_bytes(file_io.join(folder, f"{persona_id}.json"), _json(tasks))
    return {"questions": len(rows)}


def _digest_shard(examples: Table, shard: dict[str, Any]) -> dict[str, Any]:
    rows = examples.read(shard["shard"], ["question_id", "examples"]).to_pylist()
    return {"shard": shard["shard"], "digest": sha256(json.dumps(rows).encode()).hexdigest()}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
