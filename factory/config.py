"""One frozen tree of settings. Every default of the factory stands here."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from factory.errors import ConfigError

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


Place = Annotated[str, AfterValidator(_one_path)]
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
        if not 1 <= self.replicas[0] <= self.replicas[1]:
            raise ValueError(f"replicas must be [fewest, most] with 1 <= fewest <= most, not {list(self.replicas)}")
        return self


class OpenAIEngine(Section):
    """Text generation by any OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; the key itself never stands in a config."""
    concurrency: int = Field(64, ge=1)
    """Requests in flight at once."""
    timeout_s: float = Field(300, gt=0)
    max_retries: int = Field(10, ge=0)
    """Retries with back-off on 408, 409, 429, 5xx and time-outs; Retry-After is honoured."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the endpoint is told to answer in JSON; gpt-4o-2024-05-13 knows `json_object` alone."""


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

    corpus: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
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
            }
        )

    def with_paths(self, input_path: Callable[[str], str], output_path: Callable[[str], str]) -> "RunConfig":
        """The same run with its paths made absolute."""

        def sources(section: Section) -> Any:
            source = section.source  # type: ignore[attr-defined]
            many = input_path(source) if isinstance(source, str) else tuple(map(input_path, source))
            return section.model_copy(update={"source": many})

        return self.model_copy(
            update={
                "output": output_path(self.output),
                "prompts_dir": self.prompts_dir and input_path(self.prompts_dir),
                "personas": sources(self.personas),
                "instructions": tuple(map(sources, self.instructions)),
            }
        )
