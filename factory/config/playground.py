"""Who speaks on the page of `make chat`, and within which limits."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from factory.config.engines import EngineKwargs
from factory.config.evaluation import EndpointJudge, Fleet, ServedModel, judge_kind
from factory.config.sections import EnvironmentName, HostName, Name, Network, Sampling, Section

AnyChatModel = Annotated[
    Annotated[ServedModel | EndpointJudge, Field(discriminator="kind")], BeforeValidator(judge_kind)
]
"""Served as a judge is: by Ray Serve here (`kind: served`), or behind an endpoint (`kind: openai`)."""


class ReplySampling(Sampling):
    """How characters reply in the playground."""

    max_tokens: int = Field(512, ge=1)
    """The most tokens of a reply; a longer one ends there."""


class ChatApi(Fleet):
    """Where the playground's models listen: for the page, and for programs."""

    port: int = Field(7861, ge=0, le=65535)
    api_key_env: EnvironmentName = "CHAT_API_KEY"


class Chat(Section):
    """The playground (`make chat`)."""

    models: tuple[AnyChatModel, ...] = ()
    """Who speaks, side by side; left out: `training.base_model` as `base`, `<output>/model` as `tuned` once there."""
    engine_kwargs: EngineKwargs = Field(default_factory=dict)
    """Passed to vLLM for these two."""
    profile_model: Name | None = None
    """Which of the models writes the profiles; null: the first one."""
    attempts: int = Field(3, ge=1)
    """How often a profile is asked for until it can be read."""
    sampling: ReplySampling = ReplySampling()
    persona_characters: int = Field(500, ge=1)
    """The longest description of a character."""
    message_characters: int = Field(4000, ge=1)
    requests_per_minute: int = Field(20, ge=1)
    """Profiles and messages that one address may ask for."""
    max_concurrency: int = Field(16, ge=1)
    """Texts that are written at one time, for all sessions; a message to two models takes two."""
    host: str = "127.0.0.1"
    """Another than loopback opens the page to the network, and then it wants a password."""
    port: int = Field(7860, ge=0, le=65535)
    """0 takes a free one."""
    user: str = Field("player", min_length=1)
    password_env: EnvironmentName = "CHAT_PASSWORD"
    """The environment variable that holds the page's password; on loopback none is needed."""
    allowed_hosts: tuple[HostName, ...] = ()
    """The names by which the page may be asked for, such as that of a TLS proxy before it. Left out: on loopback its
    own names alone, since web pages would reach it by names of theirs; elsewhere, where it has a password, any name."""
    proxies: tuple[Network, ...] = ()
    """Addresses or networks of the TLS proxies before it; what they say of their clients' addresses is believed."""
    api: ChatApi = ChatApi()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models names {name!r} twice; give each its own name")
        if self.profile_model and self.profile_model not in (names or ["base", "tuned"]):
            raise ValueError(f"profile_model is {self.profile_model!r}, which is none of {names or ['base', 'tuned']}")
        if self.max_concurrency < max(2, len(names)):
            raise ValueError(f"max_concurrency is {self.max_concurrency}, less than the models that reply to a message")
        return self
