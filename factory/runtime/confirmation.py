"""Asks for confirmation before a run archives many finished rows."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from factory.errors import UserError
from factory.runtime.progress import Progress
from factory.storage import archive
from factory.storage.archive import Change, Rehearsal


class _UnreadInputError(Exception):
    """Ends a rehearsal whose input has not been read yet: the rest depends on its rows."""


def rehearse(opens: Callable[[Callable[[], None]], object]) -> Rehearsal:
    """Find what a job would archive and whether its tables are finished, without changing anything.

    Args:
        opens: the part of the job that opens its tables, one after the other. It calls the given function
            where all input has been read, if the rest depends on it.
    """
    with archive.rehearsing() as rehearsal, suppress(_UnreadInputError):

        def check_read() -> None:
            if any(manifest.get("finished") is None for manifest in rehearsal.manifests.values()):
                raise _UnreadInputError

        opens(check_read)
    return rehearsal


def archive_lines(changes: Sequence[Change]) -> list[str]:
    """Return a line per table that a run would archive."""
    return [f"Archives {change.rows:,} finished rows of {change.name}, because {change.why}" for change in changes]


def confirm_archiving(changes: Sequence[Change], output: str, limit: int, yes: bool, progress: Progress) -> None:
    """Ask before more rows than the limit are archived, if there is a terminal.

    Raises:
        UserError: the answer is no, or there is no terminal.
    """
    rows = sum(change.rows for change in changes)
    if yes or rows <= limit:
        return
    for line in archive_lines(changes):
        progress.print(line)
    if _is_attended() and progress.ask(f"{rows:,} rows will be archived and generated again. Continue? [y/N] "):
        return
    names = ", ".join(change.name for change in changes)
    raise UserError(
        f"output {output}: {rows:,} finished rows ({names}) would be archived, more than confirm_above_rows "
        f"({limit:,}); give --yes to generate them again, or restore the settings"
    )


def _is_attended() -> bool:
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ and sys.stdin is not None and sys.stdin.isatty()
