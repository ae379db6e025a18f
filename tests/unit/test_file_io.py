import pytest

from factory.errors import StorageError
from factory.storage import file_io


@pytest.mark.parametrize("below", ["", "/run", "/a/b"])
@pytest.mark.parametrize("target", ["nowhere", "file"])
def test_broken_link_is_refused(tmp_path, target, below):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(StorageError, match="there is a file where a folder is needed; choose another path"):
        file_io.check_writable(f"{tmp_path}/link{below}")
    with pytest.raises(StorageError, match="choose another path"):
        file_io.write_bytes(f"{tmp_path}/link{below}/0.parquet", b"")
