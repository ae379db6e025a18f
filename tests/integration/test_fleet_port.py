"""What may listen at the fleet's port, for real: a fleet that stays, another run's, a server of another kind."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, StreamRequestHandler, TCPServer, ThreadingTCPServer

import pytest

from factory.config import Fleet, ServedModel
from factory.errors import ConfigError
from factory.runtime.ray_head import free_port
from factory.serving.deployment import wire_name
from factory.serving.fleet import APP, RUNS_APP, running

JUDGE = ServedModel(name="a", model="embedded", device="cpu")


@contextmanager
def listening(server: type[TCPServer], handler: type[BaseRequestHandler], host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server that answers as long as the block runs."""
    with server((host, 0), handler) as standing:
        threading.Thread(target=standing.serve_forever, daemon=True).start()
        yield standing.server_address[1]
        standing.shutdown()


def door(said: object) -> type[BaseHTTPRequestHandler]:
    """What answers every request with this as JSON."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Door


def fleet_of(app: str) -> type[BaseHTTPRequestHandler]:
    """The door of a fleet with `JUDGE`."""
    return door({"data": [{"id": wire_name(JUDGE), "object": "model", "owned_by": app}]})


class Ssh(StreamRequestHandler):
    """Says who it is before it is asked, as no HTTP server does."""

    def handle(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


class Shut(StreamRequestHandler):
    """Hangs up as soon as it is asked."""

    def handle(self) -> None:
        self.rfile.readline()


def test_a_fleet_that_stays_is_used_and_nothing_is_none():
    with listening(ThreadingHTTPServer, fleet_of(APP)) as port:
        assert running(Fleet(port=port), [JUDGE]) == f"http://127.0.0.1:{port}/v1"
    assert running(Fleet(port=free_port()), [JUDGE]) is None


def test_another_runs_fleet_is_not_taken_but_one_that_a_killed_run_left_may_be():
    with listening(ThreadingHTTPServer, fleet_of(RUNS_APP)) as port:
        with pytest.raises(ConfigError, match="another run's fleet listens there"):
            running(Fleet(port=port), [JUDGE])
        assert running(Fleet(port=port), [JUDGE], left_behind=True)


def test_clients_are_sent_to_the_host_that_the_fleet_listens_on():
    with listening(ThreadingHTTPServer, fleet_of(APP), "127.0.0.2") as port:
        assert running(Fleet(host="127.0.0.2", port=port), [JUDGE]) == f"http://127.0.0.2:{port}/v1"
    with listening(ThreadingHTTPServer, fleet_of(APP), "0.0.0.0") as port:
        assert "0.0.0.0" not in (running(Fleet(host="0.0.0.0", port=port), [JUDGE]) or "0.0.0.0")


OTHERS: dict[str, Callable] = {
    "ssh": lambda: listening(ThreadingTCPServer, Ssh),
    "hangs up": lambda: listening(ThreadingTCPServer, Shut),
    "other JSON": lambda: listening(ThreadingHTTPServer, door({"data": ["a"]})),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_server_of_another_kind_is_told_as_such(kind):
    with OTHERS[kind]() as port, pytest.raises(ConfigError, match=f"port {port}: what listens there is no fleet"):
        running(Fleet(port=port), [JUDGE])


@pytest.mark.parametrize(
    ("job", "server", "handler", "told"),
    [
        ("judges_up", ThreadingTCPServer, Ssh, "is no fleet"),
        ("evaluate", ThreadingHTTPServer, fleet_of(RUNS_APP), "another run's fleet"),
    ],
)
def test_it_is_one_line_and_exit_2(make_run, job, server, handler, told):
    with listening(server, handler) as port:
        evaluation = {
            "protocol": "light",
            "limit": 1,
            "general": False,
            "candidates": [{"name": "one", "kind": "scripted", "default": "Aye."}],
            "judges": [JUDGE.model_dump()],
            "fleet": {"port": port},
        }
        run = make_run(job, 1, evaluation=evaluation)
        assert run.start(job=job).wait(200) == 2, run.log()
    (line,) = [line for line in run.log().splitlines() if "error" in line]
    assert line.startswith(f"error: evaluation.fleet.port {port}: ")
    assert told in line
    assert "Traceback" not in run.log()
