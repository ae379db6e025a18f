"""What other machines put into a bucket is seen at once, whoever runs the bucket."""

import pytest

from factory import storage


@pytest.mark.parametrize(("path", "package"), [("s3://bucket/run/a", "s3fs"), ("gs://bucket/run/a", "gcsfs")])
def test_a_listing_of_a_bucket_never_comes_out_of_a_cache(path, package, monkeypatch):
    pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")  # gcsfs then looks for no account
    fs, name = storage.filesystem(path)
    assert name == "bucket/run/a"
    assert fs.dircache.use_listings_cache is False


def test_an_unknown_protocol_is_told_in_one_line():
    with pytest.raises(storage.StorageError, match=r"give a local folder, s3:// or gs://bucket/prefix$"):
        storage.check_writable("xyz://bucket/run")
