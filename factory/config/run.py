"""The root of the settings tree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from factory.config.curation import Curation, Safety
from factory.config.engines import EMBEDDED, Engine
from factory.config.evaluation import BenchmarkGeneration, Evaluation
from factory.config.paths import LocalPlace, Place
from factory.config.planning import Attribution, Planning
from factory.config.playground import Chat
from factory.config.sections import Section
from factory.config.synthesis import Dialogues, Instructions, Personas, Profiles
from factory.config.training import Training
from factory.errors import ConfigError


class RunConfig(Section):
    """All settings of a run."""

    output: Place
    """A local folder, s3://bucket/prefix or gs://bucket/prefix."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Seed of all random choices of the run."""
    confirm_above_rows: int = Field(100_000, ge=0)
    """If changed settings would archive more finished rows than this, the job requires `--yes`."""
    prompts_dir: LocalPlace | None = None
    """A folder of prompts, which replace the built-in prompts of the same name."""
    engine: Engine
    personas: Personas
    instructions: tuple[Instructions, ...] = ()
    """Sources of instructions for dialogues; if empty, only profiles are generated."""
    profiles: Profiles = Profiles()
    dialogues: Dialogues = Dialogues()
    curation: Curation = Curation()
    safety: Safety = Safety()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    benchmark_generation: BenchmarkGeneration = BenchmarkGeneration()
    planning: Planning = Planning()
    attribution: Attribution = Attribution()
    chat: Chat = Chat()

    @model_validator(mode="after")
    def _corpora_differ(self) -> Self:
        names = [corpus.corpus for corpus in self.instructions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"instructions names the corpus {name!r} twice; give each its own name")
        return self

    def limited(self, rows: int) -> "RunConfig":
        """Return the same run restricted to the first rows of each source.

        Raises:
            ConfigError: the number of rows is out of range.
        """
        if not 1 <= rows < 2**63:
            raise ConfigError(f"--limit is {rows}; it must be at least 1, and fit into 64 bits")
        return self.model_copy(
            update={
                "personas": self.personas.model_copy(update={"limit": rows}),
                "instructions": tuple(corpus.model_copy(update={"limit": rows}) for corpus in self.instructions),
                "curation": self.curation.model_copy(update={"limit": rows}),
                "evaluation": self.evaluation.model_copy(update={"limit": rows}),
            }
        )

    def with_paths(self, input_path: Callable[[str], str], output_path: Callable[[str], str]) -> "RunConfig":
        """Return the same run with absolute paths."""

        def folder(ref: str) -> str:
            # A model trained by this factory is in the folder of outputs; a name that is no folder stays unchanged.
            places = [] if ref == EMBEDDED else [output_path(ref), input_path(ref)]
            return next((place for place in places if Path(place).is_dir()), ref)

        def model(member: Any) -> Any:
            if member.kind in ("openai", "scripted"):  # a name at an endpoint
                return member
            return member.model_copy(update={"model": folder(member.model)})

        def sources(section: Section) -> Any:
            source = section.source  # type: ignore[attr-defined]
            many = input_path(source) if isinstance(source, str) else tuple(map(input_path, source))
            return section.model_copy(update={"source": many})

        return self.model_copy(
            update={
                "output": output_path(self.output),
                "prompts_dir": self.prompts_dir and input_path(self.prompts_dir),
                "engine": model(self.engine),
                "personas": sources(self.personas),
                "training": self.training.model_copy(
                    update={
                        "data": self.training.data and output_path(self.training.data),
                        "base_model": folder(self.training.base_model),
                    }
                ),
                "instructions": tuple(map(sources, self.instructions)),
                "planning": self.planning.model_copy(
                    update={"prices": self.planning.prices and input_path(self.planning.prices)}
                ),
                "curation": self.curation.model_copy(
                    update={"benchmark": self.curation.benchmark and input_path(self.curation.benchmark)}
                ),
                "safety": self.safety.model_copy(
                    update={
                        "real_people_file": self.safety.real_people_file and input_path(self.safety.real_people_file)
                    }
                ),
                "evaluation": self.evaluation.model_copy(
                    update={
                        "benchmark": self.evaluation.benchmark and input_path(self.evaluation.benchmark),
                        "candidates": tuple(map(model, self.evaluation.candidates)),
                        "judges": tuple(map(model, self.evaluation.judges)),
                    }
                ),
                "chat": self.chat.model_copy(update={"models": tuple(map(model, self.chat.models))}),
            }
        )
