"""The job behind the page of labels: items drawn once, the page, and an orderly shutdown."""

import time
from contextlib import suppress
from datetime import UTC, datetime

from factory.config import RunConfig
from factory.evaluation.dry_run import check_listed
from factory.evaluation.labels.label_items import build_items, label_groups
from factory.extras import require_extra
from factory.job import Job
from factory.playground.label_controller import SETTINGS, LabelController, open_labels, read_items
from factory.playground.server import check_bind, page_password, serving
from factory.playground.votes_table import complete_table
from factory.records import Counts
from factory.runtime import shutdown
from factory.runtime.progress import Progress
from factory.storage.manifest import Timing
from factory.storage.schemas import LABELS


def check(config: RunConfig) -> None:
    """Check address, candidates and judges.

    Raises:
        UserError: the page could not start.
    """
    require_extra("the page of labels", "playground", "gradio")
    check_bind(config.chat)
    check_listed(config, "candidates", "judges")
    label_groups(config)


def plan(config: RunConfig, progress: Progress) -> None:
    """Print what is labeled, and where.

    Raises:
        UserError: as `check` does.
    """
    check(config)
    labels, names = config.labels, ", ".join(" and ".join(group) for group in label_groups(config))
    progress.print(
        f"{labels.answers:,} answers of {names}, {labels.raters} labels each, {labels.gold} known ones first"
    )
    progress.print(f"page: {config.chat.host} port {config.chat.port}, {_login(config)}")


def serve_labels(job: Job) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then complete the table of labels.

    Raises:
        UserError: the evaluation is not finished, or the port is taken.
    """
    items = read_items(build_items(job.config, job.progress))
    table = open_labels(job.config)
    began, clock = datetime.now(UTC), time.monotonic()
    with suppress(KeyboardInterrupt), serving(LabelController(job.config, items, table)) as url:
        job.progress.print(f"label: ready at {url}, {_login(job.config)}; press Ctrl-C to stop")
        shutdown.wait_for_request()
    timing = Timing(began, time.monotonic() - clock, Counts())
    complete_table(table, SETTINGS, LABELS, timing, job.progress)


def _login(config: RunConfig) -> str:
    chat = config.chat
    return f"user {chat.user!r}, password in ${chat.password_env}" if page_password(chat) else "no password"
