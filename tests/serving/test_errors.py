"""Errors say where a request is wrong, whatever was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gpt1.serving.app import create_app
from live_server import live
from served_tasks import models_of_all_kinds


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with live(create_app(models_of_all_kinds())) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "content", "param"),
    [
        ("embeddings", b"{", None),
        ("embeddings", b"", None),
        ("embeddings", b"[]", None),
        ("embeddings", b"\xff\xfe", None),
        ("embeddings", b'{"input": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", None),
        ("embeddings", b'{"input": "\\ud800"}', "input"),
        ("embeddings", b'{"input": "a", "\\ud800": 1}', "\ufffd\ufffd\ufffd"),
        ("embeddings", b'{"input": [1, NaN]}', "input.1"),
        ("embeddings", b'{"input": [1, 1e400]}', "input.1"),
        ("embeddings", b'{"input": ["a", 3]}', "input.1"),
        ("embeddings", b'{"input": [[1, 2], ["a"]]}', "input.1.0"),
        ("explain", b'{"input": "a", "top": NaN}', "top"),
        ("explain", b'{"input": "a", "attention": {"layer": 0}}', "attention.layer"),
        ("explain", b'{"input": "a", "attention": {}}', "attention.layer"),
        ("classify", b'{"input": [{"first": "a"}]}', "input.0.second"),
        ("classify", b'{"input": [{"first": "a", "second": 3}]}', "input.0.second"),
    ],
)
def test_the_parameter_that_is_wrong_is_named(
    address: str, path: str, content: bytes, param: Any
) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{address}/v1/{path}", content=content, headers=headers, timeout=60)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_a_body_that_is_not_marked_as_json_is_told_how(address: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}  # what curl sends by itself
    answer = httpx.post(f"{address}/v1/embeddings", content=b'{"input": "a"}', headers=form)
    assert answer.status_code == 400
    assert "send Content-Type: application/json" in answer.json()["error"]["message"]
