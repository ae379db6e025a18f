"""The models of the playground, served here or behind an endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from factory.config import EndpointJudge, OpenAIEngine, RunConfig, ServedModel
from factory.errors import ConfigError
from factory.inference import model_files
from factory.inference.adapter_models import ADAPTERS
from factory.inference.chat_template import control_tokens
from factory.inference.locate import locate_model, locate_served
from factory.run_output import layout
from factory.serving.deployment import wire_name
from factory.serving.fleet import fleet_key_env
from factory.storage import file_io
from factory.training.dialogue import template_text

ChatModelSettings = ServedModel | EndpointJudge
TIMEOUT_S = 120
"""Maximum time between two parts of a reply of a model that is served here."""


@dataclass(frozen=True)
class ChatModel:
    """A model that the page can talk to."""

    name: str
    model: str
    """The model as given in the config."""
    endpoint: OpenAIEngine


@dataclass(frozen=True)
class ChatModels:
    """The settings of all models to show, and a note about a missing one."""

    settings: tuple[ChatModelSettings, ...]
    note: str = ""

    @property
    def served(self) -> list[ServedModel]:
        """The models that this factory serves itself."""
        return [model for model in self.settings if isinstance(model, ServedModel)]


def select_models(config: RunConfig) -> ChatModels:
    """Return the models in the config; by default the base model and, once it exists, the tuned one.

    Raises:
        ConfigError: `chat.profile_model` is not one of the models.
    """
    models = ChatModels(config.chat.models) if config.chat.models else _base_and_tuned(config)
    names = [model.name for model in models.settings]
    if config.chat.profile_model and config.chat.profile_model not in names:
        raise ConfigError(
            f"chat.profile_model is {config.chat.profile_model!r}, which does not exist; use {names[0]!r}"
        )
    return models


def _base_and_tuned(config: RunConfig) -> ChatModels:
    kwargs = dict(config.chat.engine_kwargs)
    training = config.training
    template = {}
    if text := template_text(training.chat_template):  # the tokenizer of a Base model has no template
        template["chat_template"] = text
    common = {
        "device": training.device,
        "max_concurrency": config.chat.max_concurrency,
        "chat_template_kwargs": training.chat_template_kwargs,
    }
    base = ServedModel(name="base", model=training.base_model, engine_kwargs=template | kwargs, **common)
    folder = file_io.join(config.output, layout.MODEL)
    if not any(file_io.exists(file_io.join(folder, name)) for name in ("config.json", ADAPTERS)):
        return ChatModels((base,), f"Base model only: there is no tuned model at {folder} yet (run make train).")
    return ChatModels((base, ServedModel(name="tuned", model=folder, engine_kwargs=kwargs, **common)))


def locate(model: ChatModelSettings) -> model_files.Located:
    """Find a model; send a small request to one behind an endpoint.

    Raises:
        ModelError: the model is not available.
        UnreachableError: its storage or endpoint does not respond.
    """
    if isinstance(model, ServedModel):
        return locate_served(model.model, model.engine_kwargs, model.chat_template_kwargs)
    return locate_model(model)


def build_chat_models(config: RunConfig, settings: Sequence[ChatModelSettings], url: str) -> list[ChatModel]:
    """Return the models as the page uses them.

    Args:
        config: the run's.
        settings: the settings of the models.
        url: the API of those that are served here.
    """
    return [ChatModel(model.name, model.model, _endpoint(config, model, url)) for model in settings]


def _endpoint(config: RunConfig, model: ChatModelSettings, url: str) -> OpenAIEngine:
    if isinstance(model, EndpointJudge):
        return model
    return OpenAIEngine(
        kind="openai",
        model=wire_name(model),
        base_url=url,
        api_key_env=fleet_key_env(config.chat.api),
        timeout_s=TIMEOUT_S,
        max_retries=2,
        special_tokens=control_tokens(model_files.fetch(model.model, weights=False)),
    )
