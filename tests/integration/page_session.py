"""A session with a gradio page, as a browser has one, over HTTP alone: for many of them at once."""

import json
import uuid
from typing import Any

import httpx


class Session:
    """One session from an address; `names` of the page's events are those of its `config`."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        # As a proxy before the page says it; one that does not believe it takes the connection's own.
        self._http = httpx.Client(base_url=url, timeout=120, headers={"X-Forwarded-For": address})
        config = self._http.get("/config").json()
        self._events = {event["api_name"]: event["id"] for event in config["dependencies"]}
        self._hash = uuid.uuid4().hex

    def call(self, name: str, *data: Any, event: dict | None = None) -> list[Any]:
        """Do what a button does, and return what it puts onto the page in the end."""
        asked = {"data": data, "fn_index": self._events[name], "session_hash": self._hash, "event_data": event}
        joined = self._http.post("/gradio_api/queue/join", json=asked)
        joined.raise_for_status()
        with self._http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self._hash}) as stream:
            for line in stream.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed" and told["event_id"] == joined.json()["event_id"]:
                    assert told["success"], told
                    return told["output"]["data"]
        raise AssertionError(f"{name}: the page hung up")

    def close(self) -> None:
        """Close the tab."""
        self._http.close()
