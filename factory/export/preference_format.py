"""Preference pairs in the conversational shape that TRL's DPOTrainer reads: `prompt`, `chosen`, `rejected`.

The rows are those of the table `preferences`, in its order.
"""

from typing import Any

import pyarrow as pa

from factory.config import RunConfig
from factory.export.export_files import FileType
from factory.export.formats import Shape, message_list
from factory.export.sources import ExportPart, Sources
from factory.run_output import layout
from factory.storage.rows import Row
from factory.storage.tables import Table

PREFERENCES = "preferences"
"""The name of the format."""
_MESSAGES = message_list("role", "content")
_COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("prompt", _MESSAGES, "the `system` message, then `user` and `assistant` alternately, the last one of the user"),
    ("chosen", _MESSAGES, "the preferred reply, one `assistant` message"),
    ("rejected", _MESSAGES, "the other reply, one `assistant` message"),
    ("source", pa.string(), "`votes` of people, `passed_over` (lost in best of n) or `judged` (lower scores)"),
    (
        "margin",
        pa.float64(),
        "by how much: mean votes (up to 2), wins, or points of the mean score (1 to 5)",
    ),
    ("pair_id", pa.string(), "hash of the prompt and both replies"),
    ("character_id", pa.string(), "hash of the persona"),
    ("chosen_id", pa.string(), "the reply's id in the run"),
    ("rejected_id", pa.string(), "the reply's id in the run"),
    ("chosen_by", pa.string(), "the candidate or model that wrote it"),
    ("rejected_by", pa.string(), "the candidate or model that wrote it"),
    ("judges", pa.list_(pa.string()), "who compared the two; empty for votes of people"),
]
_SAME = tuple(name for name, _, _ in _COLUMNS if name not in ("prompt", "chosen", "rejected"))
"""Columns that are the same in the table."""


def to_preference(row: Row) -> dict[str, Any]:
    """Return a row of the table of preference pairs as TRL reads it."""
    replies = {name: [{"role": "assistant", "content": row[name]}] for name in ("chosen", "rejected")}
    return {"prompt": row["messages"], **replies, **{name: row[name] for name in _SAME}}


SHAPE = Shape(
    to_preference,
    ("messages", "chosen", "rejected", *_SAME),
    pa.schema([(name, kind) for name, kind, _ in _COLUMNS]),
    {name: meaning for name, _, meaning in _COLUMNS},
)


def find_preference_sources(config: RunConfig, file_type: FileType) -> Sources:
    """Return the table of preference pairs, which must be finished, as the source of an export."""
    table = layout.PREFERENCES.table(config.output)
    manifest = table.manifest()
    assert manifest is not None, f"{table.path} is not finished"
    part = ExportPart("train", (table,), SHAPE, manifest["ok"], ("status", *SHAPE.reads))
    made_of = [manifest["fingerprint"], manifest["finished"]]
    settings = {"format": PREFERENCES, "file_type": file_type, "made_of": made_of}
    kinds = [(name, layout.DIALOGUES.parts(name)) for name in (table.inputs() or {})["made_of"]]
    dialogues = tuple(Table(config.output, name) for name, parts in kinds if parts)
    return Sources(config, PREFERENCES, "curated", (part,), dialogues, settings)
