"""The fleet of judges as a Serve config names it (`serve deploy`, KubeRay's RayService): a config's path to an app."""

from typing import Any

from pydantic import BaseModel

from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.serving.deployment import api_key_of, application
from factory.serving.fleet import APP


class Arguments(BaseModel):
    """What stands under `args` of the Serve config."""

    config: str
    """The path of a run's config, on the node that builds the application."""


def judges(arguments: Arguments) -> Any:
    """The Serve application of a config's judges. Serve's door is open to the network there, so they want a key.

    Raises:
        ConfigError: the config is wrong or has no judge of kind fleet, or there is no key.
    """
    config = load_config(arguments.config)
    fleet, members = config.evaluation.fleet, config.evaluation.fleet_judges
    if not members:
        raise ConfigError(f"config {arguments.config}: evaluation.judges has none of kind served")
    if not api_key_of(fleet):
        raise ConfigError(f"${fleet.api_key_env} holds no key; a fleet that others can reach needs one")
    # Serve listens where its own config says, not where the run's does.
    return application(fleet.model_copy(update={"host": "0.0.0.0"}), members, APP)
