"""The page's HTTP server: gradio behind a guard, in a thread of the job's process."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from factory.config import LOOPBACK, Chat, RunConfig
from factory.errors import ConfigError
from factory.playground.login import CLIENT, FREE_TRIES, Login
from factory.playground.rate_limits import RateLimiter
from factory.serving.request_guard import BodyLimit, add_request_guard, client_network

GRACE_S = 3
"""Time for open requests when the server stops; browsers always hold one open."""
HEADERS = {
    # gradio's page has inline scripts; everything else is loaded from here, and nothing is sent elsewhere.
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
BLOCKED_PATHS = ("/upload", "/proxy", "/stream", "/component_server", "/process_recording")
"""Unused paths of gradio: uploads of files, and requests to other servers."""
BODY_BYTES = 1 << 20
"""Maximum size of a request without the texts that a user may write."""
BYTES_PER_CHARACTER = 12
"""Maximum in JSON: a surrogate pair, whose escapes have six bytes each."""
POSTS_PER_MINUTE = 600
"""Limit per address over all actions, including votes and saving; far above what a person needs."""


class PageController(Protocol):
    """What is behind a page: the playground, or the page of labels."""

    config: RunConfig

    def build_page(self) -> Any:
        """Return the gradio page, with its events connected."""


def page_password(chat: Chat) -> str:
    """Return the page's password; empty if it has none."""
    return os.environ.get(chat.password_env, "").strip()


def check_bind(chat: Chat) -> None:
    """Check that a page that others can reach has a password, and that its port is free.

    Raises:
        ConfigError: the password is missing, or the port is taken.
    """
    if not page_password(chat):
        if chat.host not in LOOPBACK:
            raise ConfigError(
                f"chat.host is {chat.host!r}, which others can reach, but ${chat.password_env} holds no password; "
                "export one, or use 127.0.0.1"
            )
        if chat.allowed_hosts:
            raise ConfigError(
                f"chat.allowed_hosts has {chat.allowed_hosts[0]!r}, under which others can reach the page, but "
                f"${chat.password_env} holds no password; export one, or remove chat.allowed_hosts"
            )
    _listen(chat.host, chat.port).close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as problem:
        raise ConfigError(
            f"chat.port {port} of chat.host {host!r}: {problem.strerror}; use another port, or 0 for any free one"
        ) from None


@contextmanager
def serving(controller: PageController) -> Iterator[str]:
    """Serve the page while the block runs, and yield its URL.

    Raises:
        ConfigError: the port is taken.
    """
    import uvicorn

    chat = controller.config.chat
    listener = _listen(chat.host, chat.port)
    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "timeout_graceful_shutdown": GRACE_S,
        "ws": "none",
        "proxy_headers": bool(chat.proxies),  # from proxies only: any client can send them
        "forwarded_allow_ips": list(chat.proxies),
    }
    server = uvicorn.Server(uvicorn.Config(_app(controller), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    host = chat.host if chat.host in LOOPBACK else socket.gethostname()
    port = listener.getsockname()[1]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(2 * GRACE_S)


def _app(controller: PageController) -> Any:
    import fastapi
    import gradio

    from factory.playground.ui import STYLE, THEME

    chat = controller.config.chat
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    characters = chat.persona_characters + chat.message_characters
    app.add_middleware(BodyLimit, BODY_BYTES + BYTES_PER_CHARACTER * characters)
    app.add_middleware(PageGuard)
    add_request_guard(app, chat.host, chat.allowed_hosts)
    password = page_password(chat)
    return gradio.mount_gradio_app(
        app,
        controller.build_page(),
        path="/",
        auth=Login(chat.user, password).check if password else None,
        # gradio's form shows no message for status 429.
        auth_message=f"After {FREE_TRIES} wrong passwords, each answer takes some seconds." if password else None,
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


class PageGuard:
    """Blocks unused paths, limits requests per address, and adds security headers."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._posts = RateLimiter(POSTS_PER_MINUTE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_network((scope.get("client") or ("",))[0])
        CLIENT.set(client)
        if refusal := self._refusal(scope, client):
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Any, client: str) -> Any:
        from starlette.responses import JSONResponse

        if any(f"/gradio_api{path}" in scope["path"] for path in BLOCKED_PATHS):
            return JSONResponse({"error": "not found"}, status_code=404)
        if scope["method"] == "POST" and (wait_s := self._posts.admit(client, time.monotonic())):
            return JSONResponse({"error": "too many requests"}, 429, {"Retry-After": str(wait_s)})
        return None
