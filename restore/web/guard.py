"""Who may talk to the server: hosts, origins and the token are checked before anything is read.

A page that is open in a visitor's browser can send requests to any server that the browser reaches,
this one included. The browser says where a request comes from (`Origin`, `Sec-Fetch-Site`), and a
name that was rebound to this machine's address (DNS rebinding) stands in `Host`.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from restore.web.jobs import RefusedError

COOKIE = "restore-token"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN = ("/health",)  # needs no token, for it tells nothing of pictures
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may talk to the server.

    hosts:     names by which it may be called, besides those of the loopback
    addresses: whether it may be called by any IP address, which nobody can rebind; needed where it
               listens on more than the loopback
    token:     a secret that each request must bring; None: none
    """

    hosts: tuple[str, ...] = ()
    addresses: bool = False
    token: str | None = None


class Guard:
    """Lets requests through that may be answered, and adds the headers to all answers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Wrap an application."""
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            check_host(headers, self.access)
            check_origin(headers, scope)
            if entered := self._entered(scope):
                await entered(scope, receive, send_with_headers)
                return
            if self.access.token is not None and scope["path"] not in OPEN:
                check_token(headers, self.access.token)
        except RefusedError as error:
            await refusal(error)(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _entered(self, scope: Scope) -> RedirectResponse | None:
        """For the address with the token: a cookie in its place, so that it is in no history."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        token = self.access.token
        if scope["path"] != "/" or token is None or not same(given, token):
            return None
        answer = RedirectResponse("/", 303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
        return answer


def check_host(headers: Headers, access: Access) -> None:
    """RefusedError 403 unless the server is called by a name of its own."""
    host = headers.get("host", "")
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::\d{1,5})?", host)
    name = (match[1] or match[2]).lower() if match else ""
    if name in LOOPBACK or name in access.hosts or (access.addresses and is_address(name)):
        return
    raise RefusedError(
        403, "this server is not called by that name; start it with --allow-host NAME for it"
    )


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_origin(headers: Headers, scope: Scope) -> None:
    """RefusedError 403 for a request that another site's page makes.

    A link to the start page may be followed from anywhere.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    followed = scope["method"] == "GET" and scope["path"] == "/" and origin is None
    followed = followed and headers.get("sec-fetch-mode") == "navigate"
    foreign = site not in (None, "same-origin", "none") and not followed
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        foreign = True
    if foreign:
        raise RefusedError(403, "pages of other sites may not use this server")


def check_token(headers: Headers, token: str) -> None:
    """RefusedError 401 unless the token is in the header or in the cookie."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    if not (kind.lower() == "bearer" and same(given.strip(), token)) and not same(cookie, token):
        raise RefusedError(
            401, "a token is needed: open the address that `restore web` printed, or send it as "
            "'Authorization: Bearer TOKEN'"
        )  # fmt: skip


def same(given: str, token: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how far."""
    return secrets.compare_digest(given.encode(), token.encode())


def refusal(error: RefusedError) -> JSONResponse:
    """The answer to a request that is refused."""
    headers = {} if error.wait is None else {"Retry-After": str(error.wait)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"detail": error.sentence}, error.status, headers)
