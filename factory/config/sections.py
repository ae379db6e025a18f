"""Base classes and field types of the settings' sections."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values unchanged; raise ValueError if one occurs twice."""
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
"""Name of a corpus, candidate or judge; also used in names of tables and folders."""
HostName = Annotated[str, AfterValidator(_host_name)]
"""A DNS name or IPv4 address in lower case, without a port."""
Network = Annotated[str, AfterValidator(_network)]
"""An IP address or network. uvicorn would treat any other text as a host name that never matches, and `*` as all."""


class Section(BaseModel):
    """Base class of all sections: frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Sampling(Section):
    """Sampling parameters. The paper does not publish its values for synthesis.

    For an endpoint all but max_tokens may be null, which is not sent: reasoning models such as gpt-5 refuse them.
    """

    temperature: float | None = Field(0.6, ge=0)
    """Sampling temperature; Persona Hub's demo uses 0.6. null: the endpoint's own."""
    top_p: float | None = Field(0.95, gt=0, le=1)
    """Nucleus sampling; 1.0 is more than twice as fast on a CPU, because the vocabulary need not be sorted. null: the
    endpoint's own."""
    frequency_penalty: float | None = Field(0, ge=-2, le=2)
    """Above 0, tokens become less likely each time they occur; without it small models repeat themselves. 0 and null
    are not sent to an endpoint."""
    max_tokens: int = Field(2048, ge=1)
    """Maximum number of tokens in a reply, thoughts included; a reply cut there is rejected as `truncated`."""

    @property
    def nulls(self) -> list[str]:
        """The parameters that are not set."""
        return [name for name, value in self if value is None]
