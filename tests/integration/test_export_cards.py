"""The export of characters as cards, from tables to files."""

from pathlib import Path

import pytest

from factory.config import RunConfig
from factory.config.loading import checked
from factory.errors import ConfigError, StorageError
from factory.export import cards
from factory.export.cards import export_cards, find_card_sources
from factory.export.write_export import check_folder, default_folder
from factory.records import Profile
from factory.runtime.progress import Progress
from factory.storage.tables import Table
from factory.synthesis.given.card_file import profile_rows
from factory.synthesis.given.given_rows import read_given
from tests.made_tables import leave_out, make_tables


def export_run(config: dict, what: str = "curated", file_type: str = "json") -> Path:
    """Export the cards of a run, and return their folder."""
    sources = find_card_sources(checked(RunConfig, config, "config key"), what, file_type)
    folder = default_folder(sources)
    check_folder(folder)
    export_cards(sources, folder, file_type, Progress())
    return Path(folder)


@pytest.mark.parametrize("file_type", ["json", "png"])
def test_those_who_speak_are_exported(file_type, tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 45, validation=10)
    gone = leave_out(str(tmp_path), 7)
    folder = export_run(config, file_type=file_type)
    rows = {row["character_id"]: row for row in Table(str(tmp_path), "profiles").read("000000000").to_pylist()}
    names = {path.stem for path in folder.glob(f"[0-9a-f]*.{file_type}")}
    assert names == {id_ for id_, row in rows.items() if row["status"] == "ok"} - {gone}
    for path in folder.glob(f"[0-9a-f]*.{file_type}"):
        (raw,) = profile_rows(str(path), None)
        profile = read_given(raw.value, "Korean")
        assert isinstance(profile, Profile)
        assert (profile.persona, profile.language) == (rows[path.stem]["persona"], "English")
    assert "19 characters that speak in the curated dialogues" in (folder / "README.md").read_text()
    everyone = export_run(config, "dialogues", file_type)
    assert everyone.name == "dialogues-cards"
    assert len(list(everyone.glob(f"[0-9a-f]*.{file_type}"))) == 20


def test_an_export_is_skipped_or_built_again(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    folder = export_run(config)
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    export_run(config)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    next(folder.glob("[0-9a-f]*.json")).unlink()
    export_run(config)
    assert {path.name for path in folder.iterdir()} == set(written)
    export_run(config, file_type="png")
    assert {path.suffix for path in folder.iterdir() if not path.name.startswith(".")} == {".png", ".md"}
    (folder / "mine.json").write_text("{}")
    with pytest.raises(StorageError, match=r"has mine\.json, which no export wrote"):
        export_run(config)


def test_too_many_characters_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "MAX_CARDS", 3)
    with pytest.raises(ConfigError, match="there are 4; the maximum is 3"):
        export_run(make_tables(tmp_path, [[("a", "b")]] * 4))
