"""Locates the model of an engine without loading it, and checks that its chat template can be used."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from factory.config import EMBEDDED, OpenAIEngine, ScriptedEngine, VllmEngine
from factory.inference import model_files
from factory.inference.model_check import check_folder
from factory.inference.model_files import Located

ENDPOINT = "endpoint"
"""In place of a revision, which endpoints do not tell; where one is decides nothing, as it may move."""


def locate_model(engine: VllmEngine | OpenAIEngine | ScriptedEngine) -> Located:
    """Find an engine's model without loading it; an endpoint is asked whether it answers.

    Raises:
        ModelError: it cannot be had, or its chat template cannot be used.
        UnreachableError: its place does not answer.
    """
    if isinstance(engine, ScriptedEngine):
        return Located(engine.model, engine.revision)
    if isinstance(engine, OpenAIEngine):
        from factory.inference.openai import check_endpoint

        check_endpoint(engine)
        return Located(engine.model, ENDPOINT)
    located = model_files.locate(engine.model)
    trusted = bool(engine.engine_kwargs.get("trust_remote_code"))
    _check_chat(located, None, trusted)
    return located


def locate_served(model: str, engine_kwargs: Mapping[str, Any]) -> Located:
    """Find a model that this factory serves, without loading it.

    Raises:
        ModelError: it cannot be had, or its chat template cannot be used.
        UnreachableError: its place does not answer.
    """
    located = model_files.locate(model)
    template = engine_kwargs.get("chat_template")  # vLLM takes a file's name too
    if template and os.path.isfile(template):
        template = Path(template).read_text()
    _check_chat(located, template, bool(engine_kwargs.get("trust_remote_code")))
    return located


@cache
def _check_chat(located: Located, template: str | None, trusted: bool) -> None:
    """Find out now what each row would else meet: a model without a chat template, or with one that refuses us."""
    if located.ref != EMBEDDED:
        check_folder(model_files.fetch(located.pinned, weights=False), template, trusted=trusted)
