"""Figures for Prometheus: how long requests take, and what the engines do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt1.serving.engine import Engine, Listener, Update
from gpt1.serving.models import Models

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Seconds at which latencies are told apart."""

TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""The same, between two tokens."""

OTHER = "other"
"""Label of requests that no route is for."""

GAUGES: dict[str, tuple[str, Callable[[Engine], float]]] = {
    "gpt1_queue_length": ("Continuations that wait for a slot", lambda e: e.waiting),
    "gpt1_slots_busy": ("Continuations that have a slot", lambda e: e.running),
    "gpt1_slots": ("Slots there are", lambda e: e.slots),
    "gpt1_engine_up": ("0 after the engine has failed", lambda e: e.failure is None),
}
"""What is read of an engine, by name."""

COUNTERS: dict[str, tuple[str, Callable[[Engine], float]]] = {
    "gpt1_steps": ("Passes through the model", lambda e: e.stats.steps),
    "gpt1_step_seconds": ("Time they took", lambda e: e.stats.busy_s),
    "gpt1_generated_tokens": ("Tokens handed out", lambda e: e.stats.generated_tokens),
    "gpt1_prompt_tokens": ("Tokens of prompts that were answered", lambda e: e.stats.prompt_tokens),
    "gpt1_cached_tokens": ("Of these, not read again", lambda e: e.stats.cached_tokens),
}
"""What an engine counts, by name."""

ENDS = ("finished", "cancelled", "expired", "failed")
"""How continuations end: see `gpt1.serving.engine.Stats`."""


class _Engines(Collector):
    """Reads the engines when it is asked."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        engines = self._models.engines.items()
        for name, (text, read) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["model"])
            for model, engine in engines:
                gauge.add_metric([model], float(read(engine)))
            yield gauge
        for name, (text, read) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["model"])
            for model, engine in engines:
                counter.add_metric([model], float(read(engine)))
            yield counter
        ends = CounterMetricFamily("gpt1_continuations", "By their end", labels=["model", "end"])
        for model, engine in engines:
            for end in ENDS:
                ends.add_metric([model, end], getattr(engine.stats, end))
        yield ends
        jobs = GaugeMetricFamily("gpt1_jobs", "Requests of other kinds that wait or are computed")
        jobs.add_metric([], self._models.working)
        yield jobs


class Metrics:
    """The figures of one application.

    Args:
        models: What it serves; their engines' requests are measured from now on.
    """

    def __init__(self, models: Models) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(models))
        self._requests = self._histogram(
            "gpt1_request_seconds", "Until the end of an answer", ["route", "status"]
        )
        self._first_token = self._histogram(
            "gpt1_time_to_first_token_seconds", "From the request to its first token", ["model"]
        )
        self._between_tokens = self._histogram(
            "gpt1_time_between_tokens_seconds",
            "Between two tokens of a text",
            ["model"],
            TOKEN_BUCKETS,
        )
        for name, engine in models.engines.items():
            engine.watch = partial(self.timed, name)

    def _histogram(
        self, name: str, text: str, labels: list[str], buckets: tuple[float, ...] = REQUEST_BUCKETS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def request(self, route: str, status: int, elapsed_s: float) -> None:
        """Count a request.

        Args:
            route: The path as the application knows it, or `OTHER`.
            status: Of the answer.
            elapsed_s: Time to its end.
        """
        self._requests.labels(route, str(status)).observe(elapsed_s)

    def timed(self, model: str, listener: Listener) -> Listener:
        """A listener of an engine that measures tokens and passes every update on.

        Args:
            model: Name of the model.
            listener: Gets the updates.

        Returns:
            The listener; the time to the first token begins now.
        """
        start = time.monotonic()
        latest: dict[int, float] = {}
        first, between = self._first_token.labels(model), self._between_tokens.labels(model)

        def listen(update: Update) -> None:
            if update.tokens:
                now = time.monotonic()
                if update.number in latest:
                    between.observe(now - latest[update.number])
                elif not latest:
                    first.observe(now - start)
                latest[update.number] = now
            listener(update)

        return listen


class RequestTimes:
    """Middleware that measures requests to the end of their answers, streams included.

    Args:
        app: What answers.
        metrics: Where to.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            # The route, not the path: clients choose paths, and each would be kept for ever.
            route = getattr(scope.get("route"), "path", OTHER)
            self._metrics.request(route, status, time.monotonic() - start)
