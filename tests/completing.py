"""Completions by plain HTTP, for tests."""

from __future__ import annotations

import json
from typing import Any

import httpx


def connect(address: str) -> httpx.Client:
    """A client that keeps no connection: the server may close an idle one at any moment."""
    return httpx.Client(base_url=address, limits=httpx.Limits(max_keepalive_connections=0))


def complete(client: httpx.Client, **body: Any) -> Any:
    answer = client.post("/v1/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(client: httpx.Client, **body: Any) -> list[str]:
    return [choice["text"] for choice in complete(client, **body)["choices"]]


def events(client: httpx.Client, **body: Any) -> list[Any]:
    """What a stream tells but for its end, which is seen."""
    answer = client.post("/v1/completions", json={"stream": True, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def joined(chunks: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["text"] for choice in choices if choice["index"] == index)
