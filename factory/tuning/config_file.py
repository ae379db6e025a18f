"""Writes settings into a config file, whose comments and order stay."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from factory.errors import ConfigError
from factory.storage import file_io
from factory.tuning.sweep import Settings


def write_engine_kwargs(path: str, changes: Settings) -> None:
    """Write values into `engine.engine_kwargs` of a config file; None removes one.

    Raises:
        ConfigError: the file has no section `engine`.
        StorageError: it cannot be written.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    tree = yaml.load(Path(path).read_text())
    if not isinstance(tree.get("engine"), dict):
        raise ConfigError(f"{path}: has no section engine to write to; give these settings yourself")
    kwargs = tree["engine"].setdefault("engine_kwargs", {})
    for name, value in changes.items():
        if value is None:
            kwargs.pop(name, None)
        else:
            kwargs[name] = value
    written = io.StringIO()
    yaml.dump(tree, written)
    file_io.write_bytes(path, written.getvalue().encode())
