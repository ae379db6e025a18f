"""Candidates, judges, and the benchmark between them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from factory.config.engines import EngineKwargs, OpenAIEngine, ScriptedEngine, VllmEngine, check_order
from factory.config.paths import InputPath, ModelRef
from factory.config.sections import EnvironmentName, HostName, Name, Sampling, Section


class AnswerSampling(Sampling):
    """How candidates answer: the paper's values."""

    temperature: float = Field(0.9, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    """An answer that is cut there is judged as it stands, and counted."""


class JudgeSampling(Sampling):
    """How judges write: the paper's temperature; another attempt is drawn at 0.5 or more, or it would be the same."""

    temperature: float = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)


class Candidate(Section):
    """A model that is to be scored."""

    name: Name
    condition: Literal["persona", "profile"] = "persona"
    """What it is told of its role: the persona's sentence, or a profile that is synthesised first besides."""


class VllmCandidate(Candidate, VllmEngine):
    """A candidate that vLLM actors serve; `model` may be a folder that this factory trained."""


class OpenAICandidate(Candidate, OpenAIEngine):
    """A candidate behind an endpoint."""


class ScriptedCandidate(Candidate, ScriptedEngine):
    """A candidate whose answers are given as data."""


class ServedModel(Section):
    """A judge of our own: a Ray Serve LLM deployment that comes up for the run, or stays (`make judges-up`)."""

    kind: Literal["served"] = "served"
    name: Name
    model: ModelRef
    device: Literal["auto", "cpu", "gpu"] = "auto"
    replicas: tuple[int, int] = (1, 1)
    """The fewest and the most replicas; Serve adds one where those there have more to do than `max_concurrency`."""
    max_concurrency: int = Field(64, ge=1)
    """Requests that one replica works on at a time."""
    engine_kwargs: EngineKwargs = Field(default_factory=dict)
    """Passed to vLLM as they are, such as tensor_parallel_size, max_model_len."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        check_order(self.replicas)
        return self


class EndpointJudge(OpenAIEngine):
    """A judge behind an OpenAI-compatible endpoint: gpt-4o, or a fleet that runs already."""

    name: Name


class ScriptedJudge(ScriptedEngine):
    """A judge whose verdicts are given as data."""

    name: Name


def _with_kind(value: Any, kind: str) -> Any:
    return {"kind": kind, **value} if isinstance(value, dict) and "kind" not in value else value


def _candidate_kind(value: Any) -> Any:
    return _with_kind(value, "vllm")


def judge_kind(value: Any) -> Any:
    """A judge's settings with the `kind` that they leave out."""
    return _with_kind(value, "openai" if isinstance(value, dict) and "base_url" in value else "served")


AnyCandidate = Annotated[
    Annotated[VllmCandidate | OpenAICandidate | ScriptedCandidate, Field(discriminator="kind")],
    BeforeValidator(_candidate_kind),
]
"""`kind` is vllm where it is left out."""
AnyJudge = Annotated[
    Annotated[ServedModel | EndpointJudge | ScriptedJudge, Field(discriminator="kind")], BeforeValidator(judge_kind)
]
"""`kind` is served if it is left out, or openai if there is a `base_url`."""


class Fleet(Section):
    """Where the fleet of judges listens."""

    host: str = "127.0.0.1"
    """Another than loopback opens the fleet to the network, and then it wants a key."""
    port: int = Field(8800, ge=0, le=65535)
    """0 takes a free one."""
    api_key_env: EnvironmentName = "JUDGES_API_KEY"
    """The environment variable that holds the key; on loopback none is needed."""
    allowed_hosts: tuple[HostName, ...] = ()
    """The names by which it may be asked for, and the sites whose pages may ask it. Left out: on loopback its own
    names alone, since web pages would reach it by names of theirs; elsewhere, where it has a key, any name."""
    start_timeout_s: float = Field(1800, gt=0)
    """How long the judges may take to load."""


class Evaluation(Section):
    """How candidates answer a benchmark, and who scores them."""

    benchmark: InputPath | None = None
    """A PersonaGym checkout, or a folder that `make benchmark` wrote; null: the built-in one."""
    protocol: Literal["light", "full"] = "full"
    """PersonaGym-Light is the first question of each task."""
    limit: int | None = Field(None, ge=1)
    """Only the benchmark's first personas."""
    candidates: tuple[AnyCandidate, ...] = ()
    judges: tuple[AnyJudge, ...] = ()
    """At least two that are related to neither candidate nor teacher are advised; each is shown by itself."""
    sampling: AnswerSampling = AnswerSampling()
    judge_sampling: JudgeSampling = JudgeSampling()
    example_sampling: Sampling = Sampling()
    """How the example replies of each score are written."""
    example_writer: Name | None = None
    """The judge that writes them, once for all candidates and judges; null: the first one."""
    judge_protocol: Literal["opencharacter"] | None = None
    """`opencharacter` judges in free text that ends in "the final score is N", as the paper does."""
    attempts: int = Field(3, ge=1)
    """How often a judge is asked until its reply can be read: for a score, and for the example replies."""
    max_judge_failures: float = Field(0.05, ge=0, le=1)
    """A score that lacks more than this part of its questions is marked, be it for judgments that failed or for
    answers that were rejected before."""
    general: bool = True
    """Whether candidates are asked plain instructions too, to see whether tuning cost them their general ability."""
    fleet: Fleet = Fleet()

    @property
    def fleet_judges(self) -> list[ServedModel]:
        """The judges that this factory serves itself."""
        return [judge for judge in self.judges if isinstance(judge, ServedModel)]

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        for what, members in (("candidates", self.candidates), ("judges", self.judges)):
            names = [member.name for member in members]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} names {name!r} twice; give each its own name")
        if any(candidate.name == "benchmark" for candidate in self.candidates):
            raise ValueError("candidates: the name 'benchmark' is taken by the benchmark's own tables; take another")
        names = [judge.name for judge in self.judges]
        if self.example_writer and self.example_writer not in names:
            raise ValueError(f"example_writer is {self.example_writer!r}, which is none of the judges {names}")
        return self


class BenchmarkGeneration(Section):
    """How a new benchmark is made of `personas` by the config's engine (`make benchmark`)."""

    settings_per_persona: int = Field(5, ge=1)
    """Places and occasions that the questions play in."""
    questions_per_task: int = Field(10, ge=1)
    sampling: AnswerSampling = AnswerSampling()
