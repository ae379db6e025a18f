"""The playground's job: models and vote writer on Ray Serve, the page, and an orderly shutdown."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from factory.job import Job
from factory.playground import vote_writer
from factory.playground.chat_models import ChatModels, build_chat_models, select_models
from factory.playground.known_characters import known_characters
from factory.playground.server import page_password, serving
from factory.playground.session_controller import PlaygroundController
from factory.playground.votes_table import SETTINGS, complete_table, votes_table
from factory.records import Counts
from factory.runtime import shutdown
from factory.serving import fleet
from factory.serving.deployment import api_key_of, wire_name
from factory.storage.manifest import Timing
from factory.storage.schemas import FEEDBACK

APP = "chat"


def serve_until_stopped(job: Job) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then complete the table of votes.

    Raises:
        ConfigError: a port is taken, or the cluster's Serve is in use.
        ModelError: a model does not start.
    """
    models = select_models(job.config)
    began, clock = datetime.now(UTC), time.monotonic()
    with suppress(KeyboardInterrupt), _on_serve(job, models) as controller, serving(controller) as url:
        _print_welcome(job, models, url)
        shutdown.wait_for_request()
    timing = Timing(began, time.monotonic() - clock, Counts())
    complete_table(votes_table(job.config.output), SETTINGS, FEEDBACK, timing, job.progress)


@contextmanager
def _on_serve(job: Job, models: ChatModels) -> Iterator[PlaygroundController]:
    from ray import serve

    fleet.check_serve_is_free()  # outside of `try`: a Serve in use must not be taken down
    api = job.config.chat.api
    try:
        url = ""
        if models.served:
            url = fleet.bring_up(api, models.served, job.progress, APP, "chat.models")
            job.progress.print(_api_line(job, models, url))
        else:
            serve.start(proxy_location="Disabled")
        votes = vote_writer.deploy(job.config.output)
        chat_models = build_chat_models(job.config, models.settings, url)
        yield PlaygroundController(job.config, chat_models, models.note, votes, known_characters(job.config))
    finally:
        fleet.take_down(APP, vote_writer.APP)


def _api_line(job: Job, models: ChatModels, url: str) -> str:
    api = job.config.chat.api
    key = f"key in ${api.api_key_env}" if api_key_of(api) else "no key"
    names = ", ".join(wire_name(model) for model in models.served)
    return f"chat: OpenAI-compatible API at {url}, {key}; models {names}"


def _print_welcome(job: Job, models: ChatModels, url: str) -> None:
    chat = job.config.chat
    if models.note:
        job.progress.print(f"chat: {models.note}")
    login = f", user {chat.user!r}, password in ${chat.password_env}" if page_password(chat) else ""
    job.progress.print(f"chat: ready at {url}{login}; press Ctrl-C to stop")
