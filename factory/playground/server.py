"""Where the page listens: gradio behind a guard, in a thread of the job's process."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from factory.config import LOOPBACK, Chat
from factory.errors import ConfigError
from factory.playground.login import ASKING, AT_ONCE, Login
from factory.playground.rate_limits import Allowances
from factory.playground.session_controller import Stage
from factory.serving.request_guard import BodyLimit, add_request_guard, client_network

GRACE_S = 3
"""How long open requests have when the page closes; browsers hold one open all the time."""
HEADERS = {
    # gradio's page runs scripts that stand in it; all else comes from here, and nothing goes elsewhere.
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
SHUT = ("/upload", "/proxy", "/stream", "/component_server", "/process_recording")
"""Ends of gradio's paths that this page has no use for: files in, and requests to elsewhere."""
BODY_BYTES = 1 << 20
"""The most that a browser sends at once, beside what a person may write."""
LETTER_BYTES = 12
"""A letter in JSON takes no more: two halves, six bytes each."""
POSTS_A_MINUTE = 600
"""What one address may ask of the page, votes and saving included; a person does not come near it."""


def password_of(chat: Chat) -> str:
    """The page's password; empty where it has none."""
    return os.environ.get(chat.password_env, "").strip()


def check_door(chat: Chat) -> None:
    """Check that a page that others can reach has a password, and that its port is free.

    Raises:
        ConfigError: it has none, or the port is taken.
    """
    if not password_of(chat):
        if chat.host not in LOOPBACK:
            raise ConfigError(
                f"chat.host is {chat.host!r}, which others can reach, and ${chat.password_env} holds no password; "
                "export one, or take 127.0.0.1"
            )
        if chat.allowed_hosts:
            raise ConfigError(
                f"chat.allowed_hosts has {chat.allowed_hosts[0]!r}, under which others can reach the page, and "
                f"${chat.password_env} holds no password; export one, or leave it out"
            )
    _listen(chat.host, chat.port).close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as problem:
        raise ConfigError(
            f"chat.port {port} of chat.host {host!r}: {problem.strerror}; take another one, or 0 for any"
        ) from None


@contextmanager
def opened(stage: Stage) -> Iterator[str]:
    """The page's URL, which answers as long as the block runs.

    Raises:
        ConfigError: the port is taken.
    """
    import uvicorn

    chat = stage.config.chat
    listening = _listen(chat.host, chat.port)
    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "timeout_graceful_shutdown": GRACE_S,
        "ws": "none",
        "proxy_headers": bool(chat.proxies),  # anybody may send them
        "forwarded_allow_ips": list(chat.proxies),
    }
    server = uvicorn.Server(uvicorn.Config(_app(stage), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="page", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    host = chat.host if chat.host in LOOPBACK else socket.gethostname()
    port = listening.getsockname()[1]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(2 * GRACE_S)


def _app(stage: Stage) -> Any:
    import fastapi
    import gradio

    from factory.playground.ui import STYLE, THEME, page

    chat = stage.config.chat
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    typed = chat.persona_characters + chat.message_characters
    app.add_middleware(BodyLimit, most=BODY_BYTES + LETTER_BYTES * typed)
    app.add_middleware(Guard)
    add_request_guard(app, chat.host, chat.allowed_hosts)
    secret = password_of(chat)
    return gradio.mount_gradio_app(
        app,
        page(stage),
        path="/",
        auth=Login(chat.user, secret).check if secret else None,
        # gradio's form says nothing where it is told to wait.
        auth_message=f"After {AT_ONCE} wrong passwords each answer takes some seconds." if secret else None,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        max_file_size=0,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css=STYLE,
    )


class Guard:
    """Lets no file in, sends floods away, and has browsers take nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._posts = Allowances(POSTS_A_MINUTE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_network((scope.get("client") or ("",))[0])
        ASKING.set(client)
        if refusal := self._refusal(scope, client):
            await refusal(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Any, client: str) -> Any:
        from starlette.responses import JSONResponse

        if any(f"/gradio_api{end}" in scope["path"] for end in SHUT):
            return JSONResponse({"error": "not here"}, status_code=404)
        if scope["method"] == "POST" and (wait_s := self._posts.wait_s(client, time.monotonic())):
            return JSONResponse({"error": "too many requests"}, 429, {"Retry-After": str(wait_s)})
        return None
