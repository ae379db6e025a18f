"""The root of the settings tree."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ConfigDict, Field, model_validator

from factory.config.accept import Accept
from factory.config.alarms import Alarms
from factory.config.budget import Budget
from factory.config.curation import Curation, Safety
from factory.config.engines import EMBEDDED, Engine, VllmEngine
from factory.config.evaluation import BenchmarkGeneration, Evaluation
from factory.config.labels import Labels
from factory.config.paths import LocalPath, OutputPath, role_of
from factory.config.planning import Attribution, Planning
from factory.config.playground import Chat
from factory.config.preferences import Preferences
from factory.config.prompt_places import PromptFiles, PromptPlaces
from factory.config.sections import Sampling, Section
from factory.config.synthesis import Dialogues, Instructions, Personas, Profiles
from factory.config.training import TEMPLATE_NAMES, Training
from factory.errors import ConfigError


class RunConfig(Section):
    """All settings of a run. A step needs only the sections that it uses."""

    model_config = ConfigDict(serialize_by_alias=True)

    output: OutputPath
    """A local folder, s3://bucket/prefix or gs://bucket/prefix."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Seed of all random choices of the run."""
    confirm_above_rows: int = Field(100_000, ge=0)
    """If changed settings would archive more finished rows than this, the run asks first; without a terminal it
    requires `--yes`."""
    prompts_dir: LocalPath | None = None
    """A folder of prompts, which replace the built-in prompts of the same name."""
    prompts: PromptFiles = Field(default_factory=dict)
    """Prompts of your own by the name of the one that each replaces, before those of `prompts_dir`:
    `{profile: my/profile.md, judge: s3://bucket/judge.md}`."""
    engine_section: Engine | None = Field(None, alias="engine")
    """The engine that generates text."""
    personas_section: Personas | None = Field(None, alias="personas")
    """The source of the personas."""
    instructions: tuple[Instructions, ...] = ()
    """Sources of instructions for dialogues; if empty, only profiles are generated."""
    profiles: Profiles = Profiles()
    dialogues: Dialogues = Dialogues()
    curation: Curation = Curation()
    safety: Safety = Safety()
    alarms: Alarms = Alarms()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    benchmark_generation: BenchmarkGeneration = BenchmarkGeneration()
    accept: Accept = Accept()
    budget: Budget = Budget()
    planning: Planning = Planning()
    attribution: Attribution = Attribution()
    chat: Chat = Chat()
    labels: Labels = Labels()
    preferences: Preferences = Preferences()

    @property
    def prompt_places(self) -> PromptPlaces:
        """Where prompts come from."""
        return PromptPlaces(self.prompts_dir, tuple(sorted(self.prompts.items())))

    @property
    def engine(self) -> Engine:
        """The text-generation engine; raises ConfigError if the config has none."""
        if self.engine_section is None:
            raise _missing("engine", "{kind: vllm, model: embedded}")
        return self.engine_section

    @property
    def personas(self) -> Personas:
        """The personas; raises ConfigError if the config has none."""
        if self.personas_section is None:
            raise _missing("personas", "{source: data/personas.jsonl}")
        return self.personas_section

    @property
    def has_personas(self) -> bool:
        """Whether profiles are generated: there are personas, or no finished profiles in their place."""
        return self.personas_section is not None or self.profiles.source is None

    @model_validator(mode="after")
    def _corpora_differ(self) -> Self:
        names = [corpus.corpus for corpus in self.instructions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"instructions names the corpus {name!r} twice; give each its own name")
        return self

    @model_validator(mode="after")
    def _can_accept(self) -> Self:
        dialogues = self.dialogues
        tables = [f"{strategy}-{one.corpus}" for one in self.instructions for strategy in dialogues.strategies]
        characters = dialogues.characters_per_instruction if tables else 0
        if problem := self.accept.problem(tables, self.has_personas, characters, dialogues.candidates):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _has_sampling_for_vllm(self) -> Self:
        used: list[tuple[str, Sampling, str]] = []
        if isinstance(self.engine_section, VllmEngine):
            sections = ("profiles", "dialogues", "benchmark_generation")
            used = [(f"{name}.sampling", getattr(self, name).sampling, "the engine") for name in sections]
        for candidate in self.evaluation.candidates:
            if isinstance(candidate, VllmEngine):
                used.append(
                    (
                        "evaluation.sampling",
                        self.evaluation.answer_sampling(candidate),
                        f"the candidate {candidate.name!r}",
                    )
                )
        for key, sampling, by in used:
            if sampling.nulls:
                raise ValueError(
                    f"{key}.{sampling.nulls[0]} is null, which only endpoints take (kind: openai), and {by} is vLLM; "
                    "give a number"
                )
        return self

    def limited(self, rows: int) -> "RunConfig":
        """Return the same run restricted to the first rows of each source, without numbers of accepted rows.

        Raises:
            ConfigError: the number of rows is out of range.
        """
        if not 1 <= rows < 2**63:
            raise ConfigError(f"--limit is {rows}; it must be at least 1, and fit into 64 bits")
        limit = {"limit": rows}
        return self.model_copy(
            update={
                "personas_section": self.personas_section and self.personas_section.model_copy(update=limit),
                "profiles": self.profiles.model_copy(update=limit),
                "instructions": tuple(corpus.model_copy(update=limit) for corpus in self.instructions),
                "curation": self.curation.model_copy(update=limit),
                "evaluation": self.evaluation.model_copy(update=limit),
                "accept": Accept(),
            }
        )

    def with_paths(self, input_path: Callable[[str], str], output_path: Callable[[str], str]) -> "RunConfig":
        """Return the same run with absolute paths, each resolved by the role in its type."""

        def model(ref: str) -> str:
            # A model trained by this factory is in the folder of outputs; a name that is no folder stays unchanged.
            folders = [] if ref == EMBEDDED else [output_path(ref), input_path(ref)]
            return next((folder for folder in folders if Path(folder).is_dir()), ref)

        def template(name: str) -> str:
            return name if name in TEMPLATE_NAMES else input_path(name)

        return _resolved(self, {"input": input_path, "output": output_path, "model": model, "template": template})


Part = TypeVar("Part", bound=Section)


def _missing(key: str, example: str) -> ConfigError:
    return ConfigError(f"config key {key!r} is missing; this step needs it, such as {key}: {example}")


def _resolved_paths(value: Any, resolve: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return resolve(value)
    if isinstance(value, dict):
        return {name: resolve(path) for name, path in value.items()}
    return tuple(map(resolve, value))


def _resolved(section: Part, resolve: Mapping[str, Callable[[str], str]]) -> Part:
    update: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        role = role_of(field.annotation, field.metadata)
        if isinstance(value, Section):
            update[name] = _resolved(value, resolve)
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            update[name] = tuple(_resolved(each, resolve) for each in value)
        elif role and value is not None:
            update[name] = _resolved_paths(value, resolve[role])
    return section.model_copy(update=update)
