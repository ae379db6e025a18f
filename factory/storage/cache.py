"""The folder in which models and notes of this machine are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where models are kept: FACTORY_CACHE, or `character-factory` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("FACTORY_CACHE", Path(base) / "character-factory"))
