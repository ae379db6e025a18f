"""The folder of this machine in which models and records of Ray heads are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder: FACTORY_CACHE, or `character-factory` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("FACTORY_CACHE", Path(base) / "character-factory"))
