"""Whether curated dialogues were trained on: the packed sequences that hold them, and the training on those."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from factory.lineage.lineage_steps import LineageReader, LineageStep
from factory.run_output import layout
from factory.run_output.scan import Matches, TableFiles
from factory.storage.tables import REJECTED

TrainingUse = Literal["trained on", "not trained on", "not known"]
TRAINING = layout.CHECKPOINTS.name()


def training_steps(reader: LineageReader, curated: Sequence[LineageStep]) -> Iterator[LineageStep]:
    """Yield the packing and training steps of the accepted dialogues among the rows of `curated`."""
    splits: dict[str, list[str]] = {}
    for row in (row for step in curated for row in step.rows if row["status"] == "ok"):
        splits.setdefault(row["split"], []).append(row["dialogue_id"])
    for split, ids in splits.items():
        name = layout.PACKED.name(split=split)
        packed = reader.step("packed", name, _find_packed(reader.tables[name], ids))
        yield packed
        if split == "train":
            yield _training_step(reader, packed, ids)


def _find_packed(files: TableFiles, ids: list[str]) -> Matches:
    refused = [name for name in files.shards if name.startswith(REJECTED)]
    sequences = [name for name in files.shards if not name.startswith(REJECTED)]
    wanted = pa.array(ids, pa.string())
    tokens: Counter[str] = Counter()
    for batch in files.scan(["dialogue_ids", "lengths"], None, sequences):
        tokens.update(_count_tokens(batch, wanted))
    rows: list[dict[str, Any]] = [{"dialogue_id": id_, "status": "ok", "tokens": n} for id_, n in tokens.items()]
    among = ds.field("dialogue_id").isin(wanted)
    for batch in files.scan(["dialogue_id", "status", "reason", "detail"], among, refused):
        rows += batch.to_pylist()
    rows.sort(key=lambda row: ids.index(row["dialogue_id"]))
    return Matches(len(rows), dict(Counter(row.get("reason") or row["status"] for row in rows)), rows)


def _count_tokens(batch: pa.RecordBatch, wanted: pa.Array) -> Counter[str]:
    """Count the tokens of the wanted dialogues in some packed sequences, where each may have several segments."""
    ids, lengths = (pc.list_flatten(batch[name]) for name in ("dialogue_ids", "lengths"))
    tokens: Counter[str] = Counter()
    for index in pc.indices_nonzero(pc.is_in(ids, value_set=wanted)).to_pylist():
        tokens[ids[index].as_py()] += lengths[index].as_py()
    return tokens


def _training_step(reader: LineageReader, packed: LineageStep, ids: list[str]) -> LineageStep:
    step = reader.step("training", TRAINING, Matches())
    in_sequences = {row["dialogue_id"] for row in packed.rows if row["status"] == "ok"}
    # If the sequences were packed again since, it is not known which ones the model has seen.
    certain = step.state == "finished" and packed.state == "finished" and not step.notes
    uses: dict[str, TrainingUse] = {
        id_: ("trained on" if id_ in in_sequences else "not trained on") if certain else "not known" for id_ in ids
    }
    rows = [{"dialogue_id": id_, "status": use} for id_, use in uses.items()] if step.state != "not run" else []
    return reader.step("training", TRAINING, Matches(len(rows), dict(Counter(uses.values())) if rows else {}, rows))
