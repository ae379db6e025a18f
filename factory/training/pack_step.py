"""Curated dialogues to the table of packed sequences, with Ray Data.

    curated shards ──tokenize──► spilled by dialogue ──► a partition: packed ──► one shard

Dialogues are assigned to shards by a hash, so every shard is a random sample of all of them.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.config import RunConfig, Training
from factory.errors import InputError
from factory.inference.model_files import Located
from factory.records import Counts, Reject, content_id, int_key
from factory.run_output import layout
from factory.runtime import metrics
from factory.runtime.build_table import Built, build_table
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, iter_rows, range_dataset
from factory.storage.rows import count_rows, rejected_row
from factory.storage.schemas import COMMON_COLUMNS
from factory.storage.shuffle import BYTES_PER_SPILL, FileShuffle, partitions_for
from factory.storage.tables import REJECTED, Table
from factory.training.dialogue import template_identity, tokenize, tokenizer_for
from factory.training.packing import pack

BYTES_PER_DIALOGUE = 4096
"""Approximate size of a tokenized dialogue, to choose the number of partitions."""

_TOKENIZED = pa.schema(
    [
        pa.field("dialogue_id", pa.string()),
        pa.field("input_ids", pa.list_(pa.list_(pa.int32()))),
        pa.field("loss_mask", pa.list_(pa.list_(pa.bool_()))),
        pa.field("truncated", pa.bool_()),
        *COMMON_COLUMNS,
    ]
)
PACKED_SCHEMA = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int32())),
        pa.field("loss_mask", pa.list_(pa.bool_())),
        pa.field("lengths", pa.list_(pa.int32())),
        pa.field("dialogue_ids", pa.list_(pa.string())),
    ]
)
"""A packed sequence: the concatenated tokens of its segments, and the length and the dialogue of each.

A segment is one training sequence of a dialogue: usually all of it; one reply where the chat template writes past turns
in another way."""


@dataclass(frozen=True)
class PackedTable:
    """A finished table of packed sequences."""

    table: Table
    manifest: dict[str, Any]

    @property
    def shards(self) -> dict[str, int]:
        """Number of sequences by shard, in order of the names."""
        return dict(sorted(self.manifest["shards"].items()))


def pack_split(config: RunConfig, model: Located, split: str, progress: Progress) -> PackedTable:
    """Build `packed/<split>` from `curated/<split>`, unless it is finished.

    Raises:
        InputError: the curated table is not finished, or no dialogue of it is accepted.
    """
    source, table = curated_table(config, split), layout.PACKED.table(config.output, split=split)
    curated = curated_manifest(source)
    training = config.training
    fingerprint_inputs = {
        "curated": [curated["fingerprint"], curated["finished"]],
        "model": [model.ref, model.revision],
        "chat_template": template_identity(training.chat_template),
        "chat_template_kwargs": training.chat_template_kwargs,
        "learn_thoughts": training.learn_thoughts,
        "sequence_length": training.sequence_length,
        "overlong": training.overlong,
    }

    def work() -> Built:
        counts, shards, tokens = _pack_all(source, table, training, model, curated["ok"], progress)
        if not counts.ok:
            raise InputError(
                f"{table.path}: none of {counts.rows:,} dialogues fits training.sequence_length "
                f"({training.sequence_length}); raise it"
            )
        size = sum(shards.values()) * training.sequence_length
        figures = {**tokens, "sequences": sum(shards.values()), "fill": round(tokens["tokens"] / size, 4)}
        return Built(counts, {**figures, "shards": shards})

    return PackedTable(table, build_table(table, fingerprint_inputs, curated["ok"], work, progress, repeatable=True))


def curated_table(config: RunConfig, split: str) -> Table:
    """Return the table of a split's curated dialogues."""
    return layout.CURATED.table(config.training.data or config.output, split=split)


def curated_manifest(source: Table) -> dict[str, Any]:
    """Return the manifest of a curated table that has dialogues to train on.

    Raises:
        InputError: it is not finished, or has no accepted row.
    """
    manifest = source.manifest()
    if manifest is None:
        raise InputError(
            f"{source.path}: no finished table of dialogues; run `character-factory curate` with this config first"
        )
    if not manifest["rows_in"] and source.name == layout.CURATED.name(split="validation"):
        raise InputError(
            f"{source.path}: no dialogue was kept for validation, and training needs some; raise "
            "curation.validation_fraction, and run `character-factory curate` again"
        )
    if not manifest["ok"]:
        raise InputError(
            f"{source.path}: none of its {manifest['rows_in']:,} dialogues is accepted, so there is nothing "
            "to train on or to validate with; see the reasons in its .manifest.json"
        )
    return manifest


