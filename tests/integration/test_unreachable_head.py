"""A head that rejects the token or is gone is a one-line error, also in the middle of a job."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from factory.cluster import jobs, status
from factory.errors import UnreachableError
from tests.integration.runs import PROJECT

DEMO = PROJECT / "jobs" / "configs" / "demo.yaml"
S3 = ["output=s3://bucket/x"]
TOKEN = "the cluster rejects this machine's token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH"
GONE = "no head responds there"
RUNNING = {"type": "SUBMISSION", "submission_id": "x", "status": "RUNNING", "entrypoint": "true"}


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lost_at_the_logs(request: web.Request) -> web.StreamResponse:
    """Respond until the first line of a job's log, like a tunnel that breaks."""
    if request.path.endswith("/logs/tail"):
        following = web.WebSocketResponse()
        await following.prepare(request)
        await following.send_str("its first line\n")
        return await hang_up(request)
    return web.json_response({"ray_version": "2.60.0"} if request.path == "/api/version" else RUNNING)


def refuses(status: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    return refuse


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return a function that starts a server with one response to everything, and returns its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runners: list[web.ServerRunner] = []

    async def start(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield lambda answer: asyncio.run_coroutine_threadsafe(start(answer), loop).result(30)
    for runner in runners:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("ask", [
    lambda url: jobs.submit("synthesize", DEMO, S3, url, print),
    lambda url: jobs.logs("x", url, print),
    lambda url: jobs.stop("x", url),
    status.show_status,
], ids=["submit", "logs", "stop", "status"])  # fmt: skip
@pytest.mark.parametrize(
    ("answer", "message"), [(refuses(401), TOKEN), (refuses(403), TOKEN), (hang_up, GONE)], ids=["401", "403", "gone"]
)
def test_unreachable_head_is_one_line(serve, ask, answer, message):
    with pytest.raises(UnreachableError, match=message) as caught:
        ask(serve(answer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output", ["gs://bucket/x", "/mnt/shared/x"])
def test_output_on_shared_storage_is_submitted(serve, output):
    with pytest.raises(UnreachableError, match=GONE):
        jobs.submit("synthesize", DEMO, ["--limit", "5", f"output={output}"], serve(hang_up), print)


def test_tunnel_broken_during_logs_is_one_line(serve):
    lines: list[str] = []
    with pytest.raises(UnreachableError, match=GONE):
        jobs.logs("x", serve(lost_at_the_logs), lines.append)
    assert lines == ["its first line"]


def test_command_exits_with_2_without_traceback(serve):
    url = serve(refuses(403))
    command = [sys.executable, PROJECT / "cluster" / "job.py", "logs", "x", "--address", url]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: ADDRESS={url}: {TOKEN}")
