"""The table folders of an output, by one listing of its files."""

from collections.abc import Mapping

from factory.run_output.layout import kind_of
from factory.storage import file_io
from factory.storage.tables import INPUTS, MANIFEST, SUFFIX


def list_sizes(output: str) -> dict[str, int]:
    """Return the size in bytes of each file of an output; empty where there is no such folder."""
    return file_io.sizes(output) if file_io.exists(output) else {}


def group_by_table(sizes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the files of each table of a run: names and sizes (bytes) by the name of the table.

    Archived, temporary and damaged files belong to no table.
    """
    tables: dict[str, dict[str, int]] = {}
    for path, size in sizes.items():
        folder, _, name = path.rpartition("/")
        if name.endswith((SUFFIX, MANIFEST, INPUTS)) and kind_of(folder) is not None:
            tables.setdefault(folder, {})[name] = size
    return tables
