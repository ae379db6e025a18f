"""What other machines put into a bucket is seen at once, whoever runs the bucket; what a bucket refuses is told."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from factory.errors import StorageError
from factory.storage import file_io
from factory.storage.run_lock import hold_run_lock
from factory.storage.schemas import PERSONAS
from factory.storage.tables import Table
from tests.unit.test_run_lock import leave, mine


@pytest.fixture
def undeletable(s3: str) -> Iterator[str]:
    """A bucket that takes files and gives them, and lets nobody delete one; S3's client raises for none of several."""
    bucket = "undeletable"
    fs, _ = file_io.filesystem(f"s3://{bucket}")
    with suppress(FileExistsError):
        fs.mkdir(bucket)
    rule = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    fs.call_s3("put_bucket_policy", Bucket=bucket, Policy=policy)
    yield f"s3://{bucket}"
    fs.call_s3("delete_bucket_policy", Bucket=bucket)
    fs.rm(bucket, recursive=True)


def begun(output: str) -> Table:
    """A finished table of three shards."""
    table = Table(output, "profiles")
    table.begin("one", {})
    for shard in "012":
        table.write(shard, [], PERSONAS)
    table.finish({"ok": 0})
    return table


def test_a_bucket_that_refuses_to_delete_is_told_before_a_run(undeletable):
    with pytest.raises(StorageError, match=r"^output s3://undeletable/run: no permission .*change its rights$"):
        file_io.check_writable(f"{undeletable}/run")


def test_a_file_and_a_folder_that_cannot_be_deleted_are_told(undeletable):
    for name in "ab":
        file_io.write_bytes(f"{undeletable}/run/{name}", b"")
    with pytest.raises(StorageError, match="s3://undeletable/run/a: no permission"):
        file_io.delete_file(f"{undeletable}/run/a")
    with pytest.raises(StorageError, match=r"2 of 2 files cannot be deleted, undeletable/run/a among them"):
        file_io.delete_folder(f"{undeletable}/run")


def test_a_dead_runs_lease_that_cannot_be_deleted_ends_the_next_run(undeletable):
    leave(undeletable, replace(mine(), run="dead", born="another"))
    with pytest.raises(StorageError, match="no permission"), hold_run_lock(undeletable):
        pass


def test_a_table_that_cannot_be_moved_aside_is_not_begun_anew(undeletable):
    table = begun(undeletable)
    with pytest.raises(StorageError, match="no permission"):
        table.begin("two", {})
    assert json.loads(file_io.read_bytes(f"{table.path}/.inputs.json"))["fingerprint"] == "one"


@pytest.mark.parametrize(("path", "package"), [("s3://bucket/run/a", "s3fs"), ("gs://bucket/run/a", "gcsfs")])
def test_a_listing_of_a_bucket_never_comes_out_of_a_cache(path, package, monkeypatch):
    pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")  # gcsfs then looks for no account
    fs, name = file_io.filesystem(path)
    assert name == "bucket/run/a"
    assert fs.dircache.use_listings_cache is False


def test_an_unknown_protocol_is_told_in_one_line():
    with pytest.raises(file_io.StorageError, match=r"give a local folder, s3:// or gs://bucket/prefix$"):
        file_io.check_writable("xyz://bucket/run")
