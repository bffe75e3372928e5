"""A server says whether it is alive and whether it takes requests."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gpt1.serving.app import create_app
from live_server import live, lively_models
from served_tasks import error_of


def test_a_server_that_works_says_so() -> None:
    with live(create_app(lively_models())) as address:
        for path in ("health", "ready"):
            answer = httpx.get(f"{address}/{path}")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        page = httpx.get(f"{address}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/embeddings" in page.text


def test_a_failed_engine_is_told(caplog: pytest.LogCaptureFixture) -> None:
    models = lively_models()
    models.engine("lively").failure = RuntimeError("a bug")
    with live(create_app(models)) as address:
        for path in ("health", "ready"):
            answer = httpx.get(f"{address}/{path}")
            assert "the engine of 'lively' has failed" in error_of(answer, 503)
            assert answer.json()["error"]["type"] == "server_error"


def test_a_server_about_to_stop_is_alive_but_takes_nothing() -> None:
    models = lively_models()
    with live(create_app(models)) as address:
        asyncio.run(models.drain(60))
        assert httpx.get(f"{address}/health").status_code == 200
        assert "about to stop" in error_of(httpx.get(f"{address}/ready"), 503)
        answer = httpx.post(f"{address}/v1/score", json={"input": "a"})
        assert "about to stop" in error_of(answer, 429)
        assert answer.headers["retry-after"] == "1"
