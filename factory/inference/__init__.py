"""Text generation as a Ray Data step: `generation(...)` gives vllm, openai or scripted.

An engine takes a Ray dataset in which one row is one shard of work, `requests` (a pickled list of
`records.Request`) among its columns, and gives it back with `completions` (a pickled list of
`records.Completion`, in the same order). Ray moves shards, so a character's rows, which stand
together in a shard, meet in one engine replica, and its profile is computed once.
"""

from typing import TYPE_CHECKING, Any, Protocol

from factory.config import OpenAIEngine, Sampling, ScriptedEngine, VllmEngine
from factory.inference.model_files import Located
from factory.records import Request

if TYPE_CHECKING:
    from ray.data import Dataset


class Generation(Protocol):
    """What every engine is."""

    model: str

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Columns that the engine wants beside `requests`; runs where shards are read."""

    def __call__(self, shards: "Dataset") -> "Dataset":
        """Add the column `completions`."""


def generation(
    engine: VllmEngine | OpenAIEngine | ScriptedEngine, model: Located, sampling: Sampling, seed: int, shard_rows: int
) -> Generation:
    """The engine that the config asks for; vLLM and openai are imported only where they are used."""
    if isinstance(engine, ScriptedEngine):
        from factory.inference.scripted import ScriptedGeneration

        return ScriptedGeneration(engine)
    if isinstance(engine, OpenAIEngine):
        from factory.inference.openai import OpenAIGeneration

        return OpenAIGeneration(engine, sampling, seed, shard_rows)
    from factory.inference.vllm import VllmGeneration

    return VllmGeneration(engine, model, sampling, seed, shard_rows)
