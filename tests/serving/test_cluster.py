"""Replicas on Ray Serve: what clients get while one is killed, and what is set up."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import psutil
import pytest

import gpt1
from gpt1.data.ray_connection import own_sigterm
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.serving.cluster import (
    NAME,
    Scale,
    application,
    ask,
    behind_front,
    build,
    connected,
    deployment,
)
from gpt1.serving.config import ServingConfig
from gpt1.serving.front import front_app
from live_server import live

# Of how Ray describes its messages to pydantic.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field`:DeprecationWarning"
)

CONFIG = ServingConfig(slots=4, drain_s=20)
SCALE = Scale(replicas=2, num_cpus=0, health_s=1)
PROMPTS = ["the old man", "she said that", "in the morning", "a ship", "it was", "they had"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def addresses() -> Iterator[list[str]]:
    """Two replicas behind the proxy of Ray Serve, and behind a front in this process."""
    ray = pytest.importorskip("ray", reason="needs ray: pip install gpt1[cluster]")
    from ray import serve

    made = partial(build, {"mini": "mini"}, CONFIG, {"device": "cpu"})
    with own_sigterm():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            port = free_port()
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve.run(behind_front(made, CONFIG, SCALE), name="test")
            handle = serve.get_deployment_handle("Replica", "test")
            with live(front_app(partial(ask, handle))) as address:
                yield [f"http://127.0.0.1:{port}", address]
        finally:
            serve.shutdown()
            ray.shutdown()


def replicas() -> list[psutil.Process]:
    """The processes of the replicas."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith("ray::ServeReplica:test:Replica") for word in words):
            found.append(process)
    return found


def generate(address: str, number: int) -> str:
    """The text of a request, every other one of which is a stream."""
    body = {"prompt": PROMPTS[number % 6], "seed": number, "max_tokens": 40}
    body["stream"] = number % 2 == 0
    url = f"{address}/v1/completions"
    if not body["stream"]:
        found = httpx.post(url, json=body, timeout=120).raise_for_status().json()
        text: str = found["choices"][0]["text"]
        return text
    with httpx.stream("POST", url, json=body, timeout=120) as answer:
        lines = [line for line in answer.raise_for_status().iter_lines() if line]
    assert lines.pop() == "data: [DONE]"
    pieces = [json.loads(line[6:]) for line in lines]
    assert len({piece["id"] for piece in pieces}) == 1  # also when another replica went on
    return "".join(piece["choices"][0]["text"] for piece in pieces)


def test_all_answers_are_right_while_a_replica_is_killed(
    addresses: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = replicas()
    killed = threading.Event()

    def client(number: int) -> str:
        text = generate(addresses[number % 4 // 2], number)
        if number >= 16 and not killed.is_set():
            killed.set()
            first.kill()  # with about half of all requests in its hands
        return PROMPTS[number % 6] + text

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(client, range(80)))
    lm = gpt1.load("mini", device="cpu")
    settings: dict[str, Any] = {"max_new_tokens": 40, "temperature": 1.0}
    assert found == [
        lm.generate(PROMPTS[number % 6], seed=number, **settings) for number in range(80)
    ]
    assert second.is_running()
    assert "lost a replica with a request, try 1" in caplog.text
    assert "try 2" not in caplog.text


def test_replicas_for_a_server_of_this_process(addresses: list[str]) -> None:
    from ray import serve

    scale = Scale(replicas=1, most_replicas=2, num_cpus=0)
    with connected({"other": "mini"}, CONFIG, scale, device="cpu") as app:
        assert NAME in serve.status().applications
        with live(app) as address:
            found = httpx.get(f"{address}/nowhere")
    assert found.status_code == 404
    assert found.json()["error"]["type"] == "invalid_request_error"
    assert NAME not in serve.status().applications


def test_arguments_of_serve_run_are_checked(addresses: list[str]) -> None:
    from ray import serve

    given = {"models": "a=mini,b=mini", "replicas": "2", "slots": "3", "dtype": "bfloat16"}
    assert isinstance(application(given), serve.Application)
    with pytest.raises(ConfigError, match=r"there is no 'replica'; there are: .*replicas, retries"):
        application({"replica": 2})
    with pytest.raises(ConfigError, match="slots is 0 but must be at least 1"):
        application({"slots": "0"})


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'replicas need ray.*"gpt1\[cluster\]"'):
        deployment({"mini": "mini"})


def test_a_scale_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="replicas is 0 but must be at least 1; retries is -1"):
        Scale(replicas=0, retries=-1)
    with pytest.raises(ConfigError, match="most_replicas is 1 but must be at least replicas"):
        Scale(replicas=2, most_replicas=1)
