"""Settings of evaluation: candidates, judges, and the benchmark."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from factory.config.engines import (
    AcceleratorType,
    ChatTemplateKwargs,
    EngineKwargs,
    OpenAIEngine,
    ScriptedEngine,
    VllmEngine,
    check_accelerator,
    check_not_hosted,
    check_order,
)
from factory.config.paths import InputPath, ModelRef
from factory.config.sections import EnvironmentName, HostName, Name, Sampling, Section


class AnswerSampling(Sampling):
    """Sampling of the candidates' answers: the paper's values."""

    temperature: float | None = Field(0.9, ge=0)
    top_p: float | None = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    """A longer answer is truncated there, judged as it is, and counted."""


class JudgeSampling(Sampling):
    """Sampling of the verdicts: the paper's temperature; a retry uses 0.5 or more, or it would repeat the reply."""

    temperature: float | None = Field(0, ge=0)
    top_p: float | None = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)


class Candidate(Section):
    """A model to score."""

    name: Name
    condition: Literal["persona", "profile"] = "persona"
    """The description of its role: the persona's sentence alone, or with a profile, which is synthesized first."""


class VllmCandidate(Candidate, VllmEngine):
    """A candidate that runs in vLLM actors; `model` may be a folder that this factory trained."""


class OpenAICandidate(Candidate, OpenAIEngine):
    """A candidate behind an endpoint."""


class ScriptedCandidate(Candidate, ScriptedEngine):
    """A candidate whose answers are given as data."""


class ServedModel(Section):
    """A judge that the factory serves: a Ray Serve LLM deployment, for the run or persistent (`make judges-up`)."""

    kind: Literal["served"] = "served"
    name: Name
    model: ModelRef
    device: Literal["auto", "cpu", "gpu"] = "auto"
    replicas: tuple[int, int] = (1, 1)
    """Minimum and maximum number; Serve adds a replica when the others have more requests than `max_concurrency`."""
    max_concurrency: int = Field(64, ge=1)
    """Requests that one replica processes at the same time."""
    accelerator_type: AcceleratorType | None = None
    """The kind of GPU of the replicas' nodes, by Ray's name for it, such as H100; null: any."""
    engine_kwargs: EngineKwargs = Field(default_factory=dict)
    """Passed to vLLM unchanged, such as tensor_parallel_size, max_model_len."""
    chat_template_kwargs: ChatTemplateKwargs = Field(default_factory=dict)
    """Variables of the model's chat template, as those of an engine of kind vllm. A template that reads the clock
    itself, as gpt-oss' does, tells a judge the date of today."""

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        check_not_hosted(self.model)
        check_order(self.replicas)
        check_accelerator(self.accelerator_type, self.device)
        return self


class EndpointJudge(OpenAIEngine):
    """A judge behind an OpenAI-compatible endpoint: gpt-4o, or a fleet that is already running."""

    name: Name


class ScriptedJudge(ScriptedEngine):
    """A judge whose verdicts are given as data."""

    name: Name


def _with_kind(value: Any, kind: str) -> Any:
    return {"kind": kind, **value} if isinstance(value, dict) and "kind" not in value else value


def _candidate_kind(value: Any) -> Any:
    return _with_kind(value, "vllm")


def judge_kind(value: Any) -> Any:
    """Return a judge's settings with the default of an omitted `kind`."""
    return _with_kind(value, "openai" if isinstance(value, dict) and "base_url" in value else "served")


AnyCandidate = Annotated[
    Annotated[VllmCandidate | OpenAICandidate | ScriptedCandidate, Field(discriminator="kind")],
    BeforeValidator(_candidate_kind),
]
"""`kind` defaults to vllm."""
AnyJudge = Annotated[
    Annotated[ServedModel | EndpointJudge | ScriptedJudge, Field(discriminator="kind")], BeforeValidator(judge_kind)
]
"""`kind` defaults to openai where there is a `base_url`, else to served."""


