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
from factory.config.paths import InputPath, ModelRef, OutputPath
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
    top_p: float | None = Field(1.0, ge=0, le=1)
    """0 is for endpoints that take it, as the paper's; judges that the factory serves get 1 instead."""
    max_tokens: int = Field(1024, ge=1)


class ExampleSampling(Sampling):
    """Sampling of the example replies for each score."""

    top_p: float | None = Field(0.95, ge=0, le=1)


class Candidate(Section):
    """A model to score."""

    name: Name
    condition: Literal["persona", "profile"] = "persona"
    """The description of its role: the persona's sentence alone, or with a profile, which is synthesized first."""
    parity_route: Literal["api", "tuned"] | None = None
    """With `evaluation.parity`, how it is asked: as the paper asked models behind an API, or its own tuned ones, which
    got another system message, at most 1,024 tokens and no top_p; null: `api` for an endpoint, else `tuned`."""


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


def parity_route(candidate: AnyCandidate) -> Literal["api", "tuned"]:
    """Return how the paper's runner would have asked a candidate."""
    return candidate.parity_route or ("api" if candidate.kind == "openai" else "tuned")


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


class ParityPrompts(Section):
    """What candidates are told with `parity`, where the checkout's code does not have it."""

    api: str | None = None
    """The system message of models behind an API, with `{persona}`; null: as in `code/utils.py` of the checkout."""
    tuned: str | None = None
    """The same of tuned models; only OpenCharacter's fork of PersonaGym has it in its code."""

    @model_validator(mode="after")
    def _has_the_persona(self) -> Self:
        for name, text in self:
            if text is not None and "{persona}" not in text:
                raise ValueError(f"{name} has no {{persona}}; write it where the persona's sentence goes")
        return self


PAPER_SAMPLING: dict[str, dict[str, float]] = {
    "sampling": {"temperature": 0.9, "top_p": 0.9, "frequency_penalty": 0, "max_tokens": 3000},
    "judge_sampling": {"temperature": 0, "top_p": 0, "frequency_penalty": 0, "max_tokens": 3000},
    "example_sampling": {"temperature": 0, "top_p": 0, "frequency_penalty": 0, "max_tokens": 3000},
}
"""What the paper's runner sends, as measured from its code."""
PAPER_TUNED_TOKENS = 1024
"""Maximum tokens of an answer of the paper's tuned models."""


MAX_DRAWS = 100
"""More answers per question find hardly smaller differences, and questions do the same with more."""


