"""A replica of the application: answers requests that another process took from a client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class Call(NamedTuple):
    """A request, all of it.

    Attributes:
        scope: What ASGI says of it, as far as it is data.
        body: Its body.
    """

    scope: dict[str, Any]
    body: bytes

    @classmethod
    def of(cls, request: Request, body: bytes) -> Call:
        """A request that has been read."""
        names = ("method", "scheme", "path", "raw_path", "query_string", "client", "server")
        scope = {name: request.scope.get(name) for name in names}
        return cls({**scope, "headers": request.headers.raw}, b"").with_body(body)

    def with_body(self, body: bytes) -> Call:
        """The same with another body."""
        headers = [pair for pair in self.scope["headers"] if pair[0] not in HOP]
        headers.append((b"content-length", str(len(body)).encode()))
        return Call({**self.scope, "headers": headers}, body)

    def asgi_scope(self) -> dict[str, Any]:
        """As an application takes it."""
        asgi = {"version": "3.0", "spec_version": "2.3"}
        return {"type": "http", "asgi": asgi, "http_version": "1.1", "root_path": "", **self.scope}


HOP = (b"content-length", b"transfer-encoding", b"connection")
"""Headers about how a body was sent, which is done."""


class Head(NamedTuple):
    """The beginning of an answer: its status and headers."""

    status: int
    headers: list[tuple[bytes, bytes]]

    @property
    def is_stream(self) -> bool:
        """Whether a stream of events follows."""
        kind = dict(self.headers).get(b"content-type", b"")
        return bool(kind.startswith(b"text/event-stream"))


class Part(NamedTuple):
    """A piece of an answer.

    Attributes:
        head: With the first piece.
        body: What follows it. A stream comes in many pieces, any other answer in one.
    """

    head: Head | None
    body: bytes


async def answer(app: Callable[..., Any], call: Call) -> AsyncIterator[Part]:
    """What an ASGI application says to a request; who stops reading is a client that left."""
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": call.body, "more_body": False})

    async def run() -> None:
        try:
            await app(call.asgi_scope(), inbox.get, messages.put)
        finally:
            messages.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        async for part in _parts(messages):
            yield part
        await task
    finally:
        inbox.put_nowait({"type": "http.disconnect"})
        task.cancel()


async def _parts(messages: asyncio.Queue[Message | None]) -> AsyncIterator[Part]:
    """Messages joined: to one part, or of a stream as many as there are at a time."""
    head: Head | None = None
    body, is_stream = b"", False
    while (message := await messages.get()) is not None:
        if message["type"] == "http.response.start":
            head = Head(message["status"], [(bytes(k), bytes(v)) for k, v in message["headers"]])
            is_stream = head.is_stream
            continue
        body += message.get("body", b"")
        is_last = not message.get("more_body", False)
        if is_last or (is_stream and messages.empty()):
            yield Part(head, body)
            head, body = None, b""
        if is_last:
            return


class Replica:
    """An application in a process of Ray Serve.

    Args:
        build: Makes the application, with its models as ``app.state.models``.
    """

    async def __init__(self, build: Callable[[], FastAPI]) -> None:  # type: ignore[misc]
        # Ray Serve awaits a constructor and a destructor that are coroutines.
        self._app = await asyncio.to_thread(build)
        self._life = AsyncExitStack()
        await self._life.enter_async_context(self._app.router.lifespan_context(self._app))

    async def answer(self, call: Call) -> AsyncIterator[Part]:
        """Answer a request, piece by piece."""
        async for part in answer(self._app, call):
            yield part

    def check_health(self) -> None:
        """Ray Serve asks this time and again, and replaces a replica that fails.

        Raises:
            RuntimeError: If an engine has failed.
        """
        for name, engine in self._app.state.models.engines.items():
            if engine.failure is not None:
                raise RuntimeError(f"the engine of {name!r} failed: {engine.failure!r}")

    async def __del__(self) -> None:
        """Drain the engines; Ray Serve has waited for the requests that ran."""
        await self._life.aclose()
