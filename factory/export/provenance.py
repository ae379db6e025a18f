"""The provenance of exported dialogues, from the tables that led to them: counts, prompts, models, inputs.

A published card has no folder or host of the machines that built it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.config.prompt_places import PromptPlaces
from factory.export.sources import Sources
from factory.inference.prompts import find_prompt
from factory.run_output import layout
from factory.run_output.layout import SPLITS
from factory.run_output.licenses import (
    License,
    LicensedInput,
    characters_by_license,
    inputs_by_license,
    license_of_model,
    public_name,
)
from factory.storage.tables import Table


@dataclass(frozen=True)
class SourceTable:
    """A finished table that led to the export."""

    name: str
    manifest: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True)
class PromptText:
    """A prompt of the rows; `text` is None if that version is no longer available."""

    ref: str
    text: str | None


@dataclass(frozen=True)
class ModelUse:
    """A model that wrote part of the data, and its sampling."""

    step: str
    name: str
    revision: str
    engine: str
    sampling: dict[str, Any]
    seed: int | None
    prompt_tokens: int
    output_tokens: int
    license: License | None


def _corpora(sources: Sources) -> list[str]:
    """Return the corpora of the dialogues."""
    parts = (layout.DIALOGUES.parts(table.name) for table in sources.dialogues)
    return list(dict.fromkeys(found["corpus"] for found in parts if found))


def find_source_tables(sources: Sources) -> list[SourceTable]:
    """Return the finished tables that led to an export, in the order of the data flow."""
    corpora = _corpora(sources)
    names = [
        layout.PERSONAS.name(),
        *(layout.INSTRUCTIONS.name(corpus=corpus) for corpus in corpora),
        layout.GIVEN_PROFILES.name(),
        layout.PROFILES.name(),
        *(layout.ASSIGNMENTS.name(corpus=corpus) for corpus in corpora),
        *(table.name for table in sources.dialogues),
        *(layout.CURATED.name(split=split) for split in SPLITS if sources.what == "curated"),
    ]
    tables = [Table(sources.config.output, name) for name in names]
    manifests = [(table, table.manifest()) for table in tables]
    return [SourceTable(table.name, manifest, table.inputs() or {}) for table, manifest in manifests if manifest]


def find_prompts(steps: Sequence[SourceTable], places: PromptPlaces) -> list[PromptText]:
    """Return every prompt of the tables, with its text if the same version is available."""
    refs = dict.fromkeys(
        ref for step in steps for key in ("prompt", "system") if isinstance(ref := step.settings.get(key), str)
    )
    found = [(ref, find_prompt(ref, places)) for ref in refs]
    return [PromptText(ref, prompt.text if prompt else None) for ref, prompt in found]


def find_inputs(sources: Sources, steps: Sequence[SourceTable]) -> list[LicensedInput]:
    """Return the files of personas, given profiles and instructions, grouped by license.

    If a table is missing, its files are not known, and its license is not known either.
    """
    files = {step.name: step.manifest.get("files", []) for step in steps}
    found = characters_by_license(*(files.get(kind.name(), []) for kind in (layout.PERSONAS, layout.GIVEN_PROFILES)))
    for corpus in _corpora(sources):
        what = f"instructions, corpus `{corpus}`"
        found += inputs_by_license(what, corpus, files.get(layout.INSTRUCTIONS.name(corpus=corpus), []))
    return found


def find_models(steps: Sequence[SourceTable]) -> list[ModelUse]:
    """Return the models of the tables that a model wrote."""
    return [_model(step) for step in steps if "engine" in step.settings]


def _model(step: SourceTable) -> ModelUse:
    settings, engine = step.settings, step.settings["engine"]
    name = public_name(settings["ref"])
    # In tables of earlier versions, the revision of an endpoint may be its address, which is private.
    revision = "not reported by the endpoint" if engine == "openai" else str(settings["revision"])
    return ModelUse(
        step=step.name,
        name=name,
        revision=revision,
        engine=engine,
        sampling=settings["sampling"],
        seed=settings.get("seed"),
        prompt_tokens=step.manifest["prompt_tokens"],
        output_tokens=step.manifest["output_tokens"],
        license=license_of_model(name),
    )
