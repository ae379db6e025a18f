"""The inputs of curation, all of which are read before Ray starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.config import MixtureSource, RunConfig
from factory.config.curation import Curation
from factory.curation.rules.decontamination import BenchmarkTexts, read_benchmark_texts
from factory.curation.rules.personal_data import check_regions
from factory.curation.rules.real_people import RealPeople, read_real_people
from factory.errors import ConfigError, InputError
from factory.inference.prompts import load_prompt
from factory.run_output import layout
from factory.storage.tables import Table, compute_fingerprint
from factory.text.language import SAMPLES, languages_named

PROMPTS = ("dialogue-generate", "dialogue-rewrite", "training-system")
_JINJA = re.compile(r"{{.*?}}|{%.*?%}|{#.*?#}", re.DOTALL)
_REMEDY = "run `make synthesize` with this config first"


@dataclass(frozen=True)
class DialogueSource:
    """A finished table of dialogues, and the assignments that it was generated from, shard by shard."""

    dialogues: Table
    assignments: Table
    weight: float | None
    rows: int
    """Accepted dialogues, at most the limit."""

    @property
    def name(self) -> str:
        """The table's name in short, such as `generate-lima`."""
        return self.dialogues.name.rpartition("/")[2]

    @property
    def strategy(self) -> str:
        """How its dialogues were written."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class CurationInputs:
    """The sources, and everything that their dialogues are compared with."""

    sources: tuple[DialogueSource, ...]
    profiles: Table
    languages: frozenset[str]
    prompts: tuple[str, ...]
    """The fixed texts of the prompts."""
    benchmark: BenchmarkTexts
    people: RealPeople | None
    """None where real people may be named."""
    settings: dict[str, Any]
    """What the fingerprint is computed from."""

    @property
    def passed(self) -> str:
        """A fingerprint of what decides which dialogues pass the rules and are no near-duplicates."""
        later = ("judge", "max_per_character", "validation_fraction", "sources")
        sources = [[name, *identity] for name, _, *identity in self.settings["sources"]]
        earlier = {name: value for name, value in self.settings.items() if name not in later}
        return compute_fingerprint({**earlier, "sources": sources})


def find_inputs(config: RunConfig, judge: Mapping[str, Any] | None = None) -> CurationInputs:
    """Find all inputs of a run.

    Args:
        config: the run's settings.
        judge: what decides which dialogues its judge rejects; None without one.

    Raises:
        ConfigError: a table is not finished, or a country is unknown.
        InputError: there are no dialogues, or the benchmark or the names of people cannot be read.
        PromptError: a prompt cannot be read.
    """
    curation, safety = config.curation, config.safety
    prompts = [load_prompt(name, config.prompt_places) for name in PROMPTS]
    fixed = tuple(text for prompt in prompts for _, body in prompt.parts for text in _JINJA.split(body))
    benchmark = read_benchmark_texts(curation.benchmark, curation.benchmark_words)
    check_regions(safety.phone_regions)
    people = read_real_people(safety.real_people_file) if safety.real_people else None
    profiles = layout.PROFILES.table(config.output)
    sources = tuple(_dialogue_source(config, source) for source in curation.mixture or _all_sources(config))
    if not any(source.rows for source in sources):
        names = ", ".join(source.dialogues.path for source in sources)
        raise InputError(f"{names}: no dialogue was accepted; see `rejected` in .manifest.json for the reasons")
    settings = {
        **rule_settings(curation),
        "seed": config.seed,
        "language": config.profiles.language,
        "language_samples": SAMPLES,
        "benchmark": benchmark.digest,
        "safety": [*safety.personal_data, *safety.phone_regions, safety.toxicity, people and people.digest],
        "prompts": [prompt.ref for prompt in prompts],
        "profiles": _identity(profiles),
        "sources": [[source.name, source.weight, *_identity(source.dialogues)] for source in sources],
    }
    if judge:
        settings["judge"] = dict(judge)
    languages = languages_named(config.profiles.language) | _languages_of_rows(config)
    return CurationInputs(sources, profiles, languages, fixed, benchmark, people, settings)


def rule_settings(curation: Curation) -> dict[str, Any]:
    """Return the settings that the fingerprint has as they are; `custom_rules` only where there are some."""
    absent = set() if curation.custom_rules else {"custom_rules"}
    return curation.model_dump(exclude={"benchmark", "mixture", "judge", *absent})


def _languages_of_rows(config: RunConfig) -> frozenset[str]:
    """Return the languages that personas and given profiles name themselves."""
    kinds = [layout.PERSONAS] if config.personas_section and config.personas_section.language else []
    kinds += [layout.GIVEN_PROFILES] if config.profiles.source else []
    manifests = [kind.table(config.output).manifest() or {} for kind in kinds]
    return frozenset(name for manifest in manifests for name in manifest.get("languages", ()))


def _all_sources(config: RunConfig) -> list[MixtureSource]:
    if not config.instructions:
        raise ConfigError("instructions: the config has no corpus, so there are no dialogues; add one, or a mixture")
    return [
        MixtureSource(corpus=corpus.corpus, strategy=strategy)
        for corpus in config.instructions
        for strategy in config.dialogues.strategies
    ]


def _dialogue_source(config: RunConfig, source: MixtureSource) -> DialogueSource:
    dialogues = layout.DIALOGUES.table(config.output, strategy=source.strategy, corpus=source.corpus)
    assignments = layout.ASSIGNMENTS.table(config.output, corpus=source.corpus)
    rows = _finished(dialogues)["ok"]
    if _finished(assignments)["fingerprint"] != (dialogues.inputs() or {}).get("work"):
        raise ConfigError(f"{dialogues.path}: was generated from other assignments than the present ones; {_REMEDY}")
    return DialogueSource(dialogues, assignments, source.weight, min(rows, config.curation.limit or rows))


def _identity(table: Table) -> list[str]:
    """Return what distinguishes a table from one rebuilt with the same settings, as replies are sampled."""
    manifest = _finished(table)
    return [manifest["fingerprint"], manifest["finished"]]


def _finished(table: Table) -> dict[str, Any]:
    manifest = table.manifest()
    if manifest is None:
        raise ConfigError(f"{table.path}: there is no finished table; {_REMEDY}, or name others in curation.mixture")
    return manifest
