"""The engines that a config can name, by their `kind`."""

from typing import Any

from factory.config import Section
from factory.inference.engines.backend import Backend
from factory.inference.engines.openai import OpenAIBackend
from factory.inference.engines.scripted import ScriptedBackend
from factory.inference.engines.vllm import VllmBackend

BACKENDS: dict[str, type[Backend[Any]]] = {
    "vllm": VllmBackend,
    "openai": OpenAIBackend,
    "scripted": ScriptedBackend,
}


def backend_for(engine: Section) -> Backend[Any]:
    """Return the backend of an engine's settings, of a candidate or of a judge."""
    return BACKENDS[engine.kind](engine)  # type: ignore[attr-defined]
