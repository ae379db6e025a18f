"""A session with a gradio page over plain HTTP, for tests with many concurrent sessions."""

import json
import uuid
from typing import Any

import httpx


class Session:
    """One session from an address. The names of the page's events come from its `/config`."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        # As a proxy in front of the page sends it; a page that does not trust it uses the connection's own.
        self._http = httpx.Client(base_url=url, timeout=120, headers={"X-Forwarded-For": address})
        config = self._http.get("/config").json()
        self._events = {event["api_name"]: event["id"] for event in config["dependencies"]}
        self._hash = uuid.uuid4().hex

    def call(self, name: str, *data: Any, event: dict | None = None) -> list[Any]:
        """Trigger a button's event, and return its last outputs."""
        body = {"data": data, "fn_index": self._events[name], "session_hash": self._hash, "event_data": event}
        joined = self._http.post("/gradio_api/queue/join", json=body)
        joined.raise_for_status()
        with self._http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self._hash}) as stream:
            for line in stream.iter_lines():
                update = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if update.get("msg") == "process_completed" and update["event_id"] == joined.json()["event_id"]:
                    assert update["success"], update
                    return update["output"]["data"]
        raise AssertionError(f"{name}: the page closed the connection")

    def close(self) -> None:
        """Close the tab."""
        self._http.close()
