"""What every request passes before the application sees it, whatever its route."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import time
from contextlib import suppress
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt1.serving.clients import Clients, client_of
from gpt1.serving.json_body import check_json
from gpt1.serving.keys import Keys
from gpt1.serving.logs import log_request
from gpt1.serving.refusal import Refusal
from gpt1.serving.safety import SafetyConfig, is_loopback

logger = logging.getLogger(__name__)

PROBES = ("/health", "/ready")
"""Paths that anybody may ask, at any time: they say nothing of what is served."""

ENDLESS = "/gradio_api/heartbeat/"
"""Answers of the playground that go on while its page is open: nothing to wait for at the end."""

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
"""Bodies that are no JSON."""

LINGER_S = 2
"""Seconds in which the rest of a refused body is thrown away, so that its client reads why."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "frame-ancestors 'none'",
}
"""Sent with every answer, unless the application sets them itself."""


class Guard:
    """An ASGI application in front of another one.

    Args:
        app: Gets the requests that are let through, their bodies read and checked.
        state: Of the application; once its ``draining`` is true, only probes are let through.
        safety: The limits.
        keys: One of them must come with each request but for probes, unless there are none.
        names: Hosts that a request may name; None: any.

    Attributes:
        safety: The limits.
        running: Requests that are being answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: object,
        safety: SafetyConfig,
        keys: Keys,
        names: frozenset[str] | None,
    ) -> None:
        self.safety, self.running = safety, 0
        self._app, self._state, self._keys, self._names = app, state, keys, names
        self._clients = Clients(safety.max_requests_per_client, safety.requests_per_minute)
        self._inner: ASGIApp = self._answer
        if safety.cors_origin:
            self._inner = CORSMiddleware(
                self._answer,
                allow_origins=safety.cors_origin,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type"],
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, answer = time.monotonic(), _Answer(send)
        counts = not scope["path"].startswith(ENDLESS)
        self.running += counts
        try:
            await self._inner(scope, receive, answer)
        except asyncio.CancelledError:
            if not self._is_draining:
                raise
            # The server stops, and this took too long: its connection is closed, and that is all.
        finally:
            self.running -= counts
            if self.safety.access_log:
                log_request(scope, answer.status, start)

    @property
    def _is_draining(self) -> bool:
        return bool(getattr(self._state, "draining", False))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = self._admit(scope)
        except Refusal as refusal:
            await _refuse(refusal, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body is not None:
                await self._app(scope, _replay(body, receive), send)
        except Refusal as refusal:
            await _refuse(refusal, receive, send)
        finally:
            if client is not None:
                self._clients.leave(client)

    def _admit(self, scope: Scope) -> str | None:
        """Check who asks; returns whom it counts for, None if for nobody."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_origin(headers)
        if scope["path"] in PROBES:
            return None
        if self._is_draining:
            message = "the server is about to stop and takes no more requests"
            raise Refusal(503, message, headers={"Retry-After": "1"})
        client = self._client(scope, headers)
        self._clients.enter(client)
        return client

    def _check_host(self, headers: Headers) -> None:
        """A page whose name was made to lead to this machine still names itself."""
        if self._names is not None and _host(headers.get("host", "")) not in self._names:
            raise Refusal(
                403, "the server does not go by the name of the header Host; see --allowed-host"
            )

    def _check_origin(self, headers: Headers) -> None:
        """Browsers say which page asks: only our own and those that are allowed may."""
        origin = headers.get("origin")
        if origin is None or origin in self.safety.cors_origin:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Refusal(403, "pages of other origins may not ask; see --cors-origin")

    def _client(self, scope: Scope, headers: Headers) -> str:
        if not self._keys:
            return client_of((scope.get("client") or ["?"])[0])
        number = self._keys.find(_key(headers.get("authorization", "")))
        if number is None:
            # A browser asks its user for a name, which does not matter, and a password: the key.
            is_page = "text/html" in headers.get("accept", "")
            challenge = 'Basic realm="gpt1", charset="UTF-8"' if is_page else "Bearer"
            raise Refusal(
                401,
                "no API key, or an unknown one; send it as: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": challenge},
            )
        return f"key {number}"

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, checked; None if the client left."""
        headers = Headers(scope=scope)
        most = self.safety.max_body_bytes
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise Refusal.too_large(most)
        try:
            body = await asyncio.wait_for(_body(receive, most), self.safety.body_s)
        except asyncio.TimeoutError:
            message = f"the body did not come within {self.safety.body_s:g} s"
            raise Refusal(408, message, code="timeout", more=False) from None
        if body and headers.get("content-type", "").partition(";")[0].strip().lower() not in FORMS:
            check_json(body, self.safety.max_depth, self.safety.max_text_chars)
        if body and self.safety.log_prompts:
            lines = body.decode(errors="backslashreplace").splitlines()
            logger.info("body: %s", " ".join(lines))
        return body


class _Answer:
    """Sends an answer with the headers of safety, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self.status: int | None = None
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


async def _body(receive: Receive, most: int) -> bytes | None:
    """What a client sends, as long as it is not too much; None if it leaves."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise Refusal.too_large(most, more=more)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; and then whether the client left."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _refuse(refusal: Refusal, receive: Receive, send: Send) -> None:
    content = json.dumps(refusal.content).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        "connection": "close",
        **refusal.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    if refusal.more:
        # Closed with something unread, the connection is reset, and the answer may be lost.
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_throw_away(receive), LINGER_S)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _throw_away(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


def _host(header: str) -> str:
    """The name in a header Host, without the port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _key(header: str) -> str:
    """The key in a header Authorization; "" if there is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return pair.partition(":")[2]
    return ""


def guarded(app: FastAPI, safety: SafetyConfig, keys: Keys, host: str) -> Guard:
    """Put a guard in front of an application.

    Args:
        app: Its ``state.draining`` says whether it is about to stop.
        safety: The limits.
        keys: Those that clients must have; none lets in anybody.
        host: Where it listens. Where only this machine can reach it and there are no keys, requests
            must name this machine: else any page in a browser on it could ask.

    Raises:
        ConfigError: If there is no such host.
    """
    names = None
    if not keys and is_loopback(host):
        own = ("localhost", "127.0.0.1", "::1", host, *safety.allowed_host)
        names = frozenset(name.lower() for name in own)
    return Guard(app, app.state, safety, keys, names)