class Fleet(Section):
    """The endpoint of the fleet of judges."""

    host: str = "127.0.0.1"
    """Any address but loopback opens the endpoint to the network, and then requires a key."""
    port: int = Field(8800, ge=0, le=65535)
    """0 picks a free port."""
    api_key_env: EnvironmentName = "JUDGES_API_KEY"
    """The environment variable that holds the key; on loopback none is needed."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Accepted `Host` names, and sites whose pages may call it. If omitted: on loopback only its own names, since web
    pages could reach it by other names; elsewhere, where it has a key, any name."""
    ingresses: int | None = Field(None, ge=1)
    """Processes that receive requests and route them to replicas; null: one per four replicas that the models may have.
    With `host: 0.0.0.0`, each node with a replica also has an HTTP proxy, and a run's clients take turns with them."""
    start_timeout_s: float = Field(1800, gt=0)
    """Maximum time for the models to load."""


class Evaluation(Section):
    """How candidates answer a benchmark, and how judges score the answers."""

    benchmark: InputPath | None = None
    """A PersonaGym checkout, or a folder written by `make generate-benchmark`; null: the built-in one."""
    protocol: Literal["light", "full"] = "full"
    """`light` is PersonaGym-Light: only the first question of each task."""
    limit: int | None = Field(None, ge=1)
    """Number of personas to use, from the first; null: all."""
    candidates: tuple[AnyCandidate, ...] = ()
    judges: tuple[AnyJudge, ...] = ()
    """Use at least two that share a model family with neither a candidate nor the teacher; each is also shown alone."""
    sampling: AnswerSampling = AnswerSampling()
    judge_sampling: JudgeSampling = JudgeSampling()
    example_sampling: Sampling = Sampling()
    """Sampling of the example replies for each score."""
    example_writer: Name | None = None
    """The judge that writes them; null: each judge those of an equal share of the questions, but none by a judge that
    is added later. All candidates and judges get the same ones. Name a judge if another one is costly or weak."""
    judge_protocol: Literal["structured", "opencharacter"] = "structured"
    """`structured`: a JSON object, the reasoning before the score. `opencharacter`: free text that ends in "the final
    score is N", as in the paper."""
    attempts: int = Field(3, ge=1)
    """Attempts to get a valid reply of a judge: for a score, and for the example replies."""
    baseline: Name | None = None
    """The candidate that each other one is compared with, such as the model before tuning. Fewer comparisons find
    smaller differences. If null, all pairs are compared, of up to 50 candidates."""
    max_judge_failures: float = Field(0.02, ge=0, le=1)
    """A score is marked where more than this share of its questions has none: for failed judgments and for answers
    that were rejected before judging together."""
    max_unscored: float = Field(0.1, ge=0, le=1)
    """A score is left blank, and its candidate is not ranked or compared, where more than this share has none."""
    general: bool = True
    """Whether candidates get plain instructions too, which show whether tuning reduced their general ability."""
    general_margin: float = Field(0.05, gt=0, le=1)
    """A loss of less than this share of the instructions counts as a general ability that was kept."""
    general_limit: int | None = Field(None, ge=1)
    """Number of the verifiable ones among them, which are chosen by hash; null: all, 500 if built-in."""
    ifeval: InputPath | None = None
    """IFEval's published file, `input_data.jsonl`, in place of the built-in verifiable instructions."""
    fleet: Fleet = Fleet()

    @property
    def fleet_judges(self) -> list[ServedModel]:
        """The judges that the factory serves itself."""
        return [judge for judge in self.judges if isinstance(judge, ServedModel)]

    @property
    def uses_profiles(self) -> bool:
        """Whether a candidate gets profiles."""
        return any(candidate.condition == "profile" for candidate in self.candidates)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for what, members in (("candidates", self.candidates), ("judges", self.judges)):
            names = [member.name for member in members]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} names {name!r} twice; give each its own name")
        if any(candidate.name == "benchmark" for candidate in self.candidates):
            raise ValueError("candidates: the name 'benchmark' is taken by the benchmark's own tables; take another")
        names = [candidate.name for candidate in self.candidates]
        if self.baseline is not None and self.baseline not in names:
            raise ValueError(f"baseline is {self.baseline!r}, which is none of the candidates {names}")
        names = [judge.name for judge in self.judges]
        if self.example_writer and self.example_writer not in names:
            raise ValueError(f"example_writer is {self.example_writer!r}, which is none of the judges {names}")
        return self


class BenchmarkGeneration(Section):
    """How the config's engine generates a new benchmark from `personas` (`make generate-benchmark`)."""

    settings_per_persona: int = Field(5, ge=1)
    """Situations that a persona's questions are set in."""
    questions_per_task: int = Field(10, ge=1)
    sampling: AnswerSampling = AnswerSampling()
