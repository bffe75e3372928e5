"""A replica answers as the application it holds would over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gpt1.serving.app import create_app
from gpt1.serving.replica import Call, Part, Replica, answer
from live_server import lively_models


def call(path: str, body: bytes = b"") -> Call:
    headers = [(b"host", b"here"), (b"transfer-encoding", b"chunked"), (b"x-a", b"1")]
    scope = {"method": "POST", "path": path, "query_string": b"q=2", "headers": headers}
    return Call({"scheme": "http", "client": ("192.0.2.1", 5), **scope}, b"").with_body(body)


async def collect(app: FastAPI, call: Call) -> list[Part]:
    return [part async for part in answer(app, call)]


def test_the_application_sees_the_request_and_its_answer_is_one_part() -> None:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()

        async def pieces() -> AsyncIterator[bytes]:
            yield f"{request.query_params['q']} {request.client} ".encode()
            yield b"%d " % int(request.headers["content-length"]) + body

        assert "transfer-encoding" not in request.headers
        return StreamingResponse(pieces(), 201, {"x-b": "2"})

    [part] = asyncio.run(collect(app, call("/echo", b"text")))
    assert part.head is not None
    assert part.head.status == 201
    assert (b"x-b", b"2") in part.head.headers
    assert part.body == b"2 Address(host='192.0.2.1', port=5) 4 text"


def test_a_stream_comes_as_it_is_made_and_ends_when_its_client_leaves() -> None:
    app, seen = FastAPI(), list[str]()

    @app.post("/events")
    async def events() -> Response:
        async def endless() -> AsyncIterator[bytes]:
            try:
                yield b"data: 1\n\n"
                await asyncio.Event().wait()
            finally:
                seen.append("left")

        return StreamingResponse(endless(), media_type="text/event-stream")

    async def client() -> None:
        parts: Any = answer(app, call("/events"))
        head, body = await anext(parts)
        assert head.is_stream
        assert body == b"data: 1\n\n"
        await parts.aclose()
        while not seen:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(client(), 60))
    assert seen == ["left"]


def test_a_client_that_leaves_before_an_answer_is_told_to_the_application() -> None:
    app, seen = FastAPI(), asyncio.Queue[str]()

    @app.post("/wait")
    async def wait(request: Request) -> Response:
        try:
            seen.put_nowait("asked")
            await asyncio.Event().wait()
        finally:
            seen.put_nowait("left")
        return PlainTextResponse("never")

    async def client() -> None:
        reading = asyncio.create_task(collect(app, call("/wait")))
        assert await seen.get() == "asked"
        reading.cancel()
        assert await seen.get() == "left"

    asyncio.run(asyncio.wait_for(client(), 60))


def test_a_bug_of_the_application_is_told() -> None:
    app = FastAPI()

    @app.post("/bug")
    async def bug() -> None:
        raise ZeroDivisionError

    async def client() -> Part:
        parts = answer(app, call("/bug"))
        part = await anext(parts)
        with pytest.raises(ZeroDivisionError):
            await anext(parts)
        return part

    assert asyncio.run(client()).body == b"Internal Server Error"


def test_a_replica_is_healthy_as_long_as_its_engines_are_and_drains_them() -> None:
    models = lively_models()

    async def live() -> None:
        replica = Replica.__new__(Replica)
        await Replica.__init__(replica, lambda: create_app(models))  # type: ignore[misc]
        parts = [part async for part in replica.answer(call("/nowhere"))]
        assert parts[0].head is not None
        assert parts[0].head.status == 404
        replica.check_health()
        models.engine("lively").failure = RuntimeError("a bug")
        with pytest.raises(RuntimeError, match=r"the engine of 'lively' failed: .*a bug"):
            replica.check_health()
        models.engine("lively").failure = None
        await replica.__del__()
        del Replica.__del__  # Ray Serve calls it once, and so does this test

    destructor = Replica.__del__
    asyncio.run(live())
    Replica.__del__ = destructor  # type: ignore[method-assign]
    assert not models.engine("lively")._thread.is_alive()
