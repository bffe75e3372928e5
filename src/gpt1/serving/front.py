"""The front of several replicas: takes requests, passes them on, and asks again when one is lost.

An answer is passed on when it is complete, a stream event by event. So a request whose replica
dies is done by another, and the client notices nothing but the delay.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from gpt1 import __version__
from gpt1.errors import Gpt1Error
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Overloaded
from gpt1.serving.errors import ApiError, add_error_handlers, describe
from gpt1.serving.models import Models
from gpt1.serving.replica import Call, Part
from gpt1.serving.resuming import LOST, Answer, with_seed

logger = logging.getLogger(__name__)

RETRIES = 2
"""How often a request is given to another replica: one that kills its replica kills few."""

MAX_BODY_BYTES = 1_000_000
"""Of the body of a request."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class ReplicaLost(Exception):
    """A replica is gone, and with it what it was doing."""


Ask = Callable[[Call], AsyncGenerator[Part, None]]
"""Has a request answered by a replica, or raises `ReplicaLost`."""


def front_app(
    ask: Ask,
    config: ServingConfig | None = None,
    *,
    retries: int = RETRIES,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> FastAPI:
    """An application whose requests are all answered by replicas.

    Args:
        ask: Has a request answered.
        config: Of the replicas, for a server of this process; default: that of `ServingConfig`.
        retries: How often one is asked for again, when its replica is lost.
        max_body_bytes: A larger body is refused with status 413.
    """
    app = FastAPI(title="gpt1", version=__version__, docs_url=None, openapi_url=None)
    app.state.config, app.state.draining = config or ServingConfig(), False
    app.state.models = Models(engines={}, tasks={})  # a server drains what its process has

    async def forward(request: Request) -> Response:
        if app.state.draining:
            raise Overloaded("the server is about to stop and takes no more requests")
        try:
            body = await _read(request, max_body_bytes)
        except ClientDisconnect:
            return Response(status_code=400)
        return await _respond(_parts(ask, with_seed(Call.of(request, body)), retries))

    app.add_route("/{path:path}", forward, METHODS)
    add_error_handlers(app)
    return app


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise ApiError(413, f"the body has more than {most} bytes, which are allowed")
    return bytes(body)


async def _respond(parts: AsyncGenerator[Part, None]) -> Response:
    first = await anext(parts)
    assert first.head is not None
    if first.head.is_stream:
        response: Response = StreamingResponse(_events(first, parts), first.head.status)
    else:
        await parts.aclose()
        response = Response(first.body, first.head.status)
    response.raw_headers = first.head.headers
    return response


async def _events(first: Part, parts: AsyncGenerator[Part, None]) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        try:
            yield first.body
            async for part in parts:
                yield part.body
        except Gpt1Error as error:
            yield b"data: " + json.dumps(describe(error)[1]).encode() + b"\n\n"


async def _parts(ask: Ask, call: Call, retries: int) -> AsyncGenerator[Part, None]:
    """The parts of an answer, by as many replicas as it takes."""
    answer = Answer()
    for number in range(1 + retries):
        try:
            async for part in _new_parts(ask, call, answer):
                yield part
            return
        except ReplicaLost as error:
            if answer.is_over:
                return
            logger.warning("lost a replica with a request, try %d: %s", number + 1, error)
            answer.again()
    raise ApiError(503, "the replicas that were asked were lost; try again", code=LOST)


async def _new_parts(ask: Ask, call: Call, answer: Answer) -> AsyncIterator[Part]:
    async with aclosing(ask(call)) as parts:
        async for part in parts:
            if (new := answer.new(part)) is not None:
                yield new
