"""The data set card of exported preference pairs."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from factory.export.dataset_card import front_matter
from factory.export.export_files import FileType
from factory.export.provenance import SourceTable, find_inputs, find_models, find_source_tables
from factory.export.sources import Sources
from factory.run_output.licenses import combine_for_hub
from factory.storage.rows import Row
from factory.storage.tables import Table
from factory.text.markdown_cells import load_template

TEMPLATE = Path(__file__).parent / "preference_card.md.jinja"


def build_card(sources: Sources, file_type: FileType, manifest: Mapping[str, Any], examples: Mapping[str, Row]) -> str:
    """Build the README.md of exported preference pairs.

    Args:
        sources: the source of the export.
        file_type: the type of its files.
        manifest: its manifest.
        examples: a row of each part.
    """
    (part,) = sources.parts
    (table,) = part.tables
    settings, counts = table.inputs() or {}, (table.manifest() or {})["sources"]
    found = [Table(table.output, name) for name in settings["made_of"]]
    tables = [SourceTable(one.name, one.manifest() or {}, one.inputs() or {}) for one in found]
    inputs = find_inputs(sources, find_source_tables(sources)) if sources.dialogues else []
    models = [one for one in find_models(tables) if one.prompt_tokens or one.output_tokens]
    # No table records the license of a benchmark's questions, or that of what people wrote.
    unknown = [None] if counts.keys() - {"passed_over"} else []
    licenses = [*(one.license for one in inputs), *(one.license for one in models), *unknown]
    hub_license = combine_for_hub(licenses)
    about = {"pretty_name": "Preferences among replies of characters", "license": hub_license}
    front = front_matter(sources, file_type, about, ["role-playing", "character", "synthetic", "preference", "dpo"])
    return load_template(TEMPLATE).render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120),
        part=part,
        counts=counts,
        settings=settings,
        tables=tables,
        models=models,
        inputs=inputs,
        license=hub_license,
        example=examples[part.name],
        manifest=manifest,
        version=version("opencharacter-factory"),
    )
