"""Which requests reach a server of ours: names, origins, and who counts as one client."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from factory.serving.request_guard import BodyLimit, add_request_guard, allowed_hosts, client_network

AT = "http://127.0.0.1:7860"
OWN = "127.0.0.1:7860"


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()


def door(host: str = "127.0.0.1", named: tuple[str, ...] = ()) -> TestClient:
    page = Route("/", lambda _: PlainTextResponse("in"), methods=["GET", "POST", "OPTIONS"])
    app = Starlette(routes=[page, WebSocketRoute("/socket", echo)])
    add_request_guard(app, host, named)
    return TestClient(app, AT)


def status(client: TestClient, method: str = "GET", **headers: str) -> int:
    return client.request(
        method, "/", headers={name.replace("_", "-"): said for name, said in headers.items()}
    ).status_code


@pytest.mark.parametrize("host", [OWN, "127.0.0.1", "LocalHost:7860", "[::1]:7860", "localhost:9000"])
def test_loopback_answers_to_its_own_names(host):
    assert status(door(), host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0:7860", "[::2]", "", "a b"],
)
def test_loopback_answers_to_no_other_name(host):
    assert status(door(), host=host) == 400


def test_a_server_on_a_network_answers_to_any_name_until_some_are_given():
    assert status(door("0.0.0.0"), host="chat.example.com") == 200
    named = door("0.0.0.0", ("chat.example.com",))
    assert [status(named, host=host) for host in ("chat.example.com", "evil.example", "0.0.0.0")] == [200, 400, 400]
    assert allowed_hosts("10.0.0.5", ["a.example"]) == ["127.0.0.1", "localhost", "[::1]", "10.0.0.5", "a.example"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "http://evil.example:7860", "null", "", "http://127.0.0.1:3000", "http://127.0.0.1",
        "http://localhost:7860", "file://127.0.0.1:7860", "http://[", "http://127.0.0.1:7860@evil.example",
        "http://127.0.0.1:7860.evil.example",
    ],
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(method, origin):
    assert status(door(), method, origin=origin) == 403


@pytest.mark.parametrize("origin", [f"http://{OWN}", f"https://{OWN}"])  # a proxy may take TLS off
def test_its_own_page_and_programs_may_ask(origin):
    assert status(door(), "POST", origin=origin) == 200
    assert status(door(), "POST") == 200


def test_a_proxy_may_hide_the_name_that_it_was_asked_by():
    named = door("127.0.0.1", ("chat.example.com",))
    assert status(named, "POST", origin="https://chat.example.com") == 200
    assert status(named, "POST", origin="https://chat.example.com.evil.example") == 403


@pytest.mark.parametrize(
    ("site", "mode", "answer"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "no-cors", 403),  # another port of this machine
        ("cross-site", "navigate", 200),
        ("none", "navigate", 200),
        ("same-origin", "no-cors", 200),
    ],
)
def test_no_picture_of_another_page_is_loaded_from_here(site, mode, answer):
    assert status(door(), sec_fetch_site=site, sec_fetch_mode=mode) == answer


def test_a_websocket_of_another_origin_is_refused():
    with door().websocket_connect("/socket", headers={"origin": f"http://{OWN}", "host": OWN}) as socket:
        assert socket.receive_text() == "in"
    for headers in ({"origin": "http://evil.example", "host": OWN}, {"host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect), door().websocket_connect("/socket", headers=headers):
            pass


async def told(messages: list[dict], headers: dict[str, str], most: int = 10) -> tuple[int, bytes, int]:
    """What a body in pieces is answered, what the application behind the limit read, and how many pieces are left."""
    sent, read = [], []

    async def behind(scope: dict, receive: Callable, send: Callable) -> None:
        request = Request(scope, receive)
        read.append(await request.body())
        await PlainTextResponse("gone" if await request.is_disconnected() else "here")(scope, receive, send)

    async def receive() -> dict:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}
    await BodyLimit(behind, most)(scope, receive, send)
    return sent[0]["status"], b"".join(read), len(messages)


def pieces(*bodies: bytes) -> list[dict]:
    return [{"type": "http.request", "body": body, "more_body": n + 1 < len(bodies)} for n, body in enumerate(bodies)]


@pytest.mark.parametrize(
    ("bodies", "headers", "answer"),
    [
        ([b"12345", b"67890"], {}, (200, b"1234567890", 0)),
        ([b""], {}, (200, b"", 0)),
        ([b"12345", b"67890", b"1", b"2", b"3"], {}, (413, b"", 2)),
        ([b"1234567890"], {"content-length": "10"}, (200, b"1234567890", 0)),
        ([b"1234567890", b"1"], {"content-length": "11"}, (413, b"", 2)),
        ([b"1"], {"content-length": "-1"}, (413, b"", 1)),
        ([b"1"], {"content-length": "many"}, (413, b"", 1)),
        ([b"12345", b"678901", b"2"], {"content-length": "5", "transfer-encoding": "chunked"}, (413, b"", 1)),
    ],
)
def test_a_body_that_is_too_long_is_not_read_on(bodies, headers, answer):
    assert asyncio.run(told(pieces(*bodies), headers)) == answer


def test_a_client_that_goes_before_its_body_is_whole_is_not_heard():
    assert asyncio.run(told(pieces(b"1", b"2")[:1], {}))[1] == b""


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_household_of_addresses_counts_as_one_client(address, client):
    assert client_network(address) == client