class Evaluation(Section):
    """How candidates answer a benchmark, and how judges score the answers."""

    benchmark: InputPath | None = None
    """A PersonaGym checkout, a folder written by `make generate-benchmark`, or a benchmark frozen by `make
    freeze-benchmark`, whose example replies are then used; null: the built-in one."""
    question_set: str | None = Field(None, pattern=r"^[^/\\]+$")
    """Its folder of questions, such as benchmark-v1 or benchmark-v1_personagym-light; null: PersonaGym's own, or the
    only one. A Light set that is not there is taken from the whole one: the first question of each task."""
    protocol: Literal["light", "full"] = "full"
    """`light` is PersonaGym-Light: only the first question of each task."""
    limit: int | None = Field(None, ge=1)
    """Number of personas to use, chosen by a hash of their sentences, so that a larger number keeps those of a smaller
    one; null: all."""
    draws: int = Field(1, ge=1, le=MAX_DRAWS)
    """Answers of each candidate to each question, which differ by chance; more of them find smaller differences, and
    multiply what answers and judgments cost."""
    parity: Literal["opencharacter"] | None = None
    """`opencharacter` asks candidates and judges as the paper's runner did, with the prompts of the checkout that
    `benchmark` names: the same messages, blocks of one question (light) or five, and its sampling, where this config
    sets none. It gives two numbers from the same replies: as the runner counts, a failed call as 0, and ours, where
    that is missing."""
    parity_prompts: ParityPrompts = ParityPrompts()
    store: OutputPath | None = None
    """A folder or bucket that several runs share: `make freeze-benchmark` keeps benchmarks in it, and each evaluation
    adds its scores, from which its `leaderboard.md` is made; null: none."""
    candidates: tuple[AnyCandidate, ...] = ()
    judges: tuple[AnyJudge, ...] = ()
    """Use at least two that share a model family with neither a candidate nor the teacher; each is also shown alone."""
    sampling: AnswerSampling = AnswerSampling()
    judge_sampling: JudgeSampling = JudgeSampling()
    example_sampling: ExampleSampling = ExampleSampling()
    example_writer: Name | None = None
    """The judge that writes them; null: each judge those of an equal share of the questions, but none by a judge that
    is added later. All candidates and judges get the same ones. Name a judge if another one is costly or weak."""
    attempts: int = Field(3, ge=1)
    """Attempts to get a valid reply of a judge: for a score, and for the example replies."""
    checkpoints: Literal["best", "all"] | None = None
    """Also score checkpoints of the run's training, which shows whether later epochs help: `all` that are kept (see
    `training.save_total_limit`), or the `best`, with the lowest validation loss, and the last. Each is exported to
    `checkpoint-scores/` and asked PersonaGym-Light, or all of a frozen benchmark, as the candidate that is the trained
    model. null: none."""
    baseline: Name | None = None
    """The candidate that each other one is compared with, such as the model before tuning. Fewer comparisons find
    smaller differences. If null, all pairs are compared, of up to 50 candidates."""
    max_judge_failures: float = Field(0.02, ge=0, le=1)
    """A score is marked where more than this share of its questions has none: for failed judgments and for answers
    that were rejected before judging together."""
    max_unscored: float = Field(0.1, ge=0, le=1)
    """A score is left blank, and its candidate is not ranked or compared, where more than this share has none."""
    min_judge_accuracy: float | None = Field(None, ge=0, le=1)
    """The least share of the pairs of the judge check that each judge must rank right, such as 0.8, by the scores that
    rank candidates. With a judge below it, or not checked, there is no evaluation. null: any judge."""
    general: bool = True
    """Whether candidates get plain instructions too, which show whether tuning reduced their general ability."""
    general_margin: float = Field(0.05, gt=0, le=1)
    """A loss of less than this share of the instructions counts as a general ability that was kept."""
    general_limit: int | None = Field(None, ge=1)
    """Number of the verifiable ones among them, which are chosen by hash; null: all, 500 if built-in."""
    ifeval: InputPath | None = None
    """IFEval's published file, `input_data.jsonl`, in place of the built-in verifiable instructions."""
    fleet: Fleet = Fleet()

    @model_validator(mode="before")
    @classmethod
    def _with_paper_sampling(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not value.get("parity"):
            return value
        given = {name: value.get(name) for name in PAPER_SAMPLING}
        filled = {
            name: PAPER_SAMPLING[name] | (one or {}) for name, one in given.items() if isinstance(one, dict | None)
        }
        return value | filled

    @model_validator(mode="after")
    def _check_parity(self) -> Self:
        if self.question_set and self.question_set.endswith("_personagym-light") and self.protocol == "full":
            raise ValueError(
                f"question_set {self.question_set!r} has one question of each task; set protocol: light, or name "
                "the whole set"
            )
        if self.parity and self.uses_profiles:
            raise ValueError("parity is set, and the paper's candidates got no profile; set condition: persona")
        if self.parity and self.draws > 1:
            raise ValueError(f"draws is {self.draws}, and with parity each question is answered once, as in the paper")
        return self

    @model_validator(mode="after")
    def _check_draws(self) -> Self:
        if self.draws > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"draws is {self.draws}, but at sampling.temperature 0 all answers to a question are the same; set "
                "draws: 1, or a higher temperature"
            )
        return self

    def answer_sampling(self, candidate: AnyCandidate) -> AnswerSampling:
        """Return the sampling of a candidate's answers."""
        if self.parity and parity_route(candidate) == "tuned":
            top_p = None if candidate.kind == "openai" else 1.0
            tokens = min(self.sampling.max_tokens, PAPER_TUNED_TOKENS)
            return self.sampling.model_copy(update={"top_p": top_p, "max_tokens": tokens})
        return self.sampling

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
