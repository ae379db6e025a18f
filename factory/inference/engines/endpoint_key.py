"""The API key of an endpoint, which no log and no error may show."""

import os
import re

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import ModelError

NO_KEY = "none"
"""In place of a key, for an endpoint without one."""


def api_key(engine: OpenAIEngine) -> str:
    """Return the key from the environment of the user who started the run.

    Raises:
        ModelError: the variable holds no key.
    """
    if engine.api_key_env is None:
        return NO_KEY
    key = os.environ.get(engine.api_key_env, "").strip()
    if not re.fullmatch("[!-~]+", key):
        raise ModelError(f"{config_key(engine)}.api_key_env: ${engine.api_key_env} is not set to a key; export it here")
    return key


def redact_key(key: SecretStr, text: str) -> str:
    """Return a text without the key, which some endpoints repeat in their errors."""
    return text if key.get_secret_value() == NO_KEY else text.replace(key.get_secret_value(), "***")


def config_key(engine: OpenAIEngine) -> str:
    """Return where an endpoint is in the config: candidates and judges have names."""
    name = getattr(engine, "name", None)
    return f"evaluation ({name})" if name else "engine"


def sampling_key(engine: OpenAIEngine) -> str:
    """Return where the sampling of an endpoint's requests is in the config."""
    if not hasattr(engine, "name"):
        return "profiles.sampling and dialogues.sampling"
    judges = "evaluation.judge_sampling and evaluation.example_sampling"
    return "evaluation.sampling" if hasattr(engine, "condition") else judges
