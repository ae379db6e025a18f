"""Carrying a dialogue on, turn by turn, whatever answers: the part that all engines share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from factory.records import Completion, Message, Request


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn's answer, with the tokens that it took."""

    text: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    truncated: bool = False


class RowError(Exception):
    """A request that cannot be answered; it becomes a rejected row.

    Args:
        reason: the reason of the reject, such as `engine_error`.
        detail: what the engine said.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


async def carry_on(request: Request, ask: Callable[[list[Message]], Awaitable[Reply]]) -> Completion:
    """Ask for one reply a turn, each with the earlier ones as history; stop where one is cut."""
    messages = list(request.messages)
    turns: list[Reply] = []
    error = detail = ""
    try:
        for turn in range(1 + len(request.follow_ups)):
            if turn:
                messages += [Message("assistant", turns[-1].text), Message("user", request.follow_ups[turn - 1])]
            turns.append(await ask(messages))
            if turns[-1].truncated:
                break
    except RowError as problem:
        error, detail = problem.reason, problem.detail
    return Completion(
        replies=tuple(turn.text for turn in turns),
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
        cached_tokens=sum(turn.cached_tokens for turn in turns),
        truncated=bool(turns) and turns[-1].truncated,
        error=error,
        detail=detail,
    )
