"""The folder of the files that ship with the code: prompts, data, configs, cluster templates, prices."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_IN_WHEEL = _PACKAGE / "_resources"
RESOURCES = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent
"""The top of the checkout, or its copy inside an installed wheel: `prompts/`, `data/`, `jobs/configs/`, `cluster/`."""
