"""Gets answers to the questions of a round from an endpoint's batches, each of which is created and paid once.

The record of a batch is written between the upload of its file and its creation. A run that finds a record without the
batch's id looks for the batch of that file; one that finds an id goes on waiting; one that finds answers reads them.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import Stopped
from factory.inference.engines.batch_client import BatchClient, BatchRefusedError
from factory.inference.engines.batch_lines import BatchAnswer, answer_line, read_answer, read_answers, split_files
from factory.inference.engines.batch_records import BatchRecord, hash_lines, read_records, record_path
from factory.inference.engines.endpoint_key import config_key
from factory.inference.engines.endpoint_reply import as_object

TRANSFERS = 4
"""Files sent or read at a time, as they are held in memory."""
POLL_GROWTH = 1.5
ENDED = ("failed", "expired", "cancelled", "lost")
FULL = "token_limit_exceeded"
"""Why a batch fails for which the account has too many tokens waiting."""
FILES_LATE = 5
"""How often a completed batch is looked at that has no file of answers yet."""


class BatchService:
    """The batches of an endpoint's client; it lives in one event loop.

    Args:
        engine: the endpoint.
        key: its key.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr) -> None:
        self._engine = engine
        self._client = BatchClient(engine, key)
        self._transfers = asyncio.Semaphore(TRANSFERS)
        self._running = 0
        """Batches that the endpoint works on."""
        self._room = asyncio.Condition()

    async def answer(self, folder: str, lines: dict[int, bytes], tokens: int) -> dict[int, BatchAnswer]:
        """Return the answers to the questions of a round, some of which may be unanswered.

        Args:
            folder: of the round's records.
            lines: the questions by row; emptied, as a batch may take a day.
            tokens: the most that a reply has.
        """
        known = []
        for record in await asyncio.to_thread(read_records, folder):
            if record.content == hash_lines(lines.get(row, b"") for row in record.rows):
                known.append(record)
                for row in record.rows:
                    del lines[row]
            else:  # made by another version, or with settings that change no row
                await asyncio.to_thread(record.delete)
        parts = list(split_files(lines, self._engine.max_batch_requests))
        lines.clear()
        answers = await asyncio.gather(
            *(self._go_on(record, tokens) for record in known), *(self._begin(folder, part, tokens) for part in parts)
        )
        return {row: answer for part in answers for row, answer in part.items()}

    async def _begin(self, folder: str, lines: dict[int, bytes], tokens: int) -> dict[int, BatchAnswer]:
        async with self._transfers:
            rows, content = tuple(lines), hash_lines(lines.values())
            file = await self._client.upload(lines.values())
        lines.clear()
        record = BatchRecord(record_path(folder, rows), rows, content, file, time.time())
        await asyncio.to_thread(record.write)
        return await self._finish(record, tokens, is_new=True)

    async def _go_on(self, record: BatchRecord, tokens: int) -> dict[int, BatchAnswer]:
        answers = await asyncio.to_thread(record.answers)
        if answers is None:
            return await self._finish(record, tokens, is_new=False)
        return read_answers(answers, record.rows)

    async def _finish(self, record: BatchRecord, tokens: int, is_new: bool) -> dict[int, BatchAnswer]:
        batch = await self._taken_and_ended(record, is_new)
        files = [str(batch[name]) for name in ("output_file_id", "error_file_id") if batch.get(name)]
        async with self._transfers:
            answers: list[bytes] = []
            for file in files:
                answers += await self._client.patiently(partial(self._read, file, len(record.rows) * tokens))
        await asyncio.to_thread(record.write_answers, answers)
        for file in [*files, record.file]:
            await self._client.delete(file)
        return read_answers(answers, record.rows)

    async def _read(self, file: str, tokens: int) -> list[bytes]:
        """Return the answers of a file."""
        read = [read_answer(line) async for line in self._client.download(file, tokens)]
        return [answer_line(*answer) for answer in read if answer]

    async def _taken_and_ended(self, record: BatchRecord, is_new: bool) -> dict[str, Any]:
        """Return a batch once it has ended, other than because the account has too many tokens waiting.

        A lost batch is empty.

        Raises:
            BatchRefusedError: the endpoint does not take it.
            Stopped: it was canceled while this run waited.
        """
        is_resumed, full_since = not is_new, None
        while True:
            if not record.batch:
                record = await self._created(record, is_new)
            batch = await self._ended(record, is_resumed)
            if batch.get("status") != "failed":
                await self._make_room()
                return batch
            problem = _first_problem(batch)
            full_since = time.monotonic() if self._running or full_since is None else full_since
            if problem.get("code") != FULL:
                raise await self._forgotten(record, f"{problem.get('code')}: {problem.get('message')}")
            if time.monotonic() - full_since > self._engine.deadline_s:
                raise await self._forgotten(record, self._too_full(record, str(problem.get("message"))))
            record, is_new, is_resumed = replace(record, batch=""), True, False
            await asyncio.to_thread(record.write)
            await self._wait_for_room()

    async def _created(self, record: BatchRecord, is_new: bool) -> BatchRecord:
        """Return a record with the id of its batch, which is created unless it was before."""
        about, is_unsure = "/".join(record.path.split("/")[-5:]), not is_new

        async def create() -> str:
            nonlocal is_unsure
            if is_unsure and (found := await self._client.find(record.file, record.uploaded)):
                return found
            try:
                return await self._client.create(record.file, about)
            except Exception:
                is_unsure = True
                await asyncio.sleep(self._engine.batch_poll_s[0])  # until a list would show it
                raise

        try:
            made = replace(record, batch=await self._client.patiently(create))
        except BatchRefusedError:
            await asyncio.to_thread(record.delete)
            raise
        await asyncio.to_thread(made.write)
        return made

    async def _ended(self, record: BatchRecord, is_resumed: bool) -> dict[str, Any]:
        """Look at a batch, ever less often, until it has ended."""
        pause_s, longest_s = self._engine.batch_poll_s
        looks = late = 0
        is_running = False
        try:
            while True:
                batch = await self._client.look(record.batch) or {"status": "lost"}
                looks += 1
                status = batch.get("status")
                if status == "cancelled" and not (is_resumed and looks == 1):
                    raise Stopped(f"the batch {record.batch} was canceled; the same command asks its other rows again")
                is_whole = batch.get("output_file_id") or batch.get("error_file_id") or late == FILES_LATE
                if status in ENDED or (status == "completed" and is_whole):
                    return batch
                late += status == "completed"
                if not is_running and status in ("in_progress", "finalizing"):
                    is_running = True
                    self._running += 1
                await asyncio.sleep(pause_s * random.uniform(0.9, 1.1))
                pause_s = min(longest_s, pause_s * POLL_GROWTH)
        finally:
            self._running -= is_running

    async def _make_room(self) -> None:
        async with self._room:
            self._room.notify()

    async def _wait_for_room(self) -> None:
        """Wait until a batch of this client has ended, or a while, for those of others."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._engine.batch_poll_s[1]), self._room:
                await self._room.wait()

    async def _forgotten(self, record: BatchRecord, said: str) -> BatchRefusedError:
        """Return the error of a batch that the endpoint refuses, and forget it, so that the next run begins anew."""
        await asyncio.to_thread(record.delete)
        await self._client.delete(record.file)
        return self._client.refusal(said)

    def _too_full(self, record: BatchRecord, said: str) -> str:
        rows, section = len(record.rows), config_key(self._engine)
        return (
            f"{said}, for {self._engine.deadline_s:g} s: wait for other batches of the account, or if {rows:,} "
            f"requests are more than it may have waiting, set {section}.max_batch_requests lower"
        )


def _first_problem(batch: Mapping[str, Any]) -> dict[str, Any]:
    found = as_object(batch.get("errors")).get("data")
    return as_object(found[0]) if isinstance(found, list) and found else {}
