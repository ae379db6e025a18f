"""What the sections of the settings are made of."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    """The same values; ValueError where one comes twice."""
    if len(set(values)) < len(values):
        raise ValueError("name each once")
    return values


def _environment_name(value: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("give the name of an environment variable; its value, the secret, belongs into no config")
    return value


def _host_name(value: str) -> str:
    if not re.fullmatch("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", value):
        raise ValueError("give a name such as chat.example.com, in small letters and without a port")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as problem:
        raise ValueError(f"give an address or a network such as 10.0.0.0/8 ({problem})") from None
    return value


EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""Of a corpus, a candidate or a judge: it names tables and folders too."""
HostName = Annotated[str, AfterValidator(_host_name)]
"""A DNS name or an IPv4 address in small letters, without a port."""
Network = Annotated[str, AfterValidator(_network)]
"""An IP address or a network. uvicorn takes anything else for a name that no client has, and `*` for all."""


class Section(BaseModel):
    """A part of the tree: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Sampling(Section):
    """How tokens are drawn. The paper does not publish its values for synthesis."""

    temperature: float = Field(0.6, ge=0)
    """Persona Hub's own demo uses 0.6."""
    top_p: float = Field(0.95, gt=0, le=1)
    """1.0 is more than twice as fast on a CPU, where sorting the vocabulary is slow."""
    frequency_penalty: float = Field(0, ge=-2, le=2)
    """Above 0, what a reply has said often becomes less likely: small models loop without it."""
    max_tokens: int = Field(2048, ge=1)
    """The most tokens of one reply; a reply cut there is rejected as `truncated`."""
