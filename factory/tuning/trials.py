"""Trials: small runs of the pipeline with changed engine settings, whose speed the planner extrapolates."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import ray

from factory.config import Planning, RunConfig, VllmEngine
from factory.errors import ConfigError, FactoryError, InputError, Stopped
from factory.inference.engines import vllm_settings
from factory.job import Job
from factory.planning.pilot import Pilot
from factory.planning.plan_of_config import plan_of_config
from factory.planning.planner import Planner
from factory.runtime.progress import Silent
from factory.runtime.ray_session import on_gpu
from factory.storage import file_io
from factory.storage.tables import compute_fingerprint
from factory.tuning.sweep import Settings, SweepLimits, Trial

MIN_ROWS = 300
FILLED = 2
"""Rows of a table per slot of the engine, at least: fewer would measure how it drains, not how it runs."""
STEPS = ("profiles", "dialogues")


def engine_of(config: RunConfig) -> VllmEngine:
    """Return the engine to tune.

    Raises:
        ConfigError: it is not vLLM.
    """
    if not isinstance(config.engine, VllmEngine):
        raise ConfigError(f"engine.kind is {config.engine.kind}; only vllm has settings to tune")
    return config.engine


def changed(config: RunConfig, changes: Settings) -> RunConfig:
    """Return a config with changed `engine_kwargs`."""
    engine = engine_of(config)
    kwargs = {name: value for name, value in {**engine.engine_kwargs, **changes}.items() if value is not None}
    return config.model_copy(update={"engine_section": engine.model_copy(update={"engine_kwargs": kwargs})})


def values_of(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a sweep may change, as an engine of the config gets them."""
    given = vllm_settings.completed_kwargs(engine_of(config), config.seed)
    return {"tensor_parallel_size": 1, "max_num_batched_tokens": 0, "speculative_config": None, **given}


def limits_of(config: RunConfig) -> SweepLimits:
    """Return what limits the settings on the cluster."""
    engine = engine_of(config)
    if not on_gpu(engine.device):
        return SweepLimits(0, False)
    most = max((int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
    now = int(vllm_settings.replica_bundle(engine).resources["GPU"])  # nodes of an autoscaling cluster may be off
    return SweepLimits(max(most, now), find_spec("arctic_inference") is not None)


@dataclass(frozen=True)
class Trials:
    """Tries engine settings in folders of one output.

    A finished trial is not repeated while neither the settings nor the rows change.
    """

    config: RunConfig
    """Of the whole run."""
    folder: str
    rows: int
    """Rows of a table, at least; 0 for as many as fill the engine."""
    synthesize: Callable[[Job], None]

    def output(self, changes: Settings) -> str:
        """Return the folder of a trial, which is a pilot of the run."""
        config = changed(self.config, changes)
        name = compute_fingerprint({"engine": config.engine.model_dump(mode="json"), "rows": self._rows(config)})
        return file_io.join(self.folder, name)

    def run(self, changes: Settings) -> Trial:
        """Run a trial.

        Raises:
            FactoryError: the config's own settings fail.
            Stopped: a stop was requested.
        """
        config = changed(self.config, changes)
        small = self._small(config).model_copy(update={"output": self.output(changes)})
        try:
            self.synthesize(Job(small, Silent()))
        except Stopped:
            raise
        except FactoryError as problem:  # such as an engine that needs more memory than there is
            if not changes:
                raise
            return Trial(changes, problem=str(problem))
        pilot = Pilot.read(small.output)
        if any("engine_died" in table.manifest["rejected"] for table in pilot.tables.values()):
            return Trial(changes, problem="the engine died of some requests")
        plan = plan_of_config(config.model_copy(update={"planning": Planning()}), (), pilot, flops=1.0)
        return replace(_cost(plan), changes=changes)

    def _rows(self, config: RunConfig) -> int:
        return self.rows or max(MIN_ROWS, FILLED * int(values_of(config)["max_num_seqs"]))

    def _small(self, config: RunConfig) -> RunConfig:
        rows = self._rows(config)
        dialogues = config.dialogues.characters_per_instruction * len(config.dialogues.strategies)
        instructions = math.ceil(rows / dialogues / max(1, len(config.instructions)))
        engine = engine_of(config).model_copy(update={"replicas": (1, 1)})
        corpora = config.limited(instructions).instructions
        return config.limited(rows).model_copy(update={"instructions": corpora, "engine_section": engine})


def _cost(plan: Planner) -> Trial:
    """Return the speed of one replica, and what the whole run costs on it."""
    steps = [step for step in plan.steps if step.name in STEPS]
    seconds = 0.0
    for step in steps:
        parts = step.parts(1, 1)
        seconds += float(parts["engine"][0] + parts["long replies"][0])
    if not seconds > 0:
        raise InputError(f"a trial measured no speed: {'; '.join(plan.missing)}")
    tokens = sum(float(table.rows[0] * table.output[0]) for table in plan.tables)
    return Trial({}, tokens / seconds, seconds * max(1, *(step.gpus_per_worker for step in steps)))
