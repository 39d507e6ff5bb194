"""Who may ask: this machine's browser, with the token of the address that the command printed.

The server listens on loopback. A page of another site that the same browser shows could still send it requests (DNS
rebinding, cross-site requests): so every request needs the token in its path, a Host that is loopback, and, where it
has an Origin, this server's own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
MOST_UPLOAD = 128 * 2**20  # bytes of a body
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def new_token() -> str:
    """Return a token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


def refused(headers: Mapping[str, str], path: str, token: str) -> tuple[int, str] | None:
    """Return the status and the sentence with which a request is refused; None for one that may come in.

    >>> refused({"host": "localhost:8000"}, "/secret/", "secret") is None
    True
    >>> refused({"host": "evil.example:8000"}, "/secret/", "secret")[0]
    421
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name not in HOSTS:
        return 421, "This server answers to 127.0.0.1 and localhost alone. Open the address that adbench printed."
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return 403, "A page of another site asked. Open the address that adbench printed."
    given = path.split("/")[1] if path.startswith("/") else ""
    if not hmac.compare_digest(given.encode(), token.encode()):
        return 403, "The token is missing or wrong. Open the address that adbench printed."
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_UPLOAD:
        return 413, too_large()
    return None


def too_large() -> str:
    """Return the sentence about a body that is too large."""
    return f"The file has more than {MOST_UPLOAD // 2**20} MB, the most that is taken. Give its folder: --images DIR."


class Guard:
    """Refuses requests as `refused` says, counts the bytes of every body, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safe_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if why := refused(Headers(scope=scope), scope["path"], self.token):
            status, sentence = why
            await PlainTextResponse(sentence, status)(scope, receive, safe_send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_UPLOAD:  # a body without a length
                raise TooLarge
            return message

        await self.app(scope, bounded, safe_send)


class TooLarge(Exception):
    """A body has more than `MOST_UPLOAD` bytes, whatever length it said."""
