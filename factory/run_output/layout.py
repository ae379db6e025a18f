"""Where the tables of a run stand: what it trains on may be another run's (`training.data`)."""

from factory.config import RunConfig
from factory.storage import file_io

OWN = ("packed/", "checkpoints", "evaluation/")
"""What stands in a run's own output even then."""


def is_of_data(name: str) -> bool:
    """Whether a table, or a file of one, is what a run trains on or was made on the way there."""
    return not name.startswith(OWN)


def own_model(config: RunConfig) -> str:
    """Where the model is that the run trains, as a candidate names it."""
    return file_io.join(config.output, "model")


def own_candidates(config: RunConfig) -> list[str]:
    """The candidates that are the model that the run trains."""
    return [one.name for one in config.evaluation.candidates if one.model == own_model(config)]
