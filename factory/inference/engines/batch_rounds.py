"""The rounds of a shard: what its rows ask at the same time, for a turn or another attempt, goes into one batch.

A dialogue is generated turn by turn, and each row waits for the reply to its turn. Once all rows that are not done
wait, their questions are a round. Only the replies decide the next round, so that a shard that is begun again asks the
same rounds, and finds their batches.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from factory.inference.engines.batch_lines import BatchAnswer

AskRound = Callable[[int, dict[int, bytes]], Awaitable[Mapping[int, BatchAnswer]]]
"""Gets the answers of a round: from its number and its questions by row, the answers by row."""


class Rounds:
    """The rounds of a shard.

    Args:
        rows: how many ask.
        ask_round: gets the answers of a round.
    """

    def __init__(self, rows: int, ask_round: AskRound) -> None:
        self.number = -1
        """Of the round that is asked, or was last."""
        self._open = rows
        self._ask_round = ask_round
        self._asked: dict[int, tuple[bytes, asyncio.Future[BatchAnswer]]] = {}
        self._round: asyncio.Task[None] | None = None

    async def ask(self, row: int, line: bytes) -> BatchAnswer:
        """Return the answer to a row's question, with the round in which all others have one."""
        answer: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
        self._asked[row] = (line, answer)
        self._begin_if_complete()
        return await answer

    def end(self) -> None:
        """Note that a row asks no more."""
        self._open -= 1
        self._begin_if_complete()

    def close(self) -> None:
        """Wait for no more answers."""
        if self._round:
            self._round.cancel()

    def _begin_if_complete(self) -> None:
        if self._asked and len(self._asked) == self._open:
            asked, self._asked = self._asked, {}
            self.number += 1
            lines = {row: asked[row][0] for row in sorted(asked)}
            waiting = {row: answer for row, (_, answer) in asked.items()}
            self._round = asyncio.get_running_loop().create_task(self._answer(lines, waiting))

    async def _answer(self, lines: dict[int, bytes], waiting: dict[int, "asyncio.Future[BatchAnswer]"]) -> None:
        try:
            answers = await self._ask_round(self.number, lines)
        except Exception as problem:
            for future in waiting.values():
                if not future.done():
                    future.set_exception(problem)
            return
        for row, future in waiting.items():
            if not future.done():
                future.set_result(answers[row])
