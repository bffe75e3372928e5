"""Work beside the server: in the time a request has, and no more than can wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from live_server import live, lively_models
from served_tasks import error_of


@pytest.fixture
def busy() -> Iterator[Models]:
    """Models whose thread is taken until the test is over."""
    models, over = lively_models(), threading.Event()
    models._worker.submit(over.wait)
    yield models
    over.set()


def test_what_is_not_done_in_time_is_given_up(busy: Models) -> None:
    with live(create_app(busy, ServingConfig(timeout_s=0.05))) as address:
        answer = httpx.post(f"{address}/v1/score", json={"input": "a"}, timeout=60)
        assert "not done in the time it had" in error_of(answer, 504)
        assert answer.json()["error"]["code"] == "deadline_exceeded"
        assert httpx.get(f"{address}/health").status_code == 200
    assert busy.working == 0


def test_more_than_can_wait_is_refused(busy: Models) -> None:
    busy._most_waiting = 0
    with live(create_app(busy)) as address:
        answer = httpx.post(f"{address}/v1/explain", json={"input": "a"}, timeout=60)
    assert "0 requests wait already" in error_of(answer, 429)
    assert answer.headers["retry-after"] == "1"


def test_without_language_models_there_is_nothing_to_score() -> None:
    with live(create_app(Models(engines={}, tasks={}))) as address:
        answer = httpx.post(f"{address}/v1/score", json={"input": "a"})
    assert "no language model is served here" in error_of(answer, 404)
