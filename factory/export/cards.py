"""Characters as character cards: a file each, `<character_id>.json` or `.png`, with a README.md and a manifest.

Made as other exports are: rebuilt where it is not finished or outdated, skipped where it is.
"""

from typing import Any, Literal

import pyarrow as pa

from factory.config import RunConfig
from factory.errors import ConfigError, InputError
from factory.export.export_files import draft
from factory.export.formats import Shape
from factory.export.provenance import find_inputs, find_models, find_source_tables
from factory.export.sources import CHARACTERS_PART, ExportPart, Selection, Sources, find_characters
from factory.export.write_export import begin_export, finish_export
from factory.records import Counts
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.file_io import join
from factory.storage.manifest import build_manifest
from factory.storage.rows import Row
from factory.storage.tables import compute_fingerprint
from factory.synthesis.given.card_file import to_json, write_png
from factory.synthesis.given.card_profile import to_card, to_v2
from factory.synthesis.profiles import LABELS

CARDS = "cards"
"""The name of the format."""
CardType = Literal["json", "png"]
MAX_CARDS = 100_000
"""A file each is meant for programs in which people talk to characters; more of them are rows of a table."""


def _convert(row: Row) -> dict[str, Any]:
    return {"character_id": row["character_id"], "card": to_card(row)}


SHAPE = Shape(
    _convert,
    ("character_id", "persona", *LABELS, "language", "card"),
    pa.schema([]),
    {"character_id": "the name of the file", "card": "the card"},
)


def find_card_sources(config: RunConfig, what: Selection, file_type: CardType) -> Sources:
    """Find the profiles that are exported as cards.

    Args:
        config: the run's.
        what: `curated`: the characters that speak in the curated splits; `dialogues`: all accepted ones.
        file_type: the type of the files.

    Raises:
        ConfigError: a table is not finished, or there are too many characters.
        InputError: no character is left, or the tables do not belong together.
    """
    part, dialogues, identity = find_characters(config, what, SHAPE)
    if not part.rows:
        raise InputError(f"{part.tables[0].path}: there is no character to export")
    if part.rows > MAX_CARDS:
        raise ConfigError(
            f"--format cards writes a file per character, and there are {part.rows:,}; the maximum is {MAX_CARDS:,}: "
            "read the table of profiles instead"
        )
    settings = {"what": what, "format": CARDS, "file_type": file_type, "made_of": identity}
    return Sources(config, CARDS, what, (part,), dialogues, settings)


def export_cards(sources: Sources, folder: str, file_type: CardType, progress: Progress) -> None:
    """Write a card for each character, unless the export exists already."""
    (part,) = sources.parts
    fingerprint = compute_fingerprint(sources.settings)
    if finished := begin_export(folder, fingerprint, sources.settings):
        progress.record_table(finished, skipped=True)
        return
    progress.start([f"export/{CARDS}"], part.rows)
    files = {}
    try:
        for row in part.read(lambda rows: progress.advance(Counts(ok=rows.num_rows))):
            name = f"{row['character_id']}.{file_type}"
            content = _content(row, file_type)
            with file_io.storage_errors(folder), draft(folder, name) as path:
                with open(path, "wb") as file:
                    file.write(content)
                file_io.put_file(path, join(folder, name))
            files[name] = len(content)
    finally:
        progress.stop()
    counts = Counts(ok=len(files))
    parts = {CHARACTERS_PART: {"rows": len(files), "files": files}}
    manifest = build_manifest(f"export/{CARDS}", len(files), counts, progress.timing(counts), fingerprint, parts=parts)
    finish_export(folder, _readme(sources, part, file_type), manifest, progress)


def _content(row: Row, file_type: CardType) -> bytes:
    card = row["card"]
    if file_type == "json":
        return to_json(card)
    # A color of the character's own, bright enough for dark text.
    red, green, blue = (96 + byte // 2 for byte in bytes.fromhex(row["character_id"])[:3])
    return write_png(card, to_v2(card), (red, green, blue))


def _readme(sources: Sources, part: ExportPart, file_type: CardType) -> str:
    tables = find_source_tables(sources)
    kinds = {"json": "V3 as JSON", "png": "PNG with the chunks `ccv3` (V3) and `chara` (V2)"}
    who = "that speak in the curated dialogues" if sources.what == "curated" else "with an accepted profile"
    models = [f"- profiles by `{one.name}`" for one in find_models(tables) if one.step == part.tables[0].name]
    inputs = [
        f"- {one.what}: {one.license.license if one.license else 'license unknown'}"
        for one in find_inputs(sources, tables)
    ]
    return "\n".join(
        [
            "# Character cards",
            "",
            f"{part.rows:,} characters {who}: {kinds[file_type]}. The people are invented; a resemblance is chance.",
            "",
            "Written by the character factory from:",
            "",
            *models,
            *inputs,
            "",
        ]
    )
