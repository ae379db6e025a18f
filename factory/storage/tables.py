"""Records to Parquet and back: a table is a folder of shards and, once it is whole, a manifest.

    <table>/.settings.json      fingerprint of the settings and inputs that its shards are made of
    <table>/<shard>.parquet     a few dozen to a few thousand rows
    <table>/.manifest.json      written last: no manifest, not finished

A shard is the unit of work: it is written whole under a name that its rows decide, so writing it
twice changes nothing. That is what makes a killed run resume exactly once: the shards that are
there are done, the others are not. A table whose fingerprint differs is moved aside, not mixed, and
comes back when its settings do. What cannot be read any more counts as not there. Whatever is no row
begins with `.`: Arrow and what is built on it pass over `_` too, but `datasets` reads that as rows.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from factory.errors import DamagedError, TableError
from factory.records import (
    Answer,
    Assignment,
    Completion,
    Counts,
    Dialogue,
    Example,
    Feedback,
    GeneralItem,
    GeneralResult,
    Instruction,
    Judgment,
    Message,
    Persona,
    PersonaQuestions,
    PersonaSettings,
    PersonaTask,
    Preference,
    Profile,
    Question,
    Reject,
    Score,
    ScoreExamples,
)
from factory.storage import archive, file_io, folder_moves
from factory.text.normalize import shortened
from factory.text.redaction import redact_secrets

Row = Mapping[str, Any]
Record = TypeVar("Record")

MANIFEST = ".manifest.json"
SETTINGS = ".settings.json"
SUFFIX = ".parquet"
REJECTED = "rejected-"
"""How shards begin in which input stands that was refused on reading."""
DAMAGED = ".damaged/"
"""Where shards lie, in the table's folder, that could not be read."""
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises of a file that is not what was written."""
MIN_SHARD_ROWS = 16
MAX_SHARD_ROWS = 4096
MANY = 1 << 40
"""More rows than a table has: of one that is still to be made, nobody knows how many."""
CHANGES = 5
"""So many changed settings are told of a table that begins anew."""
DETAIL_CHARACTERS = 20_000
"""A reply of 4,000 tokens is shown whole where it is rejected; what is longer was never meant to be a reply."""
SHARDS = 1024
"""About so many shards a table: enough to spread over a hundred engines, few enough to list."""

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    Score: pa.int8(),
    str | None: pa.string(),
    bool | None: pa.bool_(),
    int | None: pa.int32(),
    float | None: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[Message, ...]: pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
}

COMMON_COLUMNS = [
    pa.field("status", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
    pa.field("prompt", pa.string()),
    pa.field("model", pa.string()),
    pa.field("prompt_tokens", pa.int32()),
    pa.field("output_tokens", pa.int32()),
    pa.field("cached_tokens", pa.int32()),
]
"""What every table ends in. `cached_tokens` are the prompt tokens served from the prefix cache."""


def schema_of(record: type) -> pa.Schema:
    """The Arrow schema of a record's fields."""
    return pa.schema([pa.field(f.name, _ARROW_TYPES[f.type]) for f in dataclasses.fields(record)])


def with_common_columns(schema: pa.Schema) -> pa.Schema:
    """A schema followed by the common columns."""
    return pa.schema([*schema, *COMMON_COLUMNS])


SOURCE_COLUMNS = [pa.field("source", pa.int64()), pa.field("row", pa.int64())]
PERSONAS = with_common_columns(pa.schema([*schema_of(Persona), *SOURCE_COLUMNS]))
INSTRUCTIONS = with_common_columns(schema_of(Instruction))
ASSIGNMENTS = schema_of(Assignment)
PROFILES = with_common_columns(schema_of(Profile))
DIALOGUES = with_common_columns(schema_of(Dialogue))
EXAMPLES = with_common_columns(schema_of(Example))
PERSONA_SETTINGS = with_common_columns(schema_of(PersonaSettings))
PERSONA_TASKS = schema_of(PersonaTask)
PERSONA_QUESTIONS = with_common_columns(schema_of(PersonaQuestions))
QUESTIONS = with_common_columns(schema_of(Question))
ANSWERS = with_common_columns(schema_of(Answer))
SCORE_EXAMPLES = with_common_columns(schema_of(ScoreExamples))
JUDGMENTS = with_common_columns(schema_of(Judgment))
PREFERENCES = with_common_columns(schema_of(Preference))
GENERAL_ITEMS = with_common_columns(schema_of(GeneralItem))
GENERAL_RESULTS = with_common_columns(schema_of(GeneralResult))
FEEDBACK = with_common_columns(schema_of(Feedback))


