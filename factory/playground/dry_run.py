"""What the playground would stop at, and what it would serve."""

from factory.config import RunConfig
from factory.inference.prompts import load_prompt
from factory.playground.chat_models import cast_of, locate, served
from factory.playground.server import check_door, password_of
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet, cpus_of

SPARE_CPUS = 2
"""For what stands beside the models."""


def local_cpus(config: RunConfig) -> int:
    """The CPUs, in name, of a Ray that this machine starts for the playground."""
    return SPARE_CPUS + int(cpus_of(served(cast_of(config))))


def check(config: RunConfig) -> None:
    """Check doors, models and prompts.

    Raises:
        UserError: what would not work.
    """
    check_door(config.chat)
    check_fleet(config.chat.api, "chat.api")
    for name in ("profile", "training-system"):
        load_prompt(name, config.prompts_dir)
    for member in cast_of(config).members:
        locate(member)


def plan(config: RunConfig, progress: Progress) -> None:
    """Say who would speak, and where.

    Raises:
        UserError: as `check` does.
    """
    check(config)
    chat, cast = config.chat, cast_of(config)
    for member in cast.members:
        located = locate(member)
        progress.say(f"{member.name}: {located.ref} (revision {located.revision})")
    if cast.note:
        progress.say(cast.note)
    locked = f"user {chat.user!r} and the password in ${chat.password_env}" if password_of(chat) else "no password"
    progress.say(f"page: {chat.host} port {chat.port}, {locked}; API: {chat.api.host} port {chat.api.port}")
    progress.say(
        f"limits: descriptions of {chat.persona_characters:,} and messages of {chat.message_characters:,} characters, "
        f"replies of {chat.sampling.max_tokens:,} tokens, {chat.requests_per_minute} requests a minute and address, "
        f"{chat.max_concurrency} texts at once"
    )
