"""The playground as its job runs it: models and keeper on Ray Serve, the page, and an end in good order."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from factory.job import Job
from factory.playground import vote_writer
from factory.playground.chat_models import Cast, cast_of, served, speakers
from factory.playground.server import opened, password_of
from factory.playground.session_controller import Stage
from factory.playground.votes_table import SETTINGS, counts_of, table_of
from factory.records import Counts
from factory.runtime import shutdown
from factory.serving import fleet
from factory.serving.deployment import api_key_of, wire_name
from factory.storage.manifest import Timing, build_manifest
from factory.storage.tables import compute_fingerprint

APP = "chat"


def serve_until_stopped(job: Job) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then close the table of votes.

    Raises:
        ConfigError: a port is taken, or the cluster serves something already.
        ModelError: a model does not start.
    """
    cast = cast_of(job.config)
    began, clock = datetime.now(UTC), time.monotonic()
    with suppress(KeyboardInterrupt), _on_serve(job, cast) as stage, opened(stage) as url:
        _welcome(job, cast, url)
        shutdown.wait_for_request()
    _close_table(job, Timing(began, time.monotonic() - clock, Counts()))


@contextmanager
def _on_serve(job: Job, cast: Cast) -> Iterator[Stage]:
    from ray import serve

    fleet.check_serve_is_free()  # here too: what is there is not to be taken down
    own, api = served(cast), job.config.chat.api
    try:
        url = ""
        if own:
            url = fleet.bring_up(api, own, job.progress, APP, "chat.models")
            job.progress.say(_api_line(job, cast, url))
        else:
            serve.start(proxy_location="Disabled")
        votes = vote_writer.bring_up(job.config.output)
        yield Stage(job.config, speakers(job.config, cast.members, url), cast.note, votes)
    finally:
        fleet.take_down(APP, vote_writer.APP)


def _api_line(job: Job, cast: Cast, url: str) -> str:
    api = job.config.chat.api
    key = f"the key is in ${api.api_key_env}" if api_key_of(api) else "no key is asked for"
    names = ", ".join(wire_name(member) for member in served(cast))
    return f"chat: OpenAI-compatible API at {url}, {key}; models {names}"


def _welcome(job: Job, cast: Cast, url: str) -> None:
    chat = job.config.chat
    if cast.note:
        job.progress.say(f"chat: {cast.note}")
    locked = f", user {chat.user!r} with the password in ${chat.password_env}" if password_of(chat) else ""
    job.progress.say(f"chat: ready at {url}{locked}; Ctrl-C ends it")


def _close_table(job: Job, timing: Timing) -> None:
    table = table_of(job.config.output)
    if not table.inputs():  # it did not come that far
        return
    counts = counts_of(table)
    fingerprint = compute_fingerprint(SETTINGS)
    manifest = build_manifest("feedback", counts.rows, counts, timing, fingerprint)
    table.finish(manifest)
    job.progress.done(manifest)
