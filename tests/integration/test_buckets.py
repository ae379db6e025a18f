"""Buckets: listings are never cached, and refused operations are reported."""

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
from tests.unit.test_run_lock import own_holder, write_lease


@pytest.fixture
def undeletable(s3: str) -> Iterator[str]:
    """A bucket that allows reads and writes but no deletes; S3's client does not raise for several keys."""
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


def finished_table(output: str) -> Table:
    """Write a finished table of three shards."""
    table = Table(output, "profiles")
    table.begin("one", {})
    for shard in "012":
        table.write(shard, [], PERSONAS)
    table.finish({"ok": 0})
    return table


def test_undeletable_bucket_is_refused_before_run(undeletable):
    with pytest.raises(StorageError, match=r"^output s3://undeletable/run: no permission .*change its rights$"):
        file_io.check_writable(f"{undeletable}/run")


def test_failed_deletes_are_reported(undeletable):
    for name in "ab":
        file_io.write_bytes(f"{undeletable}/run/{name}", b"")
    with pytest.raises(StorageError, match="s3://undeletable/run/a: no permission"):
        file_io.delete_file(f"{undeletable}/run/a")
    with pytest.raises(StorageError, match=r"2 of 2 files cannot be deleted, undeletable/run/a among them"):
        file_io.delete_folder(f"{undeletable}/run")


def test_undeletable_stale_lease_ends_run(undeletable):
    write_lease(undeletable, replace(own_holder(), run="dead", started="another"))
    with pytest.raises(StorageError, match="no permission"), hold_run_lock(undeletable):
        pass


def test_table_that_cannot_be_archived_is_kept(undeletable):
    table = finished_table(undeletable)
    with pytest.raises(StorageError, match="no permission"):
        table.begin("two", {})
    assert json.loads(file_io.read_bytes(f"{table.path}/.inputs.json"))["fingerprint"] == "one"


@pytest.mark.parametrize(("path", "package"), [("s3://bucket/run/a", "s3fs"), ("gs://bucket/run/a", "gcsfs")])
def test_bucket_listings_are_not_cached(path, package, monkeypatch):
    pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")  # so that gcsfs needs no account
    fs, name = file_io.filesystem(path)
    assert name == "bucket/run/a"
    assert fs.dircache.use_listings_cache is False


def test_unknown_protocol_is_refused():
    with pytest.raises(file_io.StorageError, match=r"give a local folder, s3:// or gs://bucket/prefix$"):
        file_io.check_writable("xyz://bucket/run")
