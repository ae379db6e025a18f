"""Settings of the playground page (`make chat`): models, limits, address."""

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
    """Sampling of replies in the playground."""

    max_tokens: int = Field(512, ge=1)
    """Maximum number of tokens in a reply; a longer one is cut there."""


class ChatApi(Fleet):
    """The API of the playground's models, for the page and for other programs."""

    port: int = Field(7861, ge=0, le=65535)
    api_key_env: EnvironmentName = "CHAT_API_KEY"


class Chat(Section):
    """The playground (`make chat`)."""

    models: tuple[AnyChatModel, ...] = ()
    """The models to show side by side. Default: `training.base_model` as `base` and `<output>/model`, once it
    exists, as `tuned`, both with `training.chat_template_kwargs`."""
    engine_kwargs: EngineKwargs = Field(default_factory=dict)
    """vLLM arguments for the two default models."""
    profile_model: Name | None = None
    """Name of the model that writes the profiles; null: the first one."""
    attempts: int = Field(3, ge=1)
    """Maximum number of tries to get a valid profile."""
    sampling: ReplySampling = ReplySampling()
    persona_characters: int = Field(500, ge=1)
    """Maximum length of a character's description, in characters."""
    message_characters: int = Field(4000, ge=1)
    """Maximum length of a message, in characters."""
    requests_per_minute: int = Field(20, ge=1)
    """Maximum number of profiles and messages per client address and minute."""
    max_concurrency: int = Field(16, ge=1)
    """Maximum number of texts generated at the same time, over all sessions; a message to two models counts as two."""
    host: str = "127.0.0.1"
    """The address to listen on. Any address other than loopback opens the page to the network and needs a password."""
    port: int = Field(7860, ge=0, le=65535)
    """0: any free port."""
    user: str = Field("player", min_length=1)
    """The user name of the page's login."""
    password_env: EnvironmentName = "CHAT_PASSWORD"
    """The environment variable that holds the page's password; not needed on loopback."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Host names that requests may use, such as the name of a TLS proxy in front of the page. Default: on loopback only
    the loopback names (against DNS rebinding by web pages); elsewhere, where a password protects it, any name."""
    proxies: tuple[Network, ...] = ()
    """Addresses or networks of TLS proxies in front of the page, whose `X-Forwarded-For` headers are trusted."""
    api: ChatApi = ChatApi()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models contains the name {name!r} twice; give each model its own name")
        if self.profile_model and self.profile_model not in (names or ["base", "tuned"]):
            raise ValueError(f"profile_model is {self.profile_model!r}, which is not in {names or ['base', 'tuned']}")
        if self.max_concurrency < max(2, len(names)):
            raise ValueError(f"max_concurrency is {self.max_concurrency}, below the number of models")
        return self
