"""What stands before every page that exegete serves, so that only the person in front of it can use it.

A page on loopback is in reach of every site that the same browser has open. So, before anything else is done:

1. The Host has to be a name the page was told it has: a name of another site that resolves to 127.0.0.1 (DNS
   rebinding) is not.
2. Only GET, HEAD and POST; and nothing is written by a GET, which links and images of any site can make.
3. A POST has the Origin of the page itself, where the browser names one, and carries the token of the cookie
   again, in its form or its header: another site can send the cookie, and can't read it.
4. Bodies are bounded.
5. Beyond loopback, an access token: given once in the address, kept in a cookie from then on.

Every answer forbids scripts, styles, frames and connections from anywhere else, inline ones too, and no page
is kept in a cache.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from exegete.errors import UsageError

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Content-Security-Policy of every answer."""

BODY_BYTES = 256 * 1024
"""Largest body of a POST."""

CSRF_COOKIE, CSRF_FIELD, CSRF_HEADER = "exegete_csrf", "csrf", "x-csrf-token"
ACCESS_COOKIE, ACCESS_FIELD = "exegete_access", "token"

_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it browsers send the Origin "null" with forms of our own pages.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_CSRF_IN_SCOPE = "exegete.csrf"

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, and no other machine can reach it."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def protect(app: Starlette, *, host_names: Sequence[str], token: str | None) -> None:
    """Put the protections above before an application (a FastAPI one is one).

    Args:
        app: its templates put `csrf_token(request)` into a hidden field `csrf` of every form; scripts send it
            as the header X-CSRF-Token.
        host_names: names the page may be asked for by, without port, such as "127.0.0.1" and "localhost".
        token: what a visitor has to bring once as `?token=…`; None lets everybody in who can reach the page.

    Raises:
        UsageError: a name is not loopback's and there is no token.
    """
    outside = [name for name in host_names if not is_loopback(name)]
    if outside and not token:
        raise UsageError(
            f"{outside[0]} can be reached from other machines: set a token with --token, or leave out --host"
        )
    app.add_middleware(_Guard, host_names=host_names, token=token)


def csrf_token(request: Request) -> str:
    """What a form or a script of this page has to send with a POST."""
    return str(request.scope[_CSRF_IN_SCOPE])


class _Guard:
    """The protections, as ASGI middleware."""

    def __init__(self, app: Any, host_names: Sequence[str], token: str | None) -> None:
        self._app = app
        self._names = frozenset(name.strip("[]").casefold() for name in host_names)
        self._token = token

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        csrf = request.cookies.get(CSRF_COOKIE, "")
        known = _TOKEN.fullmatch(csrf) is not None
        scope[_CSRF_IN_SCOPE] = csrf = csrf if known else secrets.token_urlsafe(32)
        send = _hardened(send, is_static=scope["path"].startswith("/static/"), csrf=None if known else csrf)
        refusal = self._refuse(request) or self._admit(request)
        if refusal is None and request.method == "POST":
            body = await _bounded(request)
            refusal = (
                _no(413, f"a body is at most {BODY_BYTES // 1024} kB")
                if body is None
                else _refuse_forged(request, body, csrf if known else None)
            )
            receive = _replayed(body or b"", receive)
        await (refusal or self._app)(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        """By method, Host and Origin."""
        if request.method not in ("GET", "HEAD", "POST"):
            return _no(405, "only GET, HEAD and POST are answered")
        host = request.headers.get("host", "")
        if _name_of(host) not in self._names:
            return _no(421, "this page is not known by that name: open the address that was printed")
        origin = request.headers.get("origin")
        if request.method == "POST" and origin is not None and urlsplit(origin).netloc != host:
            return _no(403, "the request came from another page: go back to the page and do it there")
        embedded = request.headers.get("sec-fetch-mode", "navigate") != "navigate"
        if embedded and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return _no(403, "the request came from another page: open the address itself")
        return None

    def _admit(self, request: Request) -> Response | None:
        """By access token, where there is one; the first visit with it is sent on without it."""
        if self._token is None:
            return None
        ticket = hmac.digest(self._token.encode(), b"exegete access", hashlib.sha256).hex()
        if _same(request.cookies.get(ACCESS_COOKIE, ""), ticket):
            return None
        given = request.query_params.get(ACCESS_FIELD, "")
        if request.method != "GET" or not _same(given, self._token):
            return _no(401, "open the address that was printed in the terminal, with its token")
        rest = [pair for pair in parse_qsl(request.url.query) if pair[0] != ACCESS_FIELD]
        # Never to what begins with two slashes: a browser would take it for another host.
        place = "/" + quote(request.scope["path"].lstrip("/\\")) + (f"?{urlencode(rest)}" if rest else "")
        answer = RedirectResponse(place, status_code=303)
        answer.set_cookie(ACCESS_COOKIE, ticket, httponly=True, samesite="lax")
        return answer


def _no(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status)


def _same(given: str, wanted: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; "" for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").casefold()
    except ValueError:
        return ""


def _refuse_forged(request: Request, body: bytes, csrf: str | None) -> Response | None:
    """By the token that only our own pages can read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    given = request.headers.get(CSRF_HEADER)
    if given is None and kind == "application/x-www-form-urlencoded":
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        given = fields.get(CSRF_FIELD)
    if csrf is None or given is None or not _same(given, csrf):
        return _no(403, "the form is from before this visit: reload the page and send it again")
    return None


async def _bounded(request: Request) -> bytes | None:
    """The whole body, or None when it is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES:
            return None
    return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for the application to read again."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _hardened(send: Send, *, is_static: bool, csrf: str | None) -> Send:
    """Send with the headers of every answer, and the cookie of a new visitor."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Cache-Control"] = "no-cache" if is_static else "no-store"
            if csrf is not None and not is_static:
                cookie = f"{CSRF_COOKIE}={csrf}; Path=/; HttpOnly; SameSite=Lax"
                headers.append("set-cookie", cookie)
        await send(message)

    return sent
