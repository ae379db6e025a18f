"""Local paths of the config made absolute, so that every machine and folder means the same file."""

import glob
import os
from pathlib import Path

from factory.resources import RESOURCES


def input_path(path: str) -> str:
    """Return a local input path as an absolute one: in the current folder, else in the project's own.

    So the shipped configs work from any folder, and workers on other machines mean the same file.
    """
    if "://" in path:
        return path
    path = os.path.expanduser(path)
    here, shipped = (os.path.join(folder, path) for folder in (Path.cwd(), RESOURCES))
    return shipped if not _exists(here) and _exists(shipped) else here


def _exists(path: str) -> bool:
    return os.path.exists(path) or any(True for _ in glob.iglob(path, recursive=True))


def output_path(path: str) -> str:
    """Return a local output path as an absolute one.

    A submitted job runs in a temporary copy of the project, so a relative output goes to the folder in
    FACTORY_OUTPUTS, else to the home folder on the job's machine.
    """
    if "://" in path:
        return path
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    folder = os.environ.get("FACTORY_OUTPUTS") or (Path.home() if submitted else Path.cwd())
    return str(Path(folder) / os.path.expanduser(path))
