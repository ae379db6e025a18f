"""Who speaks in the playground: models of the config, served here or behind an endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from factory.config import EndpointJudge, OpenAIEngine, RunConfig, ServedModel
from factory.errors import ConfigError
from factory.inference import model_files
from factory.inference.chat_template import control_tokens
from factory.inference.locate import locate_model, locate_served
from factory.serving.deployment import wire_name
from factory.serving.fleet import fleet_key_env
from factory.storage import file_io
from factory.training.dialogue import TEMPLATES

Member = ServedModel | EndpointJudge
ANSWER_WAIT_S = 120
"""The longest silence of an engine."""


@dataclass(frozen=True)
class Speaker:
    """A model that can be talked to."""

    name: str
    model: str
    """As the config names it."""
    endpoint: OpenAIEngine


@dataclass(frozen=True)
class Cast:
    """The models that are there, and what a person should know of those that are not."""

    members: tuple[Member, ...]
    note: str = ""


def cast_of(config: RunConfig) -> Cast:
    """The models that the config names, else the base model and, once it is trained, the tuned one.

    Raises:
        ConfigError: what was trained cannot be served, or the writer of profiles is none of them.
    """
    cast = Cast(config.chat.models) if config.chat.models else _base_and_tuned(config)
    names = [member.name for member in cast.members]
    if config.chat.profile_model and config.chat.profile_model not in names:
        raise ConfigError(
            f"chat.profile_model is {config.chat.profile_model!r}, which is not there; there is {names[0]!r}"
        )
    return cast


def _base_and_tuned(config: RunConfig) -> Cast:
    own = dict(config.chat.engine_kwargs)
    training = config.training
    template = {}
    if training.chat_template != "tokenizer":  # a Base model's tokenizer has none
        template["chat_template"] = Path(TEMPLATES, f"{training.chat_template}.jinja").read_text()
    made = {"device": training.device, "max_concurrency": config.chat.max_concurrency}
    base = ServedModel(name="base", model=training.base_model, engine_kwargs=template | own, **made)
    folder = file_io.join(config.output, "model")
    if file_io.exists(file_io.join(folder, "adapter_config.json")):
        raise ConfigError(
            f"{folder} holds adapters alone; train with training.lora.merge: true, or name what to serve in chat.models"
        )
    if not file_io.exists(file_io.join(folder, "config.json")):
        return Cast((base,), f"The base model alone: there is no tuned model at {folder} yet (`make train` makes it).")
    return Cast((base, ServedModel(name="tuned", model=folder, engine_kwargs=own, **made)))


def served(cast: Cast) -> list[ServedModel]:
    """The models that this factory serves itself."""
    return [member for member in cast.members if isinstance(member, ServedModel)]


def locate(member: Member) -> model_files.Located:
    """Find a model; an endpoint is asked whether it answers.

    Raises:
        ModelError: it cannot be had.
        UnreachableError: its place does not answer.
    """
    if isinstance(member, ServedModel):
        return locate_served(member.model, member.engine_kwargs)
    return locate_model(member)


def speakers(config: RunConfig, members: Sequence[Member], url: str) -> list[Speaker]:
    """The models as the page talks to them; those served here are at a URL."""
    return [Speaker(member.name, member.model, _endpoint(config, member, url)) for member in members]


def _endpoint(config: RunConfig, member: Member, url: str) -> OpenAIEngine:
    if isinstance(member, EndpointJudge):
        return member
    return OpenAIEngine(
        kind="openai",
        model=wire_name(member),
        base_url=url,
        api_key_env=fleet_key_env(config.chat.api),
        timeout_s=ANSWER_WAIT_S,
        max_retries=2,
        special_tokens=control_tokens(model_files.fetch(member.model, weights=False)),
    )
