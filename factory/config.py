"""One frozen tree of settings: YAML in, JSON out. Every default of the factory stands here.

Validation errors name the key, the value and, for an unknown key, the nearest known one.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factory.errors import ConfigError

Strategy = Literal["generate", "rewrite"]


class Section(BaseModel):
    """A part of the tree: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    source: str | tuple[str, ...]
    """A file, folder or glob of JSONL, JSON, CSV, Parquet or text; local, s3:// or hf://."""
    column: str = "persona"
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of the source."""


class Instructions(Section):
    """One corpus of instructions."""

    corpus: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Its name in tables and folders, such as `lima`."""
    source: str | tuple[str, ...]
    format: Literal["auto", "lima", "alpaca", "ph-instruct", "messages"] = "auto"
    limit: int | None = Field(None, ge=1)


class Profiles(Section):
    """How characters are written."""

    language: str = "English"
    sampling: Sampling = Sampling()


class Dialogues(Section):
    """Which dialogues are made."""

    strategies: tuple[Strategy, ...] = Field(("generate",), min_length=1)
    characters_per_instruction: int = Field(3, ge=1)
    """The paper's n."""
    sampling: Sampling = Sampling()


class RunConfig(Section):
    """The whole of a run's settings."""

    output: str
    """A local folder or s3://bucket/prefix."""
    seed: int = 42
    prompts_dir: str | None = None
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


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML config and lay `section.key=value` overrides over it (values are YAML too).

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value is wrong.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"config {path}: {problem.strerror}; give --config an existing YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"config {path}: not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path}: holds {type(tree).__name__}, not a mapping of sections")
    for override in overrides:
        _lay_over(tree, override)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as problem:
        raise ConfigError("; ".join(_explain(error) for error in problem.errors())) from None


def _lay_over(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: write it as section.key=value")
    *sections, last = key.split(".")
    node: Any = tree
    try:
        for section in sections:
            node = node[int(section)] if isinstance(node, list) else node.setdefault(section, {})
        node[int(last) if isinstance(node, list) else last] = yaml.safe_load(value)
    except (TypeError, ValueError, IndexError, AttributeError):
        raise ConfigError(f"override {override!r}: the config has nothing to set at {key!r}") from None
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not YAML; quote it") from None


def _explain(error: Any) -> str:
    # The tag of a discriminated union stands in pydantic's path but not in the file.
    where = ".".join(str(part) for part in error["loc"] if part not in ("vllm", "openai", "scripted"))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), sorted(set(_known_keys(RunConfig))), n=1)
        return f"config key {where!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else "")
    if error["type"] == "missing":
        return f"config key {where!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"config key {where!r} is {error['input']!r}: {message}" if where else f"config: {message}"


def _known_keys(section: type[BaseModel]) -> Iterator[str]:
    for name, info in section.model_fields.items():
        yield name
        for part in _sections_in(info.annotation):
            yield from _known_keys(part)


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _sections_in(inner)
