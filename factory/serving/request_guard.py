"""Guards of our HTTP servers against web pages of other origins and against floods."""

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from factory.config import LOOPBACK


def allowed_hosts(host: str, named: Sequence[str] = ()) -> list[str]:
    """Return the names in a request's `Host` that a server on `host` answers to; `*` stands for any.

    A web page may give its own name the address 127.0.0.1 and so ask a server on loopback, which has no
    password, as if both were one site. Servers that others reach have a password or key, and names that
    we cannot list, so all names are allowed there unless `named` gives them.
    """
    if host not in LOOPBACK and not named:
        return ["*"]
    own = [] if host in ("0.0.0.0", "::") else [host]
    return [f"[{name}]" if ":" in name else name for name in dict.fromkeys([*LOOPBACK, *own, *named])]


def add_request_guard(app: Any, host: str, named: Sequence[str] = ()) -> None:
    """Add the checks of `Host` and `Origin` to a Starlette application, in front of what it has so far."""
    app.add_middleware(SameOrigin, named=tuple(named))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host, named), www_redirect=False)


class BodyLimit:
    """Refuses a request whose body is too long, before it reaches the application.

    Starlette's own counts while the application reads: behind a middleware that reads too, as Serve's are, what
    it raises becomes a status of 500.

    Args:
        app: the application behind it.
        most: bytes of a body.
    """

    def __init__(self, app: Any, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length")
        if length is None or "transfer-encoding" in headers:  # h11 goes by the latter where a request has both
            body = await self._whole(receive)
            fits, receive = body is not None, _handing_on(body, receive)
        else:
            fits = length.isdecimal() and int(length) <= self._most  # the server reads no more than that
        answering = self._app if fits else PlainTextResponse("the request is too long", status_code=413)
        await answering(scope, receive, send)

    async def _whole(self, receive: Any) -> bytes | None:
        """Return a body of unknown length; None where it is too long, or the client is gone."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] != "http.request" or len(body) > self._most:
                return None
            more = message.get("more_body", False)
        return bytes(body)


def _handing_on(body: bytes | None, receive: Any) -> Any:
    """Return what gives the body once, and then what else is received."""
    left = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def handing_on() -> Any:
        return left.pop() if left else await receive()

    return handing_on


class SameOrigin:
    """Refuses requests that a browser sends for another site's page; programs send no `Origin`.

    Args:
        app: the application behind it.
        named: more hosts whose pages may send requests, such as a proxy that hides the name it was requested by.
    """

    def __init__(self, app: Any, named: Sequence[str] = ()) -> None:
        self._app = app
        self._named = named

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and self._is_foreign(Headers(scope=scope)):
            refusal = PlainTextResponse("pages of other origins may not ask here", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, headers: Headers) -> bool:
        if origins := headers.getlist("origin"):
            return not all(self._is_own(origin, headers.get("host", "")) for origin in origins)
        # Images, scripts and the like have no Origin; a link that is followed is no request of the other page's.
        other_site = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        return other_site and headers.get("sec-fetch-mode") != "navigate"

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            page = urlsplit(origin)
            return page.scheme in ("http", "https") and (
                page.netloc.lower() == host.lower() or page.hostname in self._named
            )
        except ValueError:
            return False


def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 one, which one household has whole."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is None:
            return str(ipaddress.ip_network((known, 64), strict=False))
        known = known.ipv4_mapped
    return str(known)
