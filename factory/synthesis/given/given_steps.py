"""The steps of given profiles: `profiles.source` to accepted rows of the profiles table."""

import itertools
from functools import partial
from typing import Any

from factory.config import RunConfig
from factory.errors import InputError
from factory.population.table_passes import cast_fields
from factory.run_output import layout
from factory.runtime.build_table import Built, build_table, copy_rows
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.schemas import GIVEN_PROFILES, PROFILES
from factory.storage.tables import REJECTED, SUFFIX, Table
from factory.synthesis.given.card_file import PNG, profile_rows
from factory.synthesis.given.given_rows import COLUMNS, read_given
from factory.synthesis.ingest import InputKind, ingest_files, read_row
from factory.synthesis.input_files import find_files, not_empty
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile
from factory.synthesis.steps import check_enough_characters
from factory.text.normalize import shorten

DETAIL_CHARACTERS = 300


def given_kind(config: RunConfig) -> InputKind:
    """Return how given profiles are read."""
    read = partial(_read, config.profiles.language)
    return InputKind(GIVEN_PROFILES, "character_id", read, COLUMNS, profile_rows)


def _read(language: str, raw: RawRow, source: int) -> Any:
    return read_given(raw.value, language)


def given_files(config: RunConfig) -> list[SourceFile]:
    """Return the files of given profiles, after checking that the first one has rows of profiles.

    Raises:
        InputError: it has none, or its first row lacks the columns of a profile.
    """
    source = config.profiles.source
    assert source is not None
    files = not_empty(find_files(source, (PNG,)))
    kind, first = given_kind(config), files[0]
    raw = next(itertools.islice(profile_rows(first, COLUMNS), 1), None)
    if raw is None:
        raise InputError(f"{first.path}: has no rows; add some or leave it out")
    record = read_row(kind, 0, raw)
    if getattr(record, "reason", None) == "missing_column":
        raise InputError(f"{_place(first.path, raw.row)}: {record.detail}; rename the columns, or add what is missing")
    return files


def ingest_given(config: RunConfig, progress: Progress) -> Table:
    """Build the table of distinct given profiles from files.

    Raises:
        InputError: no row can be used; the message names the file and line of the first one.
    """
    files = given_files(config)
    table = layout.GIVEN_PROFILES.table(config.output)
    settings = {"language": config.profiles.language}
    manifest = ingest_files(given_kind(config), files, config.profiles.limit, table, settings, progress)
    if not manifest["ok"]:
        raise InputError(
            f"profiles.source: none of {manifest['rows_in']:,} rows can be used; {_first_reject(table, files)}"
        )
    if not config.has_personas:
        check_enough_characters(config, manifest["ok"], "given profiles")
    return table


def _first_reject(table: Table, files: list[SourceFile]) -> str:
    shard = next(name for name in file_io.list_names(table.path, SUFFIX) if name.startswith(REJECTED))
    columns = ["source", "row", "reason", "detail"]
    rows = table.read(shard.removesuffix(SUFFIX), columns).sort_by([("source", "ascending"), ("row", "ascending")])
    row = rows.slice(0, 1).to_pylist()[0]
    detail = " ".join(shorten(row["detail"], DETAIL_CHARACTERS).split())
    return f"{_place(files[row['source']].path, row['row'])}: {row['reason']}: {detail}"


def _place(path: str, row: int) -> str:
    return f"{path}, {'row' if path.endswith('.parquet') else 'line'} {row + 1}"


def take_given(config: RunConfig, progress: Progress) -> Table:
    """Build the table of profiles from given ones alone."""
    given, table = layout.GIVEN_PROFILES.table(config.output), layout.PROFILES.table(config.output)
    manifest = given.manifest()
    assert manifest is not None
    inputs = {"language": config.profiles.language, "given": manifest["fingerprint"]}

    def work() -> Built:
        counts = copy_rows(given, table, PROFILES)
        return Built(counts, {"given": manifest["ok"], **cast_fields(config.alarms, table)})

    build_table(table, inputs, manifest["ok"], work, progress)
    return table
