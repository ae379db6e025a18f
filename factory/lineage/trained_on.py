"""Whether curated dialogues were trained on: the packed sequences that they stand in, and the training of those."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from factory.lineage.records_of import Reader, Step
from factory.run_output.scan import Found, Place
from factory.storage.tables import REJECTED

Fate = Literal["trained on", "not trained on", "not known"]
SHOWN = ("base_model", "model", "epochs", "learning_rate", "sequence_length", "zero_stage", "lora", "seed")
TRAINING = "checkpoints"


def trained(reader: Reader, curated: Sequence[Step]) -> Iterator[Step]:
    """What became of the accepted dialogues among the rows of `curated`."""
    splits: dict[str, list[str]] = {}
    for row in (row for step in curated for row in step.rows if row["status"] == "ok"):
        splits.setdefault(row["split"], []).append(row["dialogue_id"])
    for split, ids in splits.items():
        packed = reader.step("packed", f"packed/{split}", _packed(reader.tables[f"packed/{split}"], ids))
        yield packed
        if split == "train":
            yield _training(reader, packed, ids)


def _packed(place: Place, ids: list[str]) -> Found:
    refused = [name for name in place.shards if name.startswith(REJECTED)]
    sequences = [name for name in place.shards if not name.startswith(REJECTED)]
    wanted = pa.array(ids, pa.string())
    rows = [row for batch in place.scan(["dialogue_ids", "lengths"], None, sequences) for row in _in(batch, wanted)]
    among = ds.field("dialogue_id").isin(wanted)
    for batch in place.scan(["dialogue_id", "status", "reason", "detail"], among, refused):
        rows += batch.to_pylist()
    rows.sort(key=lambda row: ids.index(row["dialogue_id"]))
    return Found(len(rows), dict(Counter(row.get("reason") or row["status"] for row in rows)), rows)


def _in(batch: pa.RecordBatch, wanted: pa.Array) -> Iterator[dict[str, Any]]:
    """The dialogues of some packed sequences that are wanted; `tokens` is how long each is there."""
    ids, lengths = (pc.list_flatten(batch[name]) for name in ("dialogue_ids", "lengths"))
    for place in pc.indices_nonzero(pc.is_in(ids, value_set=wanted)).to_pylist():
        yield {"dialogue_id": ids[place].as_py(), "status": "ok", "tokens": lengths[place].as_py()}


def _training(reader: Reader, packed: Step, ids: list[str]) -> Step:
    step = reader.step("training", TRAINING, Found())
    there = {row["dialogue_id"] for row in packed.rows if row["status"] == "ok"}
    # Where the sequences were packed again since, nobody knows which ones the model has seen.
    known = step.state == "finished" and packed.state == "finished" and not step.notes
    fates: dict[str, Fate] = {
        id_: ("trained on" if id_ in there else "not trained on") if known else "not known" for id_ in ids
    }
    rows = [{"dialogue_id": id_, "status": fate} for id_, fate in fates.items()] if step.state != "not run" else []
    return reader.step("training", TRAINING, Found(len(rows), dict(Counter(fates.values())) if rows else {}, rows))
