"""Tells what engines have open outside the run, such as batches at an endpoint, which go on when the run is stopped."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from factory.errors import StorageError
from factory.inference.generation_step import EngineUse

REPORT_EVERY_S = 60


def open_work(uses: Sequence[tuple[EngineUse, str]]) -> list[str]:
    """Return what each engine has open, in a few words.

    Args:
        uses: the engine of each table, and the folder for what it must find again after a kill.
    """
    engines: list[EngineUse] = []
    for engine, _ in uses:
        if not any(map(engine.is_same_engine, engines)):
            engines.append(engine)
    states = [[state for engine, state in uses if engine.is_same_engine(each)] for each in engines]
    found = [engine.backend.open_work(own) for engine, own in zip(engines, states, strict=True)]
    return [work for work in found if work]


@contextmanager
def report_open_work(uses: Sequence[tuple[EngineUse, str]], report: Callable[[str], None]) -> Iterator[None]:
    """Report from a thread what is open, every minute in which it has changed."""
    ended = threading.Event()

    def watch() -> None:
        before: list[str] = []
        while not ended.wait(REPORT_EVERY_S):
            with suppress(StorageError):
                now = open_work(uses)
                if now and now != before:
                    report(f"waiting for {', '.join(now)}")
                before = now

    threading.Thread(target=watch, name="open-work", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
