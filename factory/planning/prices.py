"""The price table: a YAML file with a date; check it before relying on it."""

import datetime
from typing import Literal

from pydantic import Field, ValidationError

from factory.config import Gpus, Section, yaml12
from factory.errors import ConfigError
from factory.resources import RESOURCES
from factory.storage.file_io import join

TABLE = join(str(RESOURCES), "cluster", "prices.yaml")


class GpuPrice(Section):
    """Price of a GPU per hour, with its part of the machine, and its speed."""

    on_demand: float = Field(ge=0)
    spot: float | None = Field(None, ge=0)
    bf16_tflops: float = Field(gt=0)
    """Dense bfloat16 operations per second, in 10^12."""


class Prices(Section):
    """Prices in US dollars, as those of endpoints are."""

    date: datetime.date
    note: str
    currency: Literal["USD"] = "USD"
    gpu_hours: dict[str, GpuPrice] = Field(min_length=1)
    storage_gib_month: float = Field(ge=0)

    def gpus(self, kinds: Gpus) -> dict[str, GpuPrice]:
        """Return the prices of the GPUs of each part of a run.

        Raises:
            ConfigError: the table does not have one of them.
        """
        named, known = kinds.model_dump(), ", ".join(self.gpu_hours)
        for kind in named.values():
            if kind not in self.gpu_hours:
                message = f"planning.gpu is {kind!r}: the price table has {known}; name one of them, or add yours"
                raise ConfigError(message)
        return {part: self.gpu_hours[kind] for part, kind in named.items()}


def read_prices(path: str | None) -> Prices:
    """Read a price table; None is the project's own.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    path = path or TABLE
    try:
        return Prices.model_validate(yaml12.read(path))
    except OSError as problem:
        raise ConfigError(f"planning.prices {path}: {problem.strerror}; name a price table (YAML)") from None
    except yaml12.YamlError as problem:
        raise ConfigError(f"planning.prices {path}: not YAML: {problem}") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(
            f"planning.prices {path}: {where}: {message}; see cluster/prices.yaml for the format"
        ) from None
