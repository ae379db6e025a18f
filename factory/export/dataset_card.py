"""An export's card: YAML front matter for the Hub above Markdown, whatever text the data holds."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import jinja2
import pyarrow as pa
import yaml

from factory.config import PersonalData
from factory.export.export_files import FileType
from factory.export.export_stats import MOST_TURNS
from factory.export.provenance import Step, inputs_of, models_of, prompts_of, steps_of
from factory.export.sources import CHARACTERS_PART, Part, Sources
from factory.run_output.licenses import combine_for_hub
from factory.storage.tables import Row

TEMPLATE = Path(__file__).parent / "dataset_card.md.jinja"
MAIN = "default"
NOT_ASKED = "not asked"
LEAST_SHARE = 0.01
"""A language that fewer dialogues are in may be the detector's mistake, and is not in the front matter."""
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def card(sources: Sources, file_type: FileType, manifest: Mapping[str, Any], examples: Mapping[str, Row]) -> str:
    """The README.md of an export.

    Args:
        sources: what it was made of.
        file_type: of its files.
        manifest: its own, with the figures of each split.
        examples: a row of each part.
    """
    steps = steps_of(sources)
    inputs, models = inputs_of(sources, steps), models_of(steps)
    languages = _languages(sources, steps)
    hub_license = combine_for_hub([*(one.license for one in inputs), *(one.license for one in models)])
    front = _front_matter(sources, file_type, manifest, hub_license, _codes(languages))
    return _template().render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120),
        sources=sources,
        parts=sources.parts,
        characters_part=CHARACTERS_PART,
        file_type=file_type,
        manifest=manifest,
        examples=examples,
        steps=steps,
        recipe=_recipe(steps),
        curation=_curation(steps),
        safety=_safety(steps),
        prompts=prompts_of(steps, sources.config.prompts_dir),
        models=models,
        inputs=inputs,
        license=hub_license,
        languages=languages,
        cast=_cast(steps),
        most_turns=str(MOST_TURNS),
        version=version("opencharacter-factory"),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(  # Markdown, escaped by `cell` and `fenced`
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": cell, "fenced": fenced, "pretty": pretty, "number": "{:,}".format}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def cell(text: object) -> str:
    """A text on one line in which Markdown and HTML mean nothing, for a table's cell or a sentence."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return re.sub(r"([\\`*_\[\]<>|#&~!$])", r"\\\1", line)


def fenced(text: str, language: str = "") -> str:
    """A text as a code block, with a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"


def pretty(row: Row) -> str:
    """A row as JSON that people read."""
    return json.dumps(row, indent=2, ensure_ascii=False)


def _front_matter(
    sources: Sources, file_type: FileType, manifest: Mapping[str, Any], hub_license: str, codes: list[str]
) -> dict[str, Any]:
    rows = sum(part.rows for part in sources.splits)
    return {
        "pretty_name": "Character dialogues",
        "license": hub_license,
        **({"language": codes} if codes else {}),
        "size_categories": [next((name for most, name in _SIZES.items() if rows < most), "10M<n<100M")],
        "task_categories": ["text-generation"],
        "tags": ["role-playing", "character", "synthetic", "sft"],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": f"{part.name}-*.{file_type}"} for split, part in parts],
                **({"default": True} if name == MAIN else {}),
            }
            for name, parts in _configs(sources).items()
        ],
        # Without it a column whose lists are empty in the first rows is taken for one of nulls.
        "dataset_info": [
            {
                "config_name": name,
                "features": [_feature(field) for field in parts[0][1].shape.schema],
                "splits": [{"name": split, "num_examples": part.rows} for split, part in parts],
            }
            for name, parts in _configs(sources).items()
        ],
    }


def _configs(sources: Sources) -> dict[str, list[tuple[str, Part]]]:
    """The parts of each configuration, by the name of their split."""
    configs = {MAIN: [(part.name, part) for part in sources.splits]}
    others = [part for part in sources.parts if part.name == CHARACTERS_PART]
    return configs | {part.name: [("train", part)] for part in others}


def _feature(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, **_type(field.type)}


