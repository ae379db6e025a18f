"""What a run writes down of its batches, so that a killed one finds them again and pays for nothing twice.

    <folder>/<shard>/<round>/<first row>-<rows>.json     written before its batch is created, and with its id after
    <folder>/<shard>/<round>/<first row>-<rows>.jsonl    its answers

The folder is one of the table and its settings, and is deleted when the table is finished.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from factory.storage import file_io

RECORD, ANSWERS = ".json", ".jsonl"


@dataclass(frozen=True)
class BatchRecord:
    """A batch, from the upload of its file on."""

    path: str
    """Of its files, without their endings."""
    rows: tuple[int, ...]
    """The rows of the shard that it asks for."""
    content: str
    """A hash of its lines."""
    file: str
    """The endpoint's id for them."""
    uploaded: float
    """Seconds since 1970."""
    batch: str = ""
    """The endpoint's id for the batch; empty if it may not have been created."""

    def write(self) -> None:
        """Write it to its file."""
        record = {name: value for name, value in asdict(self).items() if name != "path"}
        file_io.write_bytes(self.path + RECORD, json.dumps(record).encode())

    def answers(self) -> list[bytes] | None:
        """Return the lines of its answers; None if it has none yet."""
        content = file_io.read_if_there(self.path + ANSWERS)
        return None if content is None else content.splitlines()

    def write_answers(self, lines: Iterable[bytes]) -> None:
        """Write its answers, after which the endpoint's files are not needed any more."""
        file_io.write_bytes(self.path + ANSWERS, b"".join(lines))

    def delete(self) -> None:
        """Forget it: its rows are asked again."""
        for ending in (ANSWERS, RECORD):  # in this order: answers without their record could become those of another
            file_io.delete_file(self.path + ending)


def record_path(folder: str, rows: Sequence[int]) -> str:
    """Return where the record of a batch is, in the folder of a round."""
    return file_io.join(folder, f"{rows[0]}-{len(rows)}")


def hash_lines(lines: Iterable[bytes]) -> str:
    """Return a hash of a batch's lines."""
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def read_records(folder: str) -> list[BatchRecord]:
    """Return the records of a round; what cannot be read of them is deleted."""
    paths = [file_io.join(folder, name.removesuffix(RECORD)) for name in file_io.list_names(folder, RECORD)]
    found = []
    for path in paths:
        document = file_io.read_document(path + RECORD) or {}
        try:
            found.append(BatchRecord(path, **{**document, "rows": tuple(document["rows"])}))
        except (LookupError, TypeError):
            BatchRecord(path, (), "", "", 0).delete()
    return found


def delete_records(folder: str) -> None:
    """Forget the batches of a round."""
    for record in read_records(folder):
        record.delete()


def open_batches(folders: Iterable[str]) -> tuple[int, int]:
    """Return how many batches have no answers yet, and the rows in them."""
    batches = rows = 0
    for folder in folders:
        names = file_io.sizes(folder)
        for name in names:
            if name.endswith(RECORD) and name.removesuffix(RECORD) + ANSWERS not in names:
                batches += 1
                rows += int(name.removesuffix(RECORD).rpartition("-")[2])
    return batches, rows
