"""One short question to each endpoint of a step, for its dry run: with the run's own parameters, and its cost."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine, Sampling
from factory.errors import ModelError, UnreachableError
from factory.inference.engines.endpoint_key import api_key, config_key, sampling_key
from factory.inference.engines.openai_replica import CHARACTERS_PER_TOKEN, OpenAIReplica
from factory.inference.engines.registry import backend_for
from factory.inference.json_reply import extract_json_object
from factory.inference.token_prices import cost_of, token_prices
from factory.records import Completion, Counts, Message, Request, TokenSampling
from factory.runtime.progress import Progress
from factory.text.amounts import dollars

JSON_QUESTION = 'Answer with the JSON object {"ok": true}, and nothing else.'
TEXT_QUESTION = "Say hello in one word."
SCHEMA = '{"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}'
MOST_RETRIES, LONGEST_S = 2, 120
"""For each question: a person waits."""


@dataclass(frozen=True)
class EndpointUse:
    """What a step sends to an engine: its sampling, and whether the replies are JSON objects."""

    engine: Any
    sampling: Sampling
    is_json: bool = True


def ask_endpoints(uses: Iterable[EndpointUse], progress: Progress) -> None:
    """Ask each endpoint of a step once per set of parameters, and print what it costs and takes.

    An endpoint that does not answer, or whose key is not set, is left out, as a dry run may happen elsewhere.

    Raises:
        ModelError: it refuses the question, or gives no reply; the line names the setting to change.
    """
    asked = set()
    for use in uses:
        parameters = use.sampling.model_dump_json(exclude={"max_tokens"})
        is_endpoint = isinstance(use.engine, OpenAIEngine) and not backend_for(use.engine).missing_variable()
        if is_endpoint and (id(use.engine), parameters) not in asked:
            asked.add((id(use.engine), parameters))
            _ask(use, progress)


def _ask(use: EndpointUse, progress: Progress) -> None:
    engine, where = use.engine, config_key(use.engine)
    question = JSON_QUESTION if use.is_json else TEXT_QUESTION
    request = Request(
        (Message("user", question),),
        schema=SCHEMA if use.is_json else None,
        sampling=TokenSampling(**use.sampling.model_dump()),
    )
    if engine.batch:
        progress.print(f"{where}: a run asks in batches, which take up to 24 h for each turn; this question is none")
    most = Counts(prompt_tokens=len(question) // CHARACTERS_PER_TOKEN, output_tokens=use.sampling.max_tokens)
    progress.print(
        f"{where}: asks {engine.model} one short question: some {most.prompt_tokens} tokens in, at most "
        f"{most.output_tokens:,} out, {_cost(engine, most)}; --offline leaves it out"
    )
    bounded = {"max_retries": min(engine.max_retries, MOST_RETRIES), "timeout_s": min(engine.timeout_s, LONGEST_S)}
    replica = OpenAIReplica(engine.model_copy(update=bounded), SecretStr(api_key(engine)), 1)
    began = time.monotonic()
    try:
        completion = asyncio.run(replica.complete(request))
    except UnreachableError as problem:
        progress.print(f"Not checked from here: {problem}")
        return
    _check(use, completion)
    progress.print(
        f"{where}: answered in {time.monotonic() - began:.1f} s with {completion.prompt_tokens:,} tokens in, "
        f"{completion.output_tokens:,} out, {completion.thought_tokens:,} of them thoughts"
    )
    for note in _notes(use, completion, replica.engine):
        progress.print(f"{where}: {note}")


def _cost(engine: OpenAIEngine, most: Counts) -> str:
    prices = token_prices(engine)
    return f"at most {dollars(cost_of(most, prices))}" if prices else "price not known"


def _check(use: EndpointUse, completion: Completion) -> None:
    where, sampling = config_key(use.engine), sampling_key(use.engine)
    if completion.error:
        raise ModelError(f"{where}: {use.engine.model!r} gives no reply to a short question ({completion.detail})")
    if completion.truncated and not completion.replies[-1].strip():
        raise ModelError(
            f"{where}: {use.engine.model!r} thinks until its limit and gives no reply; raise max_tokens "
            f"({use.sampling.max_tokens:,}) in {sampling}, or let it think less by {where}.extra_body, such as "
            "{reasoning_effort: low}"
        )


def _notes(use: EndpointUse, completion: Completion, taken: OpenAIEngine) -> Iterable[str]:
    if taken.token_limit != use.engine.token_limit:
        yield f"takes {taken.token_limit}; set token_limit to it, which saves each client a refused request"
    if use.is_json and extract_json_object(completion.replies[-1]) is None:
        yield f"its reply was no JSON object with structured: {use.engine.structured}; try another of its values"
