"""Figures for Prometheus: read by its own parser, they are what was done."""

from __future__ import annotations

import threading

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gpt1.serving.app import create_app
from gpt1.serving.engine import Update
from gpt1.serving.metrics import Metrics
from live_server import live, lively_models


def figures(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and values of their labels, in the order of the names of these."""
    return {
        (sample.name, tuple(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = httpx.get(f"{address}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return figures(answer.text)


def test_the_figures_are_those_of_the_engine() -> None:
    models = lively_models()
    engine = models.engine("lively")
    with live(create_app(models)) as address:
        for _ in range(2):
            engine.complete("the quick brown fox", n=2, max_new_tokens=5, min_new_tokens=5)
        found = scraped(address)
    stats, model = engine.stats, ("lively",)
    assert found["gpt1_generated_tokens_total", model] == stats.generated_tokens > 0
    assert found["gpt1_prompt_tokens_total", model] == stats.prompt_tokens == 16
    assert found["gpt1_cached_tokens_total", model] == stats.cached_tokens > 0
    assert found["gpt1_steps_total", model] == stats.steps > 0
    assert found["gpt1_step_seconds_total", model] == stats.busy_s > 0
    assert found["gpt1_continuations_total", ("finished", "lively")] == 4
    assert found["gpt1_continuations_total", ("cancelled", "lively")] == 0
    assert found["gpt1_slots", model] == 4
    assert found["gpt1_slots_busy", model] == 0
    assert found["gpt1_queue_length", model] == 0
    assert found["gpt1_engine_up", model] == 1
    assert found["gpt1_jobs", ()] == 0
    assert found["gpt1_time_to_first_token_seconds_count", model] == 2
    assert found["gpt1_time_between_tokens_seconds_count", model] == 4 * (5 - 1)


def test_what_runs_and_what_waits_is_counted() -> None:
    models = lively_models()
    engine = models.engine("lively")
    begun = threading.Semaphore(0)
    with live(create_app(models)) as address:
        request = engine.submit(
            "the fox", lambda _: begun.release(), n=6, max_new_tokens=10**6, min_new_tokens=10**6
        )
        for _ in range(4):
            assert begun.acquire(timeout=60)
        found = scraped(address)
        request.cancel()
    assert found["gpt1_slots_busy", ("lively",)] == 4
    assert found["gpt1_queue_length", ("lively",)] == 2


def test_requests_are_counted_by_route_and_status_never_by_path() -> None:
    with live(create_app(lively_models())) as address, httpx.Client(base_url=address) as client:
        for number in range(20):
            client.get(f"/nowhere/{number}")
            client.put("/health")
        client.get("/health")
        client.post("/v1/score", json={"input": "a"})
        client.post("/v1/score", json={"inptu": "a"})
        found = scraped(address)
    counts = {
        key[1]: value for key, value in found.items() if key[0] == "gpt1_request_seconds_count"
    }
    assert counts == {
        ("other", "404"): 20,
        ("/health", "405"): 20,
        ("/health", "200"): 1,
        ("/v1/score", "200"): 1,
        ("/v1/score", "400"): 1,
    }


def test_times_of_tokens_are_measured_and_updates_passed_on() -> None:
    metrics = Metrics(lively_models())
    passed: list[Update] = []
    listen = metrics.timed("lively", passed.append)
    updates = [
        Update(0, "a", 1),
        Update(1, "b", 1),
        Update(0, "c", 1),
        Update(0, "d", 1),
        Update(0, finish_reason="stop"),
    ]
    for update in updates:
        listen(update)
    found = figures(metrics.text().decode())
    assert passed == updates
    assert found["gpt1_time_to_first_token_seconds_count", ("lively",)] == 1
    assert found["gpt1_time_between_tokens_seconds_count", ("lively",)] == 2
