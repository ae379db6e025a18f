"""Checks of the playground before it starts, and its dry run."""

from factory.config import RunConfig
from factory.extras import require_extra
from factory.inference.prompts import load_prompt, own_prompts
from factory.playground.chat_models import locate, select_models
from factory.playground.server import check_bind, page_password
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet, cpus_of

PROMPTS = ("profile", "training-system")
SPARE_CPUS = 2
"""For all processes other than the models."""


def local_cpus(config: RunConfig) -> int:
    """Return the nominal number of CPUs of a Ray that this machine starts for the playground."""
    return SPARE_CPUS + int(cpus_of(config.chat.api, select_models(config).served))


def check(config: RunConfig) -> None:
    """Check addresses, models and prompts.

    Raises:
        UserError: the playground could not start.
    """
    require_extra("the playground", "playground", "gradio")
    check_bind(config.chat)
    check_fleet(config.chat.api, "chat.api")
    for name in PROMPTS:
        load_prompt(name, config.prompt_places)
    for model in select_models(config).settings:
        locate(model)


def plan(config: RunConfig, progress: Progress) -> None:
    """Print models, addresses and limits.

    Raises:
        UserError: as `check` does.
    """
    check(config)
    chat, models = config.chat, select_models(config)
    for model in models.settings:
        located = locate(model)
        progress.print(f"{model.name}: {located.ref} (revision {located.revision})")
    if models.note:
        progress.print(models.note)
    for line in own_prompts(PROMPTS, config.prompt_places):
        progress.print(line)
    login = f"user {chat.user!r}, password in ${chat.password_env}" if page_password(chat) else "no password"
    progress.print(f"page: {chat.host} port {chat.port}, {login}; API: {chat.api.host} port {chat.api.port}")
    progress.print(
        f"limits: {chat.persona_characters:,} characters per description, {chat.message_characters:,} per message, "
        f"{chat.sampling.max_tokens:,} tokens per reply, {chat.requests_per_minute} requests per minute and address, "
        f"{chat.max_concurrency} texts at the same time"
    )
