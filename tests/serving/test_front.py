"""The front passes answers on, and has them done by another replica when one is lost."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gpt1.serving.engine import Overloaded
from gpt1.serving.front import ReplicaLost, front_app
from gpt1.serving.replica import Call, Head, Part, answer
from live_server import live

TEXT = [f"word{number} " for number in range(6)]
WHOLE = "".join(TEXT)


def application() -> FastAPI:
    app, numbers = FastAPI(), count()

    @app.post("/text")
    async def text(request: Request) -> Response:
        return Response(WHOLE.encode() + await request.body(), headers={"x-model": "m"})

    @app.post("/v1/completions")
    async def completions() -> Response:
        number = next(numbers)

        async def events() -> AsyncIterator[bytes]:
            for word in TEXT:
                choice = f'{{"index": 0, "text": "{word}"}}'
                yield f'data: {{"id": "{number}", "choices": [{choice}]}}\n\n'.encode()
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


class Dying:
    """Replicas that die with a request in their hands, each after that many parts."""

    def __init__(self, *after: int) -> None:
        self.app, self.left, self.calls = application(), list(after), 0

    async def __call__(self, call: Call) -> AsyncGenerator[Part, None]:
        self.calls += 1
        left = self.left.pop(0) if self.left else 10**6
        async for part in one_by_one([part async for part in answer(self.app, call)]):
            if left == 0:
                raise ReplicaLost("killed")
            left -= 1
            yield part
        if left == 0:
            raise ReplicaLost("killed")


async def one_by_one(parts: list[Part]) -> AsyncIterator[Part]:
    """The parts of an answer, each with no more than an event."""
    for head, body in parts:
        pieces = re.findall(rb".+?\n\n", body) or [body]
        yield Part(head, pieces[0])
        for piece in pieces[1:]:
            yield Part(None, piece)


@pytest.mark.parametrize("deaths", [(), (0,), (0, 0)])
def test_an_answer_comes_from_the_replica_that_lives(deaths: tuple[int, ...]) -> None:
    ask = Dying(*deaths)
    with live(front_app(ask)) as address:
        found = httpx.post(f"{address}/text", content=b"!")
    assert (found.status_code, found.text) == (200, WHOLE + "!")
    assert found.headers["x-model"] == "m"
    assert ask.calls == len(deaths) + 1


@pytest.mark.parametrize("deaths", [(), (0,), (1,), (3, 5), (7, 0), (2, 1)])
def test_a_stream_goes_on_where_it_was(deaths: tuple[int, ...]) -> None:
    with live(front_app(Dying(*deaths))) as address:
        found = httpx.post(f"{address}/v1/completions", content=b"{}")
    assert found.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = found.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    choices = [httpx.Response(200, content=event[6:]).json() for event in events]
    assert [choice["choices"][0]["text"] for choice in choices] == TEXT
    assert len({choice["id"] for choice in choices}) == 1


def test_a_request_that_kills_every_replica_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), live(front_app(Dying(0, 0, 0))) as address:
        found = httpx.post(f"{address}/text")
    assert found.status_code == 503
    assert found.json()["error"]["code"] == "replica_lost"
    assert "the replicas that were asked were lost" in found.json()["error"]["message"]
    assert caplog.text.count("lost a replica with a request") == 3


def test_a_stream_that_is_given_up_ends_in_an_error() -> None:
    with live(front_app(Dying(3, 2, 1), retries=2)) as address:
        found = httpx.post(f"{address}/v1/completions", content=b"{}")
    last = found.text.split("\n\n")[-2]
    assert '"code": "replica_lost"' in last
    assert "[DONE]" not in found.text


def test_what_is_refused_is_refused_in_openais_shape() -> None:
    async def busy(call: Call) -> AsyncGenerator[Part, None]:
        raise Overloaded("too many requests wait already")
        yield

    app = front_app(busy, max_body_bytes=10)
    with live(app) as address:
        post = partial(httpx.post, f"{address}/text")
        many, large = post(), post(content=b"x" * 11)
        app.state.draining = True
        stopping = post()
    assert (many.status_code, many.headers["retry-after"]) == (429, "1")
    assert large.status_code == 413
    assert "more than 10 bytes" in large.json()["error"]["message"]
    assert stopping.status_code == 429
    assert "about to stop" in stopping.json()["error"]["message"]


def test_a_client_that_leaves_ends_the_work() -> None:
    ended: list[Any] = []

    async def endless(call: Call) -> AsyncGenerator[Part, None]:
        try:
            yield Part(Head(200, [(b"content-type", b"text/event-stream")]), b"")
            while True:
                yield Part(None, b"data: more\n\n")
                await asyncio.sleep(0)  # as one that waits for a replica
        finally:
            ended.append(call.scope["path"])

    with live(front_app(endless)) as address:
        url = f"{address}/v1/completions"
        with httpx.stream("POST", url, content=b"{}") as found:
            assert next(found.iter_lines()) == "data: more"
    assert ended == ["/v1/completions"]
