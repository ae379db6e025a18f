"""Where the training data comes from, by the record of the run that generated it."""

import json
from dataclasses import dataclass
from typing import Any

from factory.config import RunConfig
from factory.inference.prompts import Prompt, find_prompt
from factory.run_output import layout
from factory.run_output.licenses import LicensedInput, characters_by_license, inputs_by_license
from factory.storage import file_io
from factory.storage.tables import Table


@dataclass(frozen=True)
class DataOrigin:
    """How the dialogues were generated, by the record of that run."""

    engine: str
    model: str
    dialogues: dict[str, int]
    """Accepted ones for training, by strategy and corpus."""
    inputs: tuple[LicensedInput, ...]
    system: str | None
    """The `ref` of the prompt of most system messages."""
    prompt: Prompt | None
    """That prompt, if the same version is still available."""
    languages: dict[str, float]
    """The share of each: as detected, else as configured."""


def data_origin(config: RunConfig) -> DataOrigin | None:
    """Return the origin of the training data: this run, or the one that `training.data` names.

    None if that one left no settings.
    """
    output = config.training.data or config.output
    here = None if config.training.data else config.engine_section
    engine = (here.kind, here.model) if here else _engine_in(output)
    if engine is None:
        return None
    kept = layout.CURATED.table(output, split="train").manifest() or {}
    dialogues = {name: rows for name, rows in kept.get("sources", {}).items() if rows}
    parts = {name: name.partition("-") for name in dialogues}
    inputs = characters_by_license(*(_files(kind.table(output)) for kind in (layout.PERSONAS, layout.GIVEN_PROFILES)))
    for corpus in dict.fromkeys(corpus for _, _, corpus in parts.values()):
        inputs += inputs_by_license(
            f"instructions `{corpus}`", corpus, _files(layout.INSTRUCTIONS.table(output, corpus=corpus))
        )
    system = None
    for name in sorted(dialogues, key=lambda name: -dialogues[name]):
        strategy, _, corpus = parts[name]
        table = layout.DIALOGUES.table(output, strategy=strategy, corpus=corpus)
        system = system or (table.inputs() or {}).get("system")
    prompt = find_prompt(system, config.prompt_places) if system else None
    return DataOrigin(*engine, dialogues, tuple(inputs), system, prompt, _languages(output, kept))


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


def _languages(output: str, curated: dict[str, Any]) -> dict[str, float]:
    found = (curated.get("figures") or {}).get("languages") or {}
    if total := sum(found.values()):
        return {name: count / total for name, count in found.items()}
    configured = (layout.PROFILES.table(output).inputs() or {}).get("language")
    return {configured: 1.0} if configured else {}
