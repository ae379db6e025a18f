"""What one table holds of an id, and how that table was made."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.dataset as ds

from factory.config import RunConfig
from factory.run_output.layout import own_candidates
from factory.run_output.scan import Found, Place, State, Tables
from factory.text.redaction import redact_secrets, redact_urls

UNTOLD = {"work", "replies", "default", "kind"}
"""Settings that say nothing to a person: a hash of what went in, and replies that were given as data."""
TOLD = ("started", "finished", "rows_in", "ok", "git_commit", "versions")
"""What is told out of a manifest."""


@dataclass(frozen=True)
class Step:
    """One table on the way of an id.

    `total` and `reasons` count its rows of the id, `rows` has the first of them, without what is
    null. `settings` and `manifest` say how the table was made, `notes` what is odd about it. No
    text has a URL's password.
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
    steps: list[Step]


@dataclass(frozen=True)
class Reader:
    """Makes steps out of a run's tables."""

    config: RunConfig
    tables: Tables

    @property
    def limit(self) -> int:
        """The most rows of a step that are shown."""
        return self.config.attribution.rows

    def steps(
        self, step: str, pattern: str, where: ds.Expression | None, find: Callable[[Place], Found] | None = None
    ) -> list[Step]:
        """What the tables of a pattern hold.

        Args:
            step: what they are called.
            pattern: of their names.
            where: the rows of the id; None where it is not known.
            find: finds them otherwise than by `where`.
        """
        made = []
        for name in self.tables.named(pattern):
            place, found = self.tables[name], Found()
            if where is not None and place.shards:
                found = find(place) if find else place.find(where, self.limit)
            made.append(self.step(step, name, found))
        return made

    def step(self, step: str, name: str, found: Found, notes: Sequence[str] = ()) -> Step:
        """A table's step."""
        place = self.tables[name]
        settings = {key: value for key, value in place.settings.items() if key not in UNTOLD and value is not None}
        manifest = {key: place.manifest[key] for key in TOLD if key in place.manifest}
        odd = [*notes, *self._of_others(name), *self._own_model(name)]
        shown = redact_urls(found.rows), redact_secrets(settings), redact_secrets(manifest)
        return Step(step, name, place.state, found.total, found.reasons, *shown, odd)

    def _of_others(self, name: str) -> Iterator[str]:
        """Inputs that were made again since: what is there may not be what the rows come from."""
        for source, made in _inputs(name, self.tables[name].settings):
            manifest = self.tables[source].manifest
            there = [manifest.get("fingerprint"), manifest.get("finished")]
            if manifest and there[: len(made)] != made:
                yield f"it was made of an earlier {source} than is there now"

    def _own_model(self, name: str) -> Iterator[str]:
        if name in [f"evaluation/{candidate}/answers" for candidate in own_candidates(self.config)]:
            yield "by the model that this run trained"


def _inputs(name: str, settings: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The tables that a table was made of, each with its fingerprint and, where noted, when it was finished."""
    folder, _, last = name.rpartition("/")
    if name == "profiles" and "work" in settings:
        yield "personas", [settings["work"]]
    elif folder == "dialogues" and "work" in settings:
        yield f"assignments/{last.partition('-')[2]}", [settings["work"]]
    elif folder == "curated":
        yield from ((f"dialogues/{source}", list(made)) for source, _, *made in settings.get("sources", ()))
    elif folder == "packed" and "curated" in settings:
        yield f"curated/{last}", list(settings["curated"])
    elif name == "checkpoints":
        for split, made in zip(("train", "validation"), settings.get("packed", ()), strict=False):
            yield f"packed/{split}", list(made)
