"""The rows of one table that belong to an id, and how that table was built."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.dataset as ds

from factory.config import RunConfig
from factory.run_output import layout
from factory.run_output.layout import SPLITS, TableKind, own_candidates
from factory.run_output.scan import Matches, RunTables, State, TableFiles
from factory.text.redaction import redact_secrets, redact_urls

HIDDEN_SETTINGS = {"work", "replies", "default", "kind"}
"""Settings without meaning for a reader: a hash of the input, and replies that were given as data."""
MANIFEST_KEYS = ("started", "finished", "rows_in", "ok", "git_commit", "versions")


@dataclass(frozen=True)
class LineageStep:
    """One table on the path of an id.

    `total` and `reasons` count its rows of the id; `rows` has the first of them, without null values.
    `settings` and `manifest` describe how the table was built, `notes` has warnings. No text has a URL's password.
    """

    step: str
    table: str
    state: State
    total: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lineage:
    """All steps of an id, in the order in which the data flows."""

    id: str
    kinds: tuple[str, ...]
    output: str
    steps: list[LineageStep]


@dataclass(frozen=True)
class LineageReader:
    """Reads the steps of a lineage from a run's tables."""

    config: RunConfig
    tables: RunTables

    @property
    def limit(self) -> int:
        """The maximum number of rows to show per step."""
        return self.config.attribution.rows

    def steps(
        self,
        step: str,
        kind: TableKind,
        where: ds.Expression | None,
        find: Callable[[TableFiles], Matches] | None = None,
    ) -> list[LineageStep]:
        """Return a step for each table of a kind.

        Args:
            step: the name of the steps.
            kind: the kind of the tables.
            where: the filter for the rows of the id; None if the id is not known.
            find: a function that finds the rows, in place of `where`.
        """
        steps = []
        for name in self.tables.names(kind):
            files, matches = self.tables[name], Matches()
            if where is not None and files.shards:
                matches = find(files) if find else files.find(where, self.limit)
            steps.append(self.step(step, name, matches))
        return steps

    def step(self, step: str, name: str, matches: Matches, notes: Sequence[str] = ()) -> LineageStep:
        """Return the step of one table."""
        files = self.tables[name]
        settings = {
            key: value for key, value in files.settings.items() if key not in HIDDEN_SETTINGS and value is not None
        }
        manifest = {key: files.manifest[key] for key in MANIFEST_KEYS if key in files.manifest}
        warnings = [*notes, *self._stale_inputs(name), *self._own_model(name)]
        shown = redact_urls(matches.rows), redact_secrets(settings), redact_secrets(manifest)
        return LineageStep(step, name, files.state, matches.total, matches.reasons, *shown, warnings)

    def _stale_inputs(self, name: str) -> Iterator[str]:
        """Yield a note for each input that was built again since, so that the rows may come from another one."""
        for source, used in _inputs(name, self.tables[name].settings):
            manifest = self.tables[source].manifest
            current = [manifest.get("fingerprint"), manifest.get("finished")]
            if manifest and current[: len(used)] != used:
                yield f"it was built from an earlier {source} than the current one"

    def _own_model(self, name: str) -> Iterator[str]:
        parts = layout.ANSWERS.parts(name)
        if parts and parts["candidate"] in own_candidates(self.config):
            yield "by the model that this run trained"


def _inputs(name: str, settings: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the input tables of a table, each with its fingerprint and, if recorded, when it was finished."""
    if layout.PROFILES.parts(name) is not None:
        for source, key in ((layout.PERSONAS, "work"), (layout.GIVEN_PROFILES, "given")):
            if key in settings:
                yield source.name(), [settings[key]]
    elif (parts := layout.DIALOGUES.parts(name)) and "work" in settings:
        yield layout.ASSIGNMENTS.name(corpus=parts["corpus"]), [settings["work"]]
    elif layout.CURATED.parts(name):
        yield from ((f"dialogues/{source}", list(used)) for source, _, *used in settings.get("sources", ()))
    elif (parts := layout.PACKED.parts(name)) and "curated" in settings:
        yield layout.CURATED.name(**parts), list(settings["curated"])
    elif layout.CHECKPOINTS.parts(name) is not None:
        for split, used in zip(SPLITS, settings.get("packed", ()), strict=False):
            yield layout.PACKED.name(split=split), list(used)