def ok_row(record: Any, completion: Completion | None = None, **made_with: str) -> dict[str, Any]:
    """The row of a record, with the tokens that it took and the `prompt` and `model` that made it."""
    # Not dataclasses.asdict: it copies deeply, and a million rows feel that.
    row = {name: getattr(record, name) for name in record.__slots__}
    if "messages" in row:
        row["messages"] = [{"role": m.role, "content": m.content} for m in row["messages"]]
    return row | {"status": "ok"} | made_with | _token_counts(completion)


def rejected_row(reject: Reject, ids: Row, completion: Completion | None = None, **made_with: str) -> dict[str, Any]:
    """The row of a reject: its ids, the reason and the raw text; all else is null."""
    # Parquet holds UTF-8: what is not (lone surrogates) is kept readable.
    detail = shortened(reject.detail, DETAIL_CHARACTERS).encode("utf-8", "backslashreplace").decode()
    told = {"status": "rejected", "reason": reject.reason, "detail": detail}
    return dict(ids) | told | made_with | _token_counts(completion)


def _token_counts(completion: Completion | None) -> dict[str, int]:
    if completion is None:
        return {}
    return {
        "prompt_tokens": completion.prompt_tokens,
        "output_tokens": completion.output_tokens,
        "cached_tokens": completion.cached_tokens,
    }


def to_record(record_type: type[Record], row: Row) -> Record:
    """Return the record of a row; fields with a default may be missing from the row."""
    fields = dataclasses.fields(record_type)  # type: ignore[arg-type]
    return record_type(**{field.name: _to_field(row[field.name]) for field in fields if field.name in row})