def _pack_all(
    source: Table, table: Table, training: Training, model: Located, rows: int, progress: Progress
) -> tuple[Counts, dict[str, int], dict[str, int]]:
    folder = table.temporary_folder
    shuffle = FileShuffle(folder, partitions_for(rows * BYTES_PER_DIALOGUE), _TOKENIZED)
    read = partial(_tokenize_shard, source, training, model)
    exchanged = exchange_shards(shuffle, source.shards(), rows, read, _keys, BYTES_PER_SPILL // BYTES_PER_DIALOGUE)
    packed = range_dataset(shuffle.partitions).map(
        partial(_pack_partition, exchanged, table, training.sequence_length), num_cpus=IO_TASK_CPUS
    )
    counts, shards = Counts(), {}
    tokens = {"tokens": 0, "learned_tokens": 0, "segments": 0, "truncated_dialogues": 0}
    for row in iter_rows(packed):
        packed_counts = Counts(ok=row["ok"], rejected={"too_long": row["too_long"]} if row["too_long"] else {})
        counts += packed_counts
        progress.advance(packed_counts)
        metrics.count(table.name, packed_counts)
        tokens = {name: number + row[name] for name, number in tokens.items()}
        if row["sequences"]:
            shards[row["shard"]] = row["sequences"]
    shuffle.delete()
    return counts, shards, tokens


def _tokenize_shard(source: Table, training: Training, model: Located, shard: str) -> pa.Table:
    tokenizer = tokenizer_for(model.pinned, training)
    columns = ["dialogue_id", "messages", "status"]
    curated = source.read(shard, [*columns, "strategy", "thoughts"] if training.learn_thoughts else columns)
    rows = []
    for row in curated.filter(pc.equal(curated["status"], "ok")).to_pylist():
        result = tokenize(tokenizer, row, training.sequence_length, training.overlong)
        if isinstance(result, Reject):
            rows.append(rejected_row(result, {"dialogue_id": row["dialogue_id"]}))
        else:
            rows.append({name: getattr(result, name) for name in result.__slots__} | {"status": "ok"})
    return pa.Table.from_pylist(rows, schema=_TOKENIZED)


def _keys(rows: pa.Table) -> np.ndarray:
    # By a hash of the id, not by the id, which already divides the curated table into shards.
    return np.array([int_key(content_id("packed", name)) for name in rows["dialogue_id"].to_pylist()], np.int64)


def _pack_partition(exchanged: Exchanged, table: Table, size: int, row: dict[str, Any]) -> dict[str, Any]:
    rows = exchanged.collect(row["id"]).sort_by("dialogue_id")
    ok, rejected = (rows.filter(test(rows["status"], "ok")).combine_chunks() for test in (pc.equal, pc.not_equal))
    segments = _segments(ok)
    lengths = pc.list_value_length(segments["input_ids"]).to_pylist()
    sequences = pack(lengths, size)
    name = f"{row['id']:05}"
    if sequences:
        table.write_arrow(name, _sequences(segments, lengths, sequences))
    if rejected.num_rows:
        table.write_arrow(REJECTED + name, rejected.drop_columns(["input_ids", "loss_mask", "truncated"]))
    return {
        "shard": name,
        "sequences": len(sequences),
        "ok": ok.num_rows,
        "too_long": count_rows(rejected).rows,
        "tokens": sum(lengths),
        "learned_tokens": pc.sum(pc.list_flatten(segments["loss_mask"])).as_py() or 0,
        "segments": len(lengths),
        "truncated_dialogues": pc.sum(ok["truncated"]).as_py() or 0,
    }


def _segments(dialogues: pa.Table) -> pa.Table:
    """Return a row for each training sequence of tokenized dialogues."""
    columns = {name: pc.list_flatten(dialogues[name]) for name in ("input_ids", "loss_mask")}
    return pa.table(columns | {"dialogue_id": dialogues["dialogue_id"].take(_parents(dialogues["input_ids"]))})


def _parents(lists: pa.ChunkedArray) -> pa.Array:
    return pc.list_parent_indices(lists.combine_chunks())


def _sequences(segments: pa.Table, lengths: list[int], sequences: list[list[int]]) -> pa.Table:
    """Return packed sequences of segments, built without a Python object per token."""
    ordered = segments.take([item for sequence in sequences for item in sequence])
    items = np.cumsum([0, *map(len, sequences)]).astype(np.int32)
    packed_lengths = np.array([lengths[item] for sequence in sequences for item in sequence], np.int32)
    tokens = np.concatenate([[0], np.cumsum(packed_lengths)])[items].astype(np.int32)

    def lists(offsets: np.ndarray, values: Any) -> pa.ListArray:
        flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return pa.ListArray.from_arrays(pa.array(offsets), flat)

    return pa.table(
        [
            lists(tokens, pc.list_flatten(ordered["input_ids"])),
            lists(tokens, pc.list_flatten(ordered["loss_mask"])),
            lists(items, pa.array(packed_lengths)),
            lists(items, ordered["dialogue_id"]),
        ],
        schema=PACKED_SCHEMA,
    )
