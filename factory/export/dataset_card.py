"""The data set card of an export: YAML front matter for the Hub and Markdown, safe for any text in the data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import yaml

from factory.config import PersonalData
from factory.export.export_files import FileType
from factory.export.export_stats import MOST_TURNS
from factory.export.provenance import SourceTable, find_inputs, find_models, find_prompts, find_source_tables
from factory.export.sources import CHARACTERS_PART, ExportPart, Sources
from factory.run_output import layout
from factory.run_output.layout import kind_of
from factory.run_output.licenses import combine_for_hub
from factory.storage.rows import Row
from factory.text.markdown_cells import load_template

TEMPLATE = Path(__file__).parent / "dataset_card.md.jinja"
MAIN = "default"
NOT_CHECKED = "not checked"
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def build_card(sources: Sources, file_type: FileType, manifest: Mapping[str, Any], examples: Mapping[str, Row]) -> str:
    """Build the README.md of an export.

    Args:
        sources: the sources of the export.
        file_type: the type of its files.
        manifest: its manifest, with the statistics of each split.
        examples: a row of each part.
    """
    # The library of the detector, which has the names and codes, takes a moment to import.
    from factory.text.language import language_codes

    tables = find_source_tables(sources)
    inputs, models = find_inputs(sources, tables), find_models(tables)
    languages = _languages(sources, tables)
    hub_license = combine_for_hub([*(one.license for one in inputs), *(one.license for one in models)])
    about = {
        "pretty_name": "Character dialogues",
        "license": hub_license,
        **({"language": codes} if (codes := language_codes(languages)) else {}),
    }
    front = front_matter(sources, file_type, about, ["role-playing", "character", "synthetic", "sft"])
    return load_template(TEMPLATE).render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120),
        sources=sources,
        parts=sources.parts,
        characters_part=CHARACTERS_PART,
        file_type=file_type,
        manifest=manifest,
        examples=examples,
        tables=tables,
        recipe=_recipe(tables),
        curation=_curation(tables),
        safety=_safety(tables),
        prompts=find_prompts(tables, sources.config.prompt_places),
        models=models,
        inputs=inputs,
        license=hub_license,
        languages=languages,
        demographics=_demographics(tables),
        most_turns=str(MOST_TURNS),
        version=version("opencharacter-factory"),
    )


def front_matter(
    sources: Sources, file_type: FileType, about: Mapping[str, Any], tags: Sequence[str]
) -> dict[str, Any]:
    """Return the front matter of a card: `about`, then the size, tags, files and columns."""
    rows = sum(part.rows for part in sources.splits)
    return {
        **about,
        "size_categories": [next((name for most, name in _SIZES.items() if rows < most), "10M<n<100M")],
        "task_categories": ["text-generation"],
        "tags": list(tags),
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": f"{part.name}-*.{file_type}"} for split, part in parts],
                **({"default": True} if name == MAIN else {}),
            }
            for name, parts in _configs(sources).items()
        ],
        # Without it, a column whose lists are empty in the first rows is read as a column of nulls.
        "dataset_info": [
            {
                "config_name": name,
                "features": [_feature(field) for field in parts[0][1].shape.schema],
                "splits": [{"name": split, "num_examples": part.rows} for split, part in parts],
            }
            for name, parts in _configs(sources).items()
        ],
    }


def _configs(sources: Sources) -> dict[str, list[tuple[str, ExportPart]]]:
    """Return the parts of each configuration, with the names of their splits."""
    configs = {MAIN: [(part.name, part) for part in sources.splits]}
    others = [part for part in sources.parts if part.name == CHARACTERS_PART]
    return configs | {part.name: [("train", part)] for part in others}


def _feature(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, **_type(field.type)}


def _type(kind: pa.DataType) -> dict[str, Any]:
    """Return an Arrow type as `datasets` writes it in YAML."""
    if not pa.types.is_list(kind):
        return {"dtype": str(kind)}
    inner = kind.value_type
    if pa.types.is_struct(inner):
        return {"list": [_feature(inner.field(number)) for number in range(inner.num_fields)]}
    return {"list": _type(inner) if pa.types.is_list(inner) else str(inner)}


def _languages(sources: Sources, tables: list[SourceTable]) -> dict[str, float]:
    """Return the share of each language: as detected in curated dialogues, else as configured."""
    found: Counter[str] = Counter()
    for table in tables:
        if sources.what == "curated" and kind_of(table.name) is layout.CURATED:
            found.update(table.manifest["figures"]["languages"])
    if not found:
        return {table.settings["language"]: 1.0 for table in tables if kind_of(table.name) is layout.PROFILES}
    return {name: count / found.total() for name, count in found.most_common()}


def _recipe(tables: list[SourceTable]) -> dict[str, Any]:
    """Return the settings of the assignment of characters to instructions, in words."""
    recipe: dict[str, Any] = {}
    for table in tables:
        if kind_of(table.name) is layout.ASSIGNMENTS:
            recipe["characters per instruction"] = table.settings["characters_per_instruction"]
            recipe["seed of the assignment"] = table.settings["seed"]
    return recipe


def _curation(tables: list[SourceTable]) -> dict[str, Any]:
    """Return the settings of curation; empty without it."""
    train = next((table for table in tables if table.name == layout.CURATED.name(split="train")), None)
    if train is None:
        return {}
    omitted = ("prompts", "profiles", "sources", "benchmark", "limit", "safety")
    settings = _flatten({key: value for key, value in train.settings.items() if key not in omitted})
    weights = {name: weight for name, weight, *_ in train.settings["sources"] if weight is not None}
    rows = {"limit": limit} if (limit := train.settings.get("limit")) else {}
    return settings | rows | _safety_settings(_safety(tables)) | ({"mixture": weights} if weights else {})


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = _flatten(value) if isinstance(value, dict) else None
        flat |= {key: value} if nested is None else {f"{key}.{name}": one for name, one in nested.items()}
    return flat


def _safety(tables: list[SourceTable]) -> dict[str, Any]:
    """Return the safety checks of curation, by its manifest; an empty value was not checked."""
    recorded: dict[str, Any] = next(
        (table.manifest.get("safety") or {} for table in tables if table.name == layout.CURATED.name(split="train")), {}
    )
    people = recorded.get("people") or {}
    kinds = recorded.get("personal_data") or []
    return {
        "kinds": kinds,
        "not_checked": [kind for kind in get_args(PersonalData) if kind not in kinds],
        "regions": recorded.get("phone_regions") or [] if "phone" in kinds else [],
        "people": people.get("names", 0),
        "list": str(people.get("place", "")).rpartition("/")[2],
        "toxicity": recorded.get("toxicity"),
    }


def _safety_settings(safety: Mapping[str, Any]) -> dict[str, Any]:
    """Return the safety checks for the table of settings."""
    kinds, missing = (", ".join(safety[name]) for name in ("kinds", "not_checked"))
    people = f"{safety['people']:,} names in {safety['list']}" if safety["people"] else NOT_CHECKED
    return {
        "safety.personal_data": f"{kinds}; not checked: {missing}" if kinds and missing else kinds or NOT_CHECKED,
        **({"safety.phone_regions": ", ".join(safety["regions"])} if safety["regions"] else {}),
        "safety.real_people": people,
        "safety.toxicity": NOT_CHECKED if safety["toxicity"] is None else safety["toxicity"],
    }


def _demographics(tables: list[SourceTable]) -> dict[str, dict[str, int]]:
    """Return the attributes in the profiles of curated characters, over both splits."""
    counts: dict[str, Counter[str]] = {}
    for table in tables:
        for name, values in table.manifest.get("figures", {}).get("demographics", {}).items():
            counts.setdefault(name, Counter()).update(values)
    return {name: dict(values.most_common()) for name, values in counts.items()}
