"""How exported dialogues came to be, as the tables before them tell: accounts, prompts, models, inputs.

What a card publishes names no folder or host of the machines that made it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from factory.errors import PromptError
from factory.export.sources import SPLITS, Sources
from factory.inference.prompts import load_prompt
from factory.run_output.licenses import License, LicensedInput, inputs_by_license, license_of_model, public_name
from factory.storage.tables import Table


@dataclass(frozen=True)
class Step:
    """A finished table on the way."""

    name: str
    manifest: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True)
class PromptText:
    """A prompt that rows name; `text` is None where that version is not at hand any more."""

    ref: str
    text: str | None


@dataclass(frozen=True)
class Model:
    """A model that wrote some of it, and how it was asked to."""

    step: str
    name: str
    revision: str
    engine: str
    sampling: dict[str, Any]
    seed: int | None
    prompt_tokens: int
    output_tokens: int
    license: License | None


def corpora_of(sources: Sources) -> list[str]:
    """The corpora that the dialogues come from."""
    return list(dict.fromkeys(table.name.partition("-")[2] for table in sources.dialogues))


def steps_of(sources: Sources) -> list[Step]:
    """The tables that led to an export, in the order in which the data flows; those that are there."""
    corpora = corpora_of(sources)
    names = [
        "personas",
        *(f"instructions/{corpus}" for corpus in corpora),
        "profiles",
        *(f"assignments/{corpus}" for corpus in corpora),
        *(table.name for table in sources.dialogues),
        *(f"curated/{split}" for split in SPLITS if sources.what == "curated"),
    ]
    tables = [Table(sources.config.output, name) for name in names]
    made = [(table, table.manifest()) for table in tables]
    return [Step(table.name, manifest, table.settings() or {}) for table, manifest in made if manifest]


def prompts_of(steps: Sequence[Step], prompts_dir: str | None) -> list[PromptText]:
    """Every prompt that the steps name, in full where the same version is at hand."""
    refs = dict.fromkeys(
        ref for step in steps for key in ("prompt", "system") if isinstance(ref := step.settings.get(key), str)
    )
    return [PromptText(ref, _text(ref, prompts_dir)) for ref in refs]


def _text(ref: str, prompts_dir: str | None) -> str | None:
    for folder in dict.fromkeys((prompts_dir, None)):
        with suppress(PromptError):  # the folder may be gone, or hold other prompts by now
            prompt = load_prompt(ref.partition("@")[0], folder)
            if prompt.ref == ref:
                return prompt.text
    return None


def inputs_of(sources: Sources, steps: Sequence[Step]) -> list[LicensedInput]:
    """The files of personas and instructions, together where they stand under the same license.

    Where a table is not there any more, so that its files are not known, its license is not known either.
    """
    there = {step.name: step.manifest.get("files", []) for step in steps}
    found = [*inputs_by_license("personas", "personas", there.get("personas", []))]
    for corpus in corpora_of(sources):
        what = f"instructions, corpus `{corpus}`"
        found += inputs_by_license(what, corpus, there.get(f"instructions/{corpus}", []))
    return found


def models_of(steps: Sequence[Step]) -> list[Model]:
    """The models of the steps that ask one."""
    return [_model(step) for step in steps if "engine" in step.settings]


def _model(step: Step) -> Model:
    settings, engine = step.settings, step.settings["engine"]
    name = public_name(settings["ref"])
    # What is noted of an endpoint may be where it is, in runs of before, and nobody's business.
    revision = "an endpoint that tells none" if engine == "openai" else str(settings["revision"])
    return Model(
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
