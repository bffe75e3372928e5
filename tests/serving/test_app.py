"""The application answers, in OpenAI's shape, and stops its engines when it ends."""

from __future__ import annotations

import httpx

from gpt1.serving.app import create_app
from live_server import live, lively_models


def test_unknown_paths_are_an_error_in_openais_shape() -> None:
    models = lively_models()
    with live(create_app(models)) as address:
        answer = httpx.get(f"{address}/nowhere")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert not models.engine("lively")._thread.is_alive()
