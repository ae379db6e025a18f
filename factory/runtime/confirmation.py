"""What a run would set aside, told before it does anything; much of it only when asked to."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from factory.errors import UserError
from factory.runtime.progress import Progress
from factory.storage import archive
from factory.storage.archive import Change


class _UnreadError(Exception):
    """Ends a rehearsal whose input is still to be read: what follows depends on its rows."""


def rehearse(opens: Callable[[Callable[[], None]], object]) -> list[Change]:
    """Find what a job would set aside, without changing anything.

    Args:
        opens: the part of the job that opens its tables, one after the other. It calls the function that it is
            given where all input has been read, if that decides what follows.
    """
    with archive.rehearsing() as seen, suppress(_UnreadError):

        def check_read() -> None:
            if any(one.get("finished") is None for one in seen.manifests.values()):
                raise _UnreadError

        opens(check_read)
    return seen.changes


def archive_lines(changes: Sequence[Change]) -> list[str]:
    """Say what is set aside, a line each table."""
    return [f"Sets aside {one.rows:,} finished rows of {one.name}, as {one.why}" for one in changes]


def confirm_archiving(changes: Sequence[Change], output: str, limit: int, yes: bool, progress: Progress) -> None:
    """Ask before more rows than the limit are set aside, where there is somebody to ask.

    Raises:
        UserError: the answer is no, or nobody can be asked.
    """
    rows = sum(one.rows for one in changes)
    if yes or rows <= limit:
        return
    for line in archive_lines(changes):
        progress.say(line)
    if _is_attended() and progress.ask(f"{rows:,} rows are to be set aside and made anew. Go on? [y/N] "):
        return
    names = ", ".join(one.name for one in changes)
    raise UserError(
        f"output {output}: {rows:,} finished rows ({names}) would be set aside, more than confirm_above_rows "
        f"({limit:,}); give --yes to have them made anew, or take the settings back"
    )


def _is_attended() -> bool:
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ and sys.stdin is not None and sys.stdin.isatty()
