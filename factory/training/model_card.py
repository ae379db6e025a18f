"""The model card: what a model is, how and on which data it was trained, and which licenses apply."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.config import RunConfig
from factory.run_output import layout
from factory.run_output.licenses import License, LicensedInput, inputs_by_license, license_of_model, public_name
from factory.storage import file_io
from factory.storage.tables import Table

LOOK_UP = "not known here: look it up before you redistribute this model"


@dataclass(frozen=True)
class DataOrigin:
    """How the dialogues were generated, by the record of that run."""

    engine: str
    model: str
    dialogues: dict[str, int]
    """Accepted ones for training, by strategy and corpus."""
    inputs: tuple[LicensedInput, ...]


def data_origin(config: RunConfig) -> DataOrigin | None:
    """Return the origin of the training data: this run, or the one that `training.data` names.

    None if that one left no settings.
    """
    output = config.training.data or config.output
    here = None if config.training.data else config.engine_section
    engine = (here.kind, here.model) if here else _engine_in(output)
    if engine is None:
        return None
    kept = (layout.CURATED.table(output, split="train").manifest() or {}).get("sources", {})
    dialogues = {name: rows for name, rows in kept.items() if rows}
    corpora = list(dict.fromkeys(name.partition("-")[2] for name in dialogues))
    inputs = inputs_by_license("personas", "personas", _files(layout.PERSONAS.table(output)))
    for corpus in corpora:
        inputs += inputs_by_license(
            f"instructions `{corpus}`", corpus, _files(layout.INSTRUCTIONS.table(output, corpus=corpus))
        )
    return DataOrigin(*engine, dialogues, tuple(inputs))


def _engine_in(output: str) -> tuple[str, str] | None:
    """Return the kind and the model of the engine in a run's config.json, which may be of another version."""
    content = file_io.read_if_there(file_io.join(output, layout.CONFIG))
    try:
        engine = json.loads(content or b"")["engine"]
        return str(engine["kind"]), str(engine["model"])
    except (ValueError, LookupError, TypeError):
        return None


def _files(table: Table) -> list[dict[str, Any]]:
    return list((table.manifest() or {}).get("files", []))


def build_card(
    config: RunConfig, revision: str, train: Mapping[str, Any], validation: Mapping[str, Any], origin: DataOrigin | None
) -> str:
    """Return the text of the model's README.

    Args:
        config: of the training.
        revision: of the base model.
        train: the manifest of the packed sequences.
        validation: likewise.
        origin: how the dialogues were generated; None if that is not known.
    """
    training = config.training
    base = f"`{base_name(training.base_model)}`"
    shown = training.model_dump(exclude={"data", "base_model"})
    settings = "\n".join(f"| {name} | `{value}` |" for name, value in shown.items())
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
{_origin_text(origin)}

## Training

Supervised fine-tuning of {base} (revision `{revision}`), loss on the assistant's tokens alone.

| setting | value |
| --- | --- |
{settings}

## License

The license of {base} applies to the weights; the licenses of the inputs and the terms of the model that wrote the
dialogues apply to what they learned.

| what | license | requirements |
| --- | --- | --- |
{_license_rows(training.base_model, origin)}
"""


def base_name(ref: str) -> str:
    """Return the name of the base model for an exported folder: of a local path the last part alone."""
    return ref if ref.startswith(file_io.BUCKETS) else public_name(ref)


def _origin_text(origin: DataOrigin | None) -> str:
    if origin is None:
        return "The run that generated them left no settings, so it is not known which model wrote them."
    sources = "\n".join(f"- `{name}`: {rows:,}" for name, rows in origin.dialogues.items())
    wrote = f"The engine `{origin.engine}` with the model `{public_name(origin.model)}` wrote them"
    return f"{wrote}; for training, by strategy and corpus:\n\n{sources}" if sources else f"{wrote}."


def _license_rows(base_model: str, origin: DataOrigin | None) -> str:
    base = license_of_model(base_name(base_model))
    rows = [_row(f"base model `{base_name(base_model)}`", base, "see there")]
    if origin:
        for part in origin.inputs:
            names = ", ".join(f"`{name}`" for name in part.files) + (f" and {part.more:,} more" if part.more else "")
            rows.append(_row(f"{part.what}: {names}" if names else part.what, part.license))
        writer = public_name(origin.model)
        rows.append(_row(f"outputs of `{writer}`", license_of_model(writer)))
    else:
        rows.append(_row("the dialogues", None))
    return "\n".join(rows)


def _row(what: str, license: License | None, requirements: str | None = None) -> str:
    if license is None:
        return f"| {what} | {LOOK_UP} | |"
    return f"| {what} | [{license.license}]({license.link}) | {requirements or license.terms} |"
