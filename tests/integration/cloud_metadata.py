"""A simulated metadata server of a cloud, which announces the interruption of a machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "a-session-token"


class Metadata(ThreadingHTTPServer):
    """The paths of AWS and GCP; `seconds` is the time until the interruption, None without a notice."""

    seconds: float | None = None

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Handler)

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Responses as documented by the clouds."""

    server: Metadata

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._respond(200 if "X-aws-ec2-metadata-token-ttl-seconds" in self.headers else 400, TOKEN)

    def do_GET(self) -> None:
        seconds = self.server.seconds
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self._respond(401, "")
            elif seconds is None:
                self._respond(404, "")
            else:
                when = datetime.now(UTC) + timedelta(seconds=seconds)
                self._respond(200, f'{{"action": "terminate", "time": "{when:%Y-%m-%dT%H:%M:%SZ}"}}')
        elif self.path == "/computeMetadata/v1/instance/preempted":
            is_valid = self.headers["Metadata-Flavor"] == "Google"
            self._respond(200 if is_valid else 403, "FALSE" if seconds is None else "TRUE")
        else:
            self._respond(404, "")

    def _respond(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def metadata(host: str = "127.0.0.1") -> Iterator[Metadata]:
    """Run a server during the block."""
    server = Metadata(host)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
