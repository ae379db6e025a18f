"""Generates a dialogue turn by turn: the part that all engines share."""

from collections.abc import Awaitable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from factory.records import Completion, Message, Request, TokenChoice

AGAIN_TEMPERATURE = 0.5
"""The lowest temperature of another attempt: at 0 the same reply would come again."""

MAX_TOKEN_COUNT = 2**31 - 1
"""Tables count a row's tokens in 32 bits."""


def attempt_temperature(temperature: float | None, again: bool) -> float | None:
    """Return the temperature of one attempt at a request; `again` if an earlier attempt failed."""
    return temperature if temperature is None or not again else max(temperature, AGAIN_TEMPERATURE)


def attempt_sampling(request: Request, again: bool) -> dict[str, Any]:
    """Return the sampling of one attempt at a request, by parameter, without those that are left to the endpoint."""
    sampling = {name: value for name, value in asdict(request.sampling).items() if value is not None}
    if "temperature" in sampling:
        temperature = sampling["temperature"] if request.temperature is None else request.temperature
        sampling["temperature"] = attempt_temperature(temperature, again)
    return sampling


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one turn, with its token counts."""

    text: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    truncated: bool = False
    ending: tuple[TokenChoice, ...] = ()
    thoughts: str = ""
    thought_tokens: int = 0


class RowError(Exception):
    """A request that cannot be answered; it becomes a rejected row.

    Args:
        reason: the reason of the reject, such as `engine_error`.
        detail: the engine's message.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class NoReplyError(RowError):
    """An answer that is no reply, such as a refusal: another attempt may bring one."""


class NextReply(Protocol):
    """The function of an engine that returns the next reply to some messages."""

    def __call__(self, messages: list[Message], again: bool) -> Awaitable[Reply]:
        """Return a reply; `again` if an earlier one could not be parsed."""


async def generate_turns(request: Request, next_reply: NextReply) -> Completion:
    """Request one reply per turn, each with the earlier ones as history; stop at a truncated one."""
    messages = list(request.messages)
    replies: list[Reply] = []
    turns: list[Reply] = []
    error = detail = ""
    attempts = 0
    try:
        for turn in range(1 + len(request.follow_ups)):
            if turn:
                messages += [Message("assistant", turns[-1].text), Message("user", request.follow_ups[turn - 1])]
            for attempt in range(request.attempts):
                attempts += 1
                try:
                    replies.append(await next_reply(messages, attempt > 0))
                except NoReplyError:
                    if attempt + 1 == request.attempts:
                        raise
                    continue
                if _is_parsable(request, replies[-1]):
                    break
            turns.append(replies[-1])
            if turns[-1].truncated:
                break
    except RowError as problem:
        error, detail = problem.reason, problem.detail
    return Completion(
        replies=tuple(turn.text for turn in turns),
        prompt_tokens=_total(reply.prompt_tokens for reply in replies),
        output_tokens=_total(reply.output_tokens for reply in replies),
        cached_tokens=_total(reply.cached_tokens for reply in replies),
        truncated=bool(turns) and turns[-1].truncated,
        error=error,
        detail=detail,
        ending=turns[-1].ending if turns else (),
        thoughts=tuple(turn.thoughts for turn in turns),
        thought_tokens=_total(reply.thought_tokens for reply in replies),
        attempts=attempts,
    )


def _total(tokens: Iterable[int]) -> int:
    return min(sum(tokens), MAX_TOKEN_COUNT)


def _is_parsable(request: Request, reply: Reply) -> bool:
    """Free text that was truncated lacks its end; a truncated object cannot be parsed anyway."""
    if request.is_parsable is None:
        return True
    return request.is_parsable(reply.text) and not (reply.truncated and request.schema is None)
