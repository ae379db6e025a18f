"""The model card: what a model is, what it was trained on and how, and whose licenses apply."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.config import RunConfig
from factory.run_output.licenses import License, LicensedInput, inputs_by_license, license_of_model, public_name
from factory.storage import file_io
from factory.storage.tables import Table

LOOK_UP = "not known here: look it up before you hand this model on"


@dataclass(frozen=True)
class Origin:
    """How the dialogues came to be, as the run that made them tells."""

    engine: str
    model: str
    dialogues: dict[str, int]
    """Accepted ones for training, by strategy and corpus."""
    inputs: tuple[LicensedInput, ...]


def origin_of(config: RunConfig) -> Origin | None:
    """Where the dialogues of a training come from: this run, or the one that `training.data` names.

    None where that one left no settings.
    """
    place = config.training.data or config.output
    here = None if config.training.data else config.engine_section
    engine = (here.kind, here.model) if here else _engine_in(place)
    if engine is None:
        return None
    kept = (Table(place, "curated/train").manifest() or {}).get("sources", {})
    dialogues = {name: rows for name, rows in kept.items() if rows}
    corpora = list(dict.fromkeys(name.partition("-")[2] for name in dialogues))
    inputs = inputs_by_license("personas", "personas", _files(place, "personas"))
    for corpus in corpora:
        inputs += inputs_by_license(f"instructions `{corpus}`", corpus, _files(place, f"instructions/{corpus}"))
    return Origin(*engine, dialogues, tuple(inputs))


def _engine_in(output: str) -> tuple[str, str] | None:
    """Return the kind and the model of the engine in a run's config.json, which need be no config of this version."""
    content = file_io.read_if_there(file_io.join(output, "config.json"))
    try:
        engine = json.loads(content or b"")["engine"]
        return str(engine["kind"]), str(engine["model"])
    except (ValueError, LookupError, TypeError):
        return None


def _files(output: str, table: str) -> list[dict[str, Any]]:
    return list((Table(output, table).manifest() or {}).get("files", []))


def card_of(
    config: RunConfig, revision: str, train: Mapping[str, Any], validation: Mapping[str, Any], origin: Origin | None
) -> str:
    """The text of the model's README.

    Args:
        config: of the training.
        revision: of the base model.
        train: the manifest of the packed sequences.
        validation: likewise.
        origin: how the dialogues came to be; None where nobody knows.
    """
    training = config.training
    base = f"`{base_name(training.base_model)}`"
    told = training.model_dump(exclude={"data", "base_model"})
    settings = "\n".join(f"| {name} | `{value}` |" for name, value in told.items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
base_model: {base_name(training.base_model)}
tags: [role-playing, character]
---

# A role-playing model

It plays a character that the system prompt describes: a `# Persona` block, a `# Character Profile` block, and
the request to stay in character.

## Data

{train["ok"]:,} dialogues ({train["tokens"]:,} tokens, {train["learned_tokens"]:,} of them learned) in
{train["sequences"]:,} packed sequences; {validation["ok"]:,} dialogues of other characters for validation.
{_came_from(origin)}

## Training

Supervised fine-tuning of {base} (revision `{revision}`), loss on the assistant's tokens alone.

| setting | value |
| --- | --- |
{settings}

## License

The weights stand under the license of {base}; what they learned stands under those of the inputs and under the
terms of the model that wrote the dialogues.

| what | license | what is asked |
| --- | --- | --- |
{_licenses(training.base_model, origin)}
"""


def base_name(ref: str) -> str:
    """The base model as the exported folder may name it: a local path says nothing but its last part elsewhere."""
    return ref if ref.startswith(file_io.BUCKETS) else public_name(ref)


def _came_from(origin: Origin | None) -> str:
    if origin is None:
        return "The run that made them left no settings, so it is not known here who wrote them."
    sources = "\n".join(f"- `{name}`: {rows:,}" for name, rows in origin.dialogues.items())
    wrote = f"The engine `{origin.engine}` with the model `{public_name(origin.model)}` wrote them"
    return f"{wrote}; for training, by strategy and corpus:\n\n{sources}" if sources else f"{wrote}."


def _licenses(base_model: str, origin: Origin | None) -> str:
    base = license_of_model(base_name(base_model))
    rows = [_row(f"base model `{base_name(base_model)}`", base, "see there")]
    if origin:
        for one in origin.inputs:
            named = ", ".join(f"`{name}`" for name in one.files) + (f" and {one.more:,} more" if one.more else "")
            rows.append(_row(f"{one.what}: {named}" if named else one.what, one.license))
        writer = public_name(origin.model)
        rows.append(_row(f"outputs of `{writer}`", license_of_model(writer)))
    else:
        rows.append(_row("the dialogues", None))
    return "\n".join(rows)


def _row(what: str, license: License | None, asks: str | None = None) -> str:
    if license is None:
        return f"| {what} | {LOOK_UP} | |"
    return f"| {what} | [{license.license}]({license.link}) | {asks or license.terms} |"
