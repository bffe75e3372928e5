"""The clients that put load on servers: what they send, and what they count."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from benchmarks.http_load import Answer, Plan, run, summary


def serve(pieces: int, status: str = "200 OK") -> tuple[Any, list[Any]]:
    """A handler of connections that streams so many tokens, and what it is sent."""
    bodies: list[Any] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            bodies.append(json.loads(await reader.readexactly(length)))
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
            for _ in range(pieces):
                writer.write(b'data: {"choices": []}\n\n')
                await asyncio.sleep(0)
            writer.write(b"data: [DONE]\n\n" if pieces else b'{"ids": []}')
        except asyncio.IncompleteReadError:
            pass  # a client that had no time left
        finally:
            writer.close()

    return handle, bodies


async def loaded(handle: Any, **plan: Any) -> Any:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await run(Plan(port=port, prompts=[[1, 2], [3]], lengths=[5, 7], **plan))


def test_one_request_a_client() -> None:
    handle, bodies = serve(5)
    load = asyncio.run(loaded(handle, clients=3, extra={"stream": True}))
    prompts = sorted((body["prompt"], body["max_tokens"]) for body in bodies)
    assert prompts == [([1, 2], 5), ([1, 2], 5), ([3], 7)]
    assert all(body["stream"] and body["temperature"] == 0 for body in bodies)
    assert len(load.first) == len(load.whole) == 3
    assert all(first <= whole for first, whole in zip(load.first, load.whole, strict=True))
    assert load.tokens_per_s > 0


def test_answers_that_are_not_streamed_count_when_they_are_whole() -> None:
    handle, _ = serve(0)
    load = asyncio.run(loaded(handle, clients=2))
    assert load.first == load.whole
    assert len(load.whole) == 2


def test_clients_go_on_until_the_window_ends_with_a_whole_answer() -> None:
    handle, bodies = serve(3)
    load = asyncio.run(loaded(handle, clients=2, warm_s=0.01, window_s=0.01))
    assert len(bodies) > 2
    assert load.tokens_per_s > 0
    assert load.whole


def test_what_a_server_refuses_is_an_error() -> None:
    handle, _ = serve(0, "500 Internal Server Error")
    with pytest.raises(RuntimeError, match="500 Internal"):
        asyncio.run(loaded(handle, clients=1))


def test_only_what_lies_in_the_window_counts() -> None:
    answers = [
        Answer(0.5, [0.9, 1.0, 2.5], True),  # sent before
        Answer(1.5, [2.0, 2.5], True),
        Answer(2.0, [2.9, 3.1], False),  # not at its end
        Answer(2.9, [], False),
    ]
    load = summary(answers, 1.0, 3.0)
    assert load.tokens_per_s == pytest.approx((2 + 2 + 1) / 2)
    assert load.first == pytest.approx([0.5, 0.9])
    assert load.whole == pytest.approx([1.0])
