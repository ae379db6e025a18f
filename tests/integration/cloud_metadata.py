"""A stand-in for the server by which a cloud's machine learns of itself: it says when the machine is taken away."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "a-session-token"


class Metadata(ThreadingHTTPServer):
    """Both clouds' paths; `seconds` until the machine is gone, None as long as it stays."""

    seconds: float | None = None

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Handler)

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """As the clouds document it."""

    server: Metadata

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._say(200 if "X-aws-ec2-metadata-token-ttl-seconds" in self.headers else 400, TOKEN)

    def do_GET(self) -> None:
        seconds = self.server.seconds
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self._say(401, "")
            elif seconds is None:
                self._say(404, "")
            else:
                when = datetime.now(UTC) + timedelta(seconds=seconds)
                self._say(200, f'{{"action": "terminate", "time": "{when:%Y-%m-%dT%H:%M:%SZ}"}}')
        elif self.path == "/computeMetadata/v1/instance/preempted":
            known = self.headers["Metadata-Flavor"] == "Google"
            self._say(200 if known else 403, "FALSE" if seconds is None else "TRUE")
        else:
            self._say(404, "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextmanager
def metadata(host: str = "127.0.0.1") -> Iterator[Metadata]:
    """A server for as long as it is wanted."""
    server = Metadata(host)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