def _type(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as `datasets` writes it in YAML."""
    if not pa.types.is_list(kind):
        return {"dtype": str(kind)}
    inner = kind.value_type
    if pa.types.is_struct(inner):
        return {"list": [_feature(inner.field(number)) for number in range(inner.num_fields)]}
    return {"list": _type(inner) if pa.types.is_list(inner) else str(inner)}


def _languages(sources: Sources, steps: list[Step]) -> dict[str, float]:
    """The share of each language: as detected in curated dialogues, else as it was asked for."""
    found: Counter[str] = Counter()
    for step in steps:
        if sources.what == "curated" and step.name.startswith("curated/"):
            found.update(step.manifest["figures"]["languages"])
    if not found:
        return {step.settings["language"]: 1.0 for step in steps if step.name == "profiles"}
    return {name: count / found.total() for name, count in found.most_common()}


def _codes(languages: Mapping[str, float]) -> list[str]:
    # The detector's names and codes are its own library's, which takes a moment to import.
    from lingua import Language

    from factory.text.language import languages_named

    named = [
        name for text, share in languages.items() if share >= LEAST_SHARE for name in sorted(languages_named(text))
    ]
    return list(dict.fromkeys(getattr(Language, name).iso_code_639_1.name.lower() for name in named))


def _recipe(steps: list[Step]) -> dict[str, Any]:
    """What was asked for, in words."""
    work = [step for step in steps if step.name.startswith("assignments/")]
    told: dict[str, Any] = {}
    for step in work:
        told["characters an instruction"] = step.settings["characters_per_instruction"]
        told["seed of the assignment"] = step.settings["seed"]
    return told


def _curation(steps: list[Step]) -> dict[str, Any]:
    """The settings that curation was done with; empty where it was not."""
    left_out = ("prompts", "profiles", "sources", "quality", "benchmark", "limit", "safety")
    for step in steps:
        if step.name == "curated/train":
            told = {key: value for key, value in step.settings.items() if key not in left_out}
            weights = {name: weight for name, weight, *_ in step.settings["sources"] if weight is not None}
            rules = {f"quality.{key}": value for key, value in step.settings["quality"].items()}
            rows = {"limit": limit} if (limit := step.settings.get("limit")) else {}
            return told | rows | rules | _asked(_safety(steps)) | ({"mixture": weights} if weights else {})
    return {}


def _safety(steps: list[Step]) -> dict[str, Any]:
    """What curation asked for the sake of people, as its table says; what is empty was not asked."""
    told: dict[str, Any] = next(
        (step.manifest.get("safety") or {} for step in steps if step.name == "curated/train"), {}
    )
    people = told.get("people") or {}
    kinds = told.get("personal_data") or []
    return {
        "kinds": kinds,
        "not_asked": [kind for kind in get_args(PersonalData) if kind not in kinds],
        "regions": told.get("phone_regions") or [] if "phone" in kinds else [],
        "people": people.get("names", 0),
        "list": str(people.get("place", "")).rpartition("/")[2],
        "toxicity": told.get("toxicity"),
    }


def _asked(safety: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the table of settings."""
    kinds, missing = (", ".join(safety[name]) for name in ("kinds", "not_asked"))
    return {
        "safety.personal_data": f"{kinds}; not asked: {missing}" if kinds and missing else kinds or NOT_ASKED,
        **({"safety.phone_regions": ", ".join(safety["regions"])} if safety["regions"] else {}),
        "safety.real_people": f"{safety['people']:,} names in {safety['list']}" if safety["people"] else NOT_ASKED,
        "safety.toxicity": NOT_ASKED if safety["toxicity"] is None else safety["toxicity"],
    }


def _cast(steps: list[Step]) -> dict[str, dict[str, int]]:
    """What the profiles of curated characters say, of both splits together."""
    told: dict[str, Counter[str]] = {}
    for step in steps:
        for name, values in step.manifest.get("figures", {}).get("demographics", {}).items():
            told.setdefault(name, Counter()).update(values)
    return {name: dict(values.most_common()) for name, values in told.items()}
