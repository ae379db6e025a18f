"""The card of an export, for any text in its dialogues."""

import re

import pytest
import yaml

from factory.config import RunConfig
from factory.config.loading import checked
from factory.export.formats import SHAPES
from factory.export.sources import find_sources
from factory.export.write_export import default_folder, export
from factory.runtime.progress import Progress
from tests.hard_texts import HARD
from tests.made_tables import make_tables


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))


@pytest.mark.parametrize("form", list(SHAPES))
def test_card_is_valid_for_any_example_text(tmp_path, form):
    for number, text in enumerate(HARD):
        config = make_tables(tmp_path / str(number), [[(text, text), ("Go on", text)]] * 3, validation=1)
        sources = find_sources(checked(RunConfig, config, "config key"), "curated", form, "jsonl")
        export(sources, default_folder(sources), "jsonl", Progress())
        card = (tmp_path / str(number) / "export" / form / "README.md").read_text()
        front = front_matter(card)
        assert front["license"] == "other"
        assert front["language"] == ["en"]
        assert front["size_categories"] == ["n<1K"]
        assert [one["split"] for one in front["configs"][0]["data_files"]] == ["train", "validation"]
        outside = without_blocks(card)
        headings = re.findall(r"^## (.*)$", outside, re.MULTILINE)
        assert headings == [
            "Size", "Fields", "How it was built", "Statistics", "Known limits", "Licenses", "How to cite",
        ]  # fmt: skip
        assert "<" not in re.sub(r"\\<|<br>", "", outside)
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in outside.splitlines() if line.startswith("|")]
        assert all(columns)


def without_blocks(card: str) -> str:
    """Return a card without its code blocks, by CommonMark's rule for their ends."""
    kept, fence = [], ""
    for line in card.split("\n---\n", 1)[1].split("\n"):
        run = re.match(r"`{3,}", line)
        if not fence and run:
            fence = run[0]
        elif fence and re.fullmatch(r"`{3,}\s*", line) and len(line.strip()) >= len(fence):
            fence = ""
        elif not fence:
            kept.append(line)
    assert not fence, "a block is open"
    return "\n".join(kept)
