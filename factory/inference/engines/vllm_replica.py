"""One vLLM engine, which answers requests.

Apart from `factory.inference.engines.vllm`, because importing vLLM takes seconds and half a gigabyte, which
the tasks that only read and tokenize should not pay.
"""

import asyncio
import itertools
import math
import os
from functools import cached_property
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs import TokensPrompt
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from factory.errors import ModelError
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.backend import EngineDiedError, Replica
from factory.inference.engines.engine_metrics import report_periodically, vllm_state
from factory.inference.engines.vllm_settings import closes_thoughts, cpu_environment
from factory.inference.multi_turn import Reply, RowError, attempt_sampling, generate_turns
from factory.records import Completion, Message, Request

NO_ANSWER = ("error", "abort")
"""How vLLM ends a request that it gave up, with the text so far."""
_WHOLE = RequestOutputKind.FINAL_ONLY


class VllmReplica(Replica):
    """Answers requests with one vLLM engine.

    Args:
        model: a `Located.pinned`; it is downloaded to this machine.
        engine_kwargs: vLLM's settings.
        chat_template_kwargs: variables of the model's chat template.
    """

    def __init__(self, model: str, engine_kwargs: dict[str, Any], chat_template_kwargs: dict[str, Any]) -> None:
        os.environ.update(cpu_environment() | os.environ)
        folder = model_files.fetch(model)
        self._model = model
        self._tokenizer = ChatTokenizer(folder, kwargs=chat_template_kwargs)
        self._engine_kwargs = engine_kwargs
        self._request_ids = itertools.count()
        arguments = AsyncEngineArgs(model=folder, runner="generate", enable_log_requests=False, **engine_kwargs)
        self._engine = AsyncLLM.from_engine_args(arguments)
        self._window: int = self._engine.vllm_config.model_config.max_model_len

    @cached_property
    def _watching(self) -> "asyncio.Task[None]":  # created on first use, inside the event loop that it belongs to
        return report_periodically(self._model, vllm_state)

    async def complete(self, request: Request) -> Completion:
        _ = self._watching
        if request.score_only:
            return await self._score(request.messages)
        closed = closes_thoughts(request, self._engine_kwargs)
        guide: dict[str, Any] = {}
        if request.schema:
            # By itself vLLM guesses from the prompt whether a thought comes first, and waits for its end before it
            # guides: wrongly where the history holds a closed thought, and for ever where the model does not think.
            guide = {"reasoning_ended": closed or not self._tokenizer.no_thoughts}
            guide["structured_outputs"] = StructuredOutputsParams(json=request.schema)
        opening = [request.tokens.tolist()] if request.tokens else []

        async def reply(messages: list[Message], again: bool) -> Reply:
            tokens = opening.pop() if opening else self._tokenizer.encode(messages, closed)
            answer = await self._answer(tokens, **attempt_sampling(request, again), **guide)
            (output,) = answer.outputs
            ids = output.token_ids[:-1] if output.finish_reason == "stop" else output.token_ids
            split, thought_tokens = self._tokenizer.split_thoughts(tokens, ids, output.text)
            return Reply(
                text=split.text,
                prompt_tokens=len(tokens),
                output_tokens=len(output.token_ids),
                cached_tokens=answer.num_cached_tokens or 0,
                truncated=output.finish_reason == "length" or split.is_open,
                thoughts=split.thoughts,
                thought_tokens=thought_tokens,
            )

        return await generate_turns(request, reply)

    async def _score(self, messages: tuple[Message, ...]) -> Completion:
        """Return the log-likelihood of the assistant's replies, each after what comes before it."""
        likelihood, prompt_tokens, learned = 0.0, 0, 0
        try:
            for sequence in self._tokenizer.encode_dialogue(messages):
                answer = await self._answer(sequence.ids, max_tokens=1, temperature=0, prompt_logprobs=0)
                positions = [position for position, is_reply in enumerate(sequence.mask) if is_reply]
                logprobs = (answer.prompt_logprobs[position][sequence.ids[position]] for position in positions)
                likelihood += sum(token.logprob for token in logprobs)
                prompt_tokens += len(sequence.ids)
                learned += len(positions)
        except RowError as problem:
            return Completion(error=problem.reason, detail=problem.detail)
        except ModelError as problem:  # a chat template in which replies cannot be located
            return Completion(error="engine_error", detail=str(problem))
        if not math.isfinite(likelihood):  # weights that hold a NaN
            return Completion(error="engine_error", detail=f"the log-likelihood of the reply is {likelihood}")
        return Completion((), prompt_tokens, learned, log_likelihood=likelihood)

    async def _answer(self, tokens: list[int], reasoning_ended: bool | None = None, **sampling: Any) -> Any:
        """Return vLLM's output for a prompt."""
        if len(tokens) >= self._window:
            raise RowError("too_long", f"the prompt has {len(tokens)} tokens, the model's window {self._window}")
        try:
            return await self._generate(tokens, SamplingParams(**sampling, output_kind=_WHOLE), reasoning_ended)
        except EngineDeadError as problem:
            raise EngineDiedError(f"{type(problem).__name__}: {problem}") from None
        except (ValueError, VLLMClientError) as problem:  # vLLM refuses the request
            raise RowError("engine_error", str(problem)) from None
        except EngineGenerateError as problem:  # only this request failed; the error is in its cause
            cause = problem.__cause__ or problem
            raise RowError("engine_error", f"{type(cause).__name__}: {cause}") from None

    async def _generate(self, tokens: list[int], params: SamplingParams, reasoning_ended: bool | None) -> Any:
        prompt, request_id = TokensPrompt(prompt_token_ids=tokens), str(next(self._request_ids))
        async for output in self._engine.generate(prompt, params, request_id, reasoning_ended=reasoning_ended):
            if output.finished:
                if output.outputs[0].finish_reason in NO_ANSWER:
                    raise RowError("engine_error", f"the engine ended it with {output.outputs[0].finish_reason!r}")
                return output
        raise RowError("engine_error", "the engine ended the request without an answer")

    def close(self) -> None:
        self._engine.shutdown()  # its processes would outlive this one

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self.close()
