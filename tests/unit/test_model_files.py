"""Which model a name stands for: by what is in it, not by where and since when it is there."""

import os
import re
import shutil

import pytest

from factory.errors import ModelError
from factory.inference import model_files, stored_models
from factory.inference.model_files import Located

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    """A folder as one that a model is in, with weights that are not read whole."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"vocab_size": 8}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 20_000)
    return folder


def revision(folder) -> str:
    return model_files.locate(str(folder)).revision


def test_a_copy_of_a_model_is_the_same_model_wherever_and_whenever(folder, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    (copy / "README.md").write_text("what it is")
    (copy / "manifest.json").write_text('{"fingerprint": "of the run that made it"}')
    assert revision(copy) == revision(folder)


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja"])
def test_another_config_or_template_is_another_model(folder, name):
    before = revision(folder)
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("8", "9").replace("messages", "massages"))
    assert revision(folder) != before


def test_weights_that_differ_in_a_hundredth_are_another_model(folder):
    before, weights = revision(folder), folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    start = len(data) // 3
    data[start : start + len(data) // 100] = bytes(len(data) // 100)
    weights.write_bytes(data)
    assert revision(folder) != before


def test_of_weights_without_end_little_is_read():
    parts = stored_models._blocks(140 * 2**30, stored_models.BLOCKS // 30)
    assert parts[0][0] == 0
    assert parts[-1][1] == 140 * 2**30
    assert sum(end - start for start, end in parts) < 2**20


def test_a_model_on_the_hub_is_pinned_to_its_commit_and_no_other_is():
    assert Located("org/name", SHA).pinned == Located("org/name@main", SHA).pinned == f"org/name@{SHA}"
    assert Located("embedded", "0123456789ab").pinned == "embedded"


@pytest.mark.parametrize("name", ["/no/such/model", "./model", "runs/demo/model"])
def test_a_folder_that_a_machine_has_not_is_told_with_the_way_out(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the checkout has runs/demo/model after `make demo`
    for ask in (model_files.fetch, model_files.locate):
        with pytest.raises(ModelError, match=re.escape(f"{name!r}: no such folder on this machine")) as told:
            ask(name)
        assert "s3://" in str(told.value)
        assert "shared disk" in str(told.value)


def test_what_a_killed_download_left_is_cleared_away_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    (tmp_path / "bucket-1.abcd").mkdir()
    (tmp_path / "bucket-1.abcd" / "model.safetensors").write_bytes(b"half of it")
    (tmp_path / "bucket-1-tokenizer.abcd").mkdir()
    model_files._fetch_once("bucket-1", lambda draft: None)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["bucket-1", "bucket-1-tokenizer.abcd"]