def _to_field(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(Message(item["role"], item["content"]) if isinstance(item, dict) else item for item in value)


def to_messages(row: Row) -> tuple[Message, ...]:
    """The `messages` column of a row as records."""
    return tuple(Message(m["role"], m["content"]) for m in row["messages"])


def count_rows(table: pa.Table) -> Counts:
    """The accounts of some rows with the common columns."""
    status, reason = table["status"].to_pylist(), table["reason"].to_pylist()
    reasons = [r for s, r in zip(status, reason, strict=True) if s != "ok"]
    totals = [pa.compute.sum(table[name]).as_py() or 0 for name in ("prompt_tokens", "output_tokens", "cached_tokens")]
    return Counts(len(status) - len(reasons), {r: reasons.count(r) for r in sorted(set(reasons))}, *totals)


def compute_fingerprint(settings: Mapping[str, Any]) -> str:
    """A hash of settings, the same for the same settings whatever their order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def rows_per_shard(rows: int) -> int:
    """How many rows a shard should hold in a table of so many."""
    return min(max(rows // SHARDS, MIN_SHARD_ROWS), MAX_SHARD_ROWS)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table by its place: the run's output folder and the table's path in it."""

    output: str
    name: str

    @property
    def path(self) -> str:
        """The table's folder."""
        return file_io.join(self.output, self.name)

    def manifest(self) -> dict[str, Any] | None:
        """What the finished table says of itself; None where it is not finished."""
        if (seen := archive.rehearsal()) and self.path in seen.manifests:
            return seen.manifests[self.path]
        return self._document(MANIFEST) or None

    def settings(self) -> dict[str, Any] | None:
        """The settings and inputs that its shards are made of; None where it was never begun."""
        begun = self._begun()
        return begun and begun["settings"]

    def _begun(self) -> dict[str, Any] | None:
        begun = self._document(SETTINGS)
        is_ours = isinstance(begun.get("fingerprint"), str) and isinstance(begun.get("settings"), dict)
        return begun if is_ours else None

    def _document(self, name: str) -> dict[str, Any]:
        return file_io.read_document(file_io.join(self.path, name)) or {}

    def begin(
        self, fingerprint: str, settings: Mapping[str, Any], say: Callable[[str], object] = lambda line: None
    ) -> None:
        """Open the table for these settings; one made with others moves to `superseded/`, and `say` is told why.

        What there is of a table with the same fingerprint stays, or comes back from there.
        """
        if seen := archive.rehearsal():
            self._rehearse(seen, fingerprint, settings)
            return
        folder_moves.settle(self.output, self.name, MANIFEST)
        before = self._begun()
        if before and before["fingerprint"] == fingerprint:
            return
        if self._is_empty():
            file_io.delete_folder(self.path)
        else:
            made_with = before["fingerprint"] if before else archive.UNKNOWN
            why = _why_anew(before, settings)
            place = archive.archive_folder(self.output, self.name, made_with, MANIFEST)
            say(f"{self.name}: begins anew, as {why}; the old one is in {place}")
        if kept := self.kept(fingerprint):
            folder_moves.move_folder(self.output, kept.name, self.name, MANIFEST)
            say(f"{self.name}: was made with these settings before, and is taken back from {kept.path}")
            return
        document = {"fingerprint": fingerprint, "settings": settings}
        file_io.write_bytes(file_io.join(self.path, SETTINGS), _pretty(document))

    def _rehearse(self, seen: archive.Rehearsal, fingerprint: str, settings: Mapping[str, Any]) -> None:
        before, there = self._begun(), self._document(MANIFEST)
        now = there
        if not before or before["fingerprint"] != fingerprint:
            if rows := self.rows_written():
                seen.changes.append(archive.Change(self.name, rows, _why_anew(before, settings)))
            kept = self.kept(fingerprint)
            now = kept._document(MANIFEST) if kept else {}
        if not now:
            now = {"fingerprint": fingerprint, "finished": None, "ok": MANY, "rows_in": MANY, "rejected": {}}
            if before and there and there.get("fingerprint") != before["fingerprint"]:
                # Of input the fingerprint is that of its rows, which may be the same in other files.
                now |= {name: there.get(name) for name in ("fingerprint", "finished")}
        seen.manifests[self.path] = now

    def rows_written(self) -> int:
        """Count the rows that are there: by the manifest, or where it is not finished by its shards."""
        if manifest := self._document(MANIFEST):
            return int(manifest.get("rows_in", 0))
        fs, name = file_io.filesystem(self.path)

        def rows(shard: str) -> int:
            with fs.open(file_io.join(name, shard + SUFFIX), "rb") as file:
                try:
                    return int(pq.ParquetFile(file).metadata.num_rows)
                except UNREADABLE:
                    return 0

        with file_io.storage_errors(self.path), ThreadPoolExecutor(file_io.AT_ONCE) as pool:
            return sum(pool.map(rows, self.shards()))

    def kept(self, fingerprint: str) -> "Table | None":
        """What was set aside of this table with a fingerprint: a finished one, or that which has most shards."""
        names = archive.archived_folders(self.output, self.name, fingerprint, MANIFEST)
        there = [Table(self.output, name) for name in names]
        found = [table for table in there if table._is_made_with(fingerprint)]
        return max(found, key=lambda table: (table.manifest() is not None, len(table.shards())), default=None)

    def _is_made_with(self, fingerprint: str) -> bool:
        begun = self._begun()
        return bool(begun and begun["fingerprint"] == fingerprint)

    def _is_empty(self) -> bool:
        """Whether nothing was written but settings, and what a kill left of writing them."""
        if not file_io.exists(self.path):
            return True
        return all(name == SETTINGS or name.endswith(file_io.DRAFT) for name in file_io.sizes(self.path))

    def finish(self, manifest: Mapping[str, Any], repeatable: bool = False) -> None:
        """Write the manifest: from now on the table is whole.

        Args:
            manifest: what the table says of itself.
            repeatable: whether making it again makes the same rows. It then has the time at which it was finished
                before a shard of it was damaged, so that what was made of it stays.
        """
        former = file_io.read_document(file_io.join(self.path, DAMAGED + MANIFEST)) or {}
        if repeatable and former.get("fingerprint") == manifest["fingerprint"]:
            manifest = {**manifest, "finished": former.get("finished", manifest["finished"])}
        file_io.write_bytes(file_io.join(self.path, MANIFEST), _pretty(manifest))

    def shards(self) -> list[str]:
        """The sorted names of the shards that are there, those of rejected input apart."""
        names = file_io.list_names(self.path, SUFFIX)
        return [name.removesuffix(SUFFIX) for name in names if not name.startswith(REJECTED)]

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a shard.

        Raises:
            DamagedError: it is not what was written.
        """
        path = file_io.join(self.path, shard + SUFFIX)
        data = file_io.read_bytes(path)
        try:
            return pq.read_table(io.BytesIO(data), columns=columns, page_checksum_verification=True)
        except UNREADABLE as problem:
            raise DamagedError.of(path, problem) from None

    def drop_damaged(self, shard: str) -> None:
        """Take a shard that cannot be read out of the table, which is not finished then; it stays in `.damaged/`."""
        for name in (MANIFEST, shard + SUFFIX):
            path = file_io.join(self.path, name)
            if (content := file_io.read_if_there(path)) is not None:
                file_io.write_bytes(file_io.join(self.path, DAMAGED + name), content)
                file_io.delete_file(path)

    def write(self, shard: str, rows: Iterable[Row], schema: pa.Schema) -> Counts:
        """Write a shard, whole or not at all; rows lack what is null."""
        table = pa.Table.from_pylist(list(rows), schema=schema)
        self.write_arrow(shard, table)
        return count_rows(table)

    def write_arrow(self, shard: str, rows: pa.Table) -> None:
        """Write a shard that is an Arrow table already."""
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
        file_io.write_bytes(file_io.join(self.path, shard + SUFFIX), buffer.getvalue())

    def check_complete(self, counts: Counts, rows_in: int) -> None:
        """Accepted and rejected rows add up to the rows that went in.

        Raises:
            TableError: they do not; the manifest must not be written.
        """
        if counts.rows != rows_in:
            raise TableError(
                f"{self.path}: {rows_in} rows went in, "
                f"{counts.ok} accepted and {counts.rows - counts.ok} rejected came out"
            )


@dataclasses.dataclass(frozen=True)
class JoinedTable(Table):
    """A finished table of work, read with a column of another one that has the same shards.

    A row finds the other table's accepted row whose `other_key` is its `key`; where there is none
    the column is null. Rows are sorted by `order` where it is named.
    """

    other: Table
    key: str
    other_key: str
    column: str
    order: str

    @classmethod
    def of(
        cls, table: Table, other: Table, key: str, column: str, other_key: str | None = None, order: str = ""
    ) -> "JoinedTable":
        """Put another table's column beside a table's."""
        return cls(table.output, table.name, other, key, other_key or key, column, order)

    def manifest(self) -> dict[str, Any] | None:
        """The table's own, with a fingerprint of both: what was sampled anew under the same settings is another."""
        both = [super().manifest(), self.other.manifest()]
        if None in both:
            return None
        made = [[one["fingerprint"], one["finished"]] for one in both if one]
        return (both[0] or {}) | {"fingerprint": compute_fingerprint({"made": made})}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a shard, all columns of the table and the one of the other."""
        rows = super().read(shard)
        there = self.other.read(shard, [self.other_key, "status", self.column])
        there = there.filter(pa.compute.equal(there["status"], "ok")).combine_chunks()
        found = pa.compute.index_in(rows[self.key], there[self.other_key])
        rows = rows.append_column(there.schema.field(self.column), there[self.column].take(found))
        return rows.sort_by(self.order) if self.order else rows


def _why_anew(before: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    return _changes(before["settings"], settings) if before else f"its {SETTINGS} cannot be read"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which settings differ, in a line."""
    old, new = (dict(_leaves("", json.loads(json.dumps(redact_secrets(one))))) for one in (before, now))
    told = [
        f"{name} was {_short(old.get(name))} and is {_short(new.get(name))}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]
    return ", ".join(told[:CHANGES] + [f"{len(told) - CHANGES} more differ"] * (len(told) > CHANGES))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(f"{name}.{key}" if name else key, one)
    else:
        yield name, value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _pretty(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(redact_secrets(document), indent=2, ensure_ascii=False) + "\n").encode()
