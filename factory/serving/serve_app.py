"""The fleet of judges for a Serve config (`serve deploy`, KubeRay's RayService): from a config's path to an app."""

from typing import Any

from pydantic import BaseModel

from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.serving.deployment import api_key_of, application
from factory.serving.fleet import APP


class Arguments(BaseModel):
    """The `args` of the Serve config."""

    config: str
    """The path of a run's config, on the node that builds the application."""


def judges(arguments: Arguments) -> Any:
    """Return the Serve application of a config's judges, which needs a key, as Serve listens on the network there.

    Raises:
        ConfigError: the config is wrong or has no judge of kind served, or there is no key.
    """
    config = load_config(arguments.config)
    fleet, members = config.evaluation.fleet, config.evaluation.fleet_judges
    if not members:
        raise ConfigError(f"config {arguments.config}: evaluation.judges has none of kind served")
    if not api_key_of(fleet):
        raise ConfigError(f"${fleet.api_key_env} holds no key; a fleet that others can reach needs one")
    # Serve listens where its own config sets it, not the run's.
    return application(fleet.model_copy(update={"host": "0.0.0.0"}), members, APP)
