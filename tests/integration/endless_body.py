"""A request whose body never ends, by hand: test clients read a body whole before they send it."""

import asyncio
from collections.abc import Mapping
from typing import Any

PIECE = b"x" * (1 << 20)


def post_without_end(app: Any, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return the status of the answer, and how many bytes the application read before it."""
    read, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        if statuses:
            return {"type": "http.disconnect"}
        read += len(PIECE)
        assert read < 1 << 30, "it reads on and on"
        return {"type": "http.request", "body": PIECE, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    given = {"host": "127.0.0.1", "transfer-encoding": "chunked", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), said.encode()) for name, said in given.items()],
        "client": ("192.0.2.1", 50000),
        "server": ("127.0.0.1", 7860),
    }
    asyncio.run(app(scope, receive, send))
    return statuses[0], read
