"""What a run curates, and everything that decides about its rows; all of it is read before Ray starts."""

import re
from dataclasses import dataclass
from typing import Any

from factory.config import MixtureSource, RunConfig
from factory.curation.rules.context import RuleSettings
from factory.curation.rules.decontamination import Benchmark, read_benchmark
from factory.curation.rules.personal_data import check_regions
from factory.curation.rules.real_people import RealPeople, read_real_people
from factory.errors import ConfigError, InputError
from factory.inference.prompts import load_prompt
from factory.storage.tables import Table
from factory.text.language import languages_named

PROMPTS = ("dialogue-generate", "dialogue-rewrite", "training-system")
_JINJA = re.compile(r"{{.*?}}|{%.*?%}|{#.*?#}", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """A finished table of dialogues, and the assignments that it was made of, shard by shard."""

    dialogues: Table
    assignments: Table
    weight: float | None
    rows: int
    """Accepted dialogues, or as many of them as the limit lets in."""

    @property
    def name(self) -> str:
        """Such as `generate-lima`."""
        return self.dialogues.name.removeprefix("dialogues/")


@dataclass(frozen=True)
class Inputs:
    """The sources and what their dialogues are held against; `settings` says which they are."""

    sources: tuple[Source, ...]
    profiles: Table
    book: RuleSettings
    benchmark: Benchmark
    people: RealPeople | None
    """None where anybody may be named."""
    settings: dict[str, Any]


def find_inputs(config: RunConfig) -> Inputs:
    """Find all inputs of a run.

    Raises:
        ConfigError: a table is not finished, or a country is unknown.
        InputError: there are no dialogues, or the benchmark or the names of people cannot be read.
        PromptError: a prompt cannot be read.
    """
    curation, safety = config.curation, config.safety
    prompts = [load_prompt(name, config.prompts_dir) for name in PROMPTS]
    fixed = tuple(text for prompt in prompts for _, body in prompt.parts for text in _JINJA.split(body))
    book = RuleSettings(curation.quality, languages_named(config.profiles.language), fixed)
    benchmark = read_benchmark(curation.benchmark, curation.benchmark_words)
    check_regions(safety.phone_regions)
    people = read_real_people(safety.real_people_file) if safety.real_people else None
    profiles = Table(config.output, "profiles")
    sources = tuple(_source(config, one) for one in curation.mixture or _all_sources(config))
    if not any(source.rows for source in sources):
        names = ", ".join(source.dialogues.path for source in sources)
        raise InputError(f"{names}: no dialogue was accepted; see `rejected` in .manifest.json for the reasons")
    settings = {
        **curation.model_dump(exclude={"benchmark", "mixture"}),
        "seed": config.seed,
        "language": config.profiles.language,
        "benchmark": benchmark.digest,
        "safety": [*safety.personal_data, *safety.phone_regions, safety.toxicity, people and people.digest],
        "prompts": [prompt.ref for prompt in prompts],
        "profiles": _made(profiles),
        "sources": [[source.name, source.weight, *_made(source.dialogues)] for source in sources],
    }
    return Inputs(sources, profiles, book, benchmark, people, settings)


def _all_sources(config: RunConfig) -> list[MixtureSource]:
    if not config.instructions:
        raise ConfigError("instructions: the config names no corpus, so there are no dialogues; give one, or a mixture")
    return [
        MixtureSource(corpus=corpus.corpus, strategy=strategy)
        for corpus in config.instructions
        for strategy in config.dialogues.strategies
    ]


def _source(config: RunConfig, one: MixtureSource) -> Source:
    dialogues = Table(config.output, f"dialogues/{one.strategy}-{one.corpus}")
    assignments = Table(config.output, f"assignments/{one.corpus}")
    _made(dialogues)
    work, of = _finished(assignments), (dialogues.inputs() or {}).get("work")
    if work["fingerprint"] != of:
        raise ConfigError(f"{dialogues.path}: was made of other assignments than are there; {_AGAIN}")
    rows = _finished(dialogues)["ok"]
    return Source(dialogues, assignments, one.weight, min(rows, config.curation.limit or rows))


_AGAIN = "run `make synthesize` with this config first"


def _made(table: Table) -> list[str]:
    """What tells a table from another: replies are sampled, so the same settings make other ones again."""
    manifest = _finished(table)
    return [manifest["fingerprint"], manifest["finished"]]


def _finished(table: Table) -> dict[str, Any]:
    manifest = table.manifest()
    if manifest is None:
        raise ConfigError(f"{table.path}: there is no finished table; {_AGAIN}, or name others in curation.mixture")
    return manifest
