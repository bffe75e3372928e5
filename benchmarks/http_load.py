"""Clients of a completions server, in a process of their own: as many requests at a time as asked.

Also the program of that process: ``python -m benchmarks.http_load PLAN``, which prints the result.
Each client sends a request, reads the answer to its end and sends the next. Clients read sockets
themselves, to leave the processor to the server.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Any, NamedTuple

from benchmarks.child import environment

LOOK_S = 0.1
"""Seconds between two looks at what there is, at the end."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What clients do.

    Attributes:
        port: Of the server, on this machine.
        path: Of its completions.
        clients: Requests at a time.
        prompts: Token ids; clients take them in turn, over and over.
        lengths: New tokens a request, likewise.
        extra: Further fields of every request.
        warm_s: Seconds before anything is counted.
        window_s: Seconds that are counted; more if no answer is whole by then. None: every client
            makes one request, and all counts.
    """

    port: int
    path: str = "/v1/completions"
    clients: int
    prompts: list[list[int]]
    lengths: list[int]
    extra: dict[str, Any] = field(default_factory=dict)
    warm_s: float = 0.0
    window_s: float | None = None


class Answer(NamedTuple):
    """When a request was sent, when each token of its answer came, and whether that is all."""

    sent: float
    tokens: list[float]
    is_whole: bool


class Load(NamedTuple):
    """What clients saw.

    Attributes:
        tokens_per_s: Received, by all clients.
        first: Seconds from each request to its first token.
        whole: Seconds from each request to the end of its answer.
    """

    tokens_per_s: float
    first: list[float]
    whole: list[float]


def put_load(plan: Plan) -> Load:
    """Run clients in a fresh process.

    Raises:
        CalledProcessError: If a request fails; what the server said is shown.
    """
    words = [sys.executable, "-m", "benchmarks.http_load", json.dumps(asdict(plan))]
    result = subprocess.run(words, env=environment(1), stdout=subprocess.PIPE, check=True)
    return Load(*json.loads(result.stdout))


async def run(plan: Plan) -> Load:
    """Run clients in this process."""
    began = time.perf_counter()
    answers: list[Answer] = []
    jobs = zip(cycle(plan.prompts), cycle(plan.lengths), strict=False)
    if plan.window_s is None:
        await asyncio.gather(*(_ask(plan, *job, answers) for job in islice(jobs, plan.clients)))
        return summary(answers, began, time.perf_counter())

    async def client() -> None:
        for prompt, length in jobs:
            await _ask(plan, prompt, length, answers)

    clients = [asyncio.create_task(client()) for _ in range(plan.clients)]
    counted, failed = began + plan.warm_s, set[asyncio.Task[None]]()
    end = counted + plan.window_s
    while not failed and (time.perf_counter() < end or not summary(answers, counted, end).whole):
        end = max(end, time.perf_counter() + LOOK_S)
        failed, _ = await asyncio.wait(clients, timeout=end - time.perf_counter())
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    for task in failed:
        task.result()  # clients never end by themselves
    return summary(answers, counted, end)


async def _ask(plan: Plan, prompt: list[int], length: int, answers: list[Answer]) -> None:
    """Send a request and read its answer; what has come of it counts even if it is cancelled."""
    body = json.dumps({"prompt": prompt, "max_tokens": length, "temperature": 0, **plan.extra})
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sent, tokens, is_whole = time.perf_counter(), list[float](), False
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    try:
        writer.write((head + body).encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError((status + await reader.read()).decode(errors="replace"))
        async for line in reader:
            if line.startswith(b"data: {"):
                tokens.append(time.perf_counter())
        is_whole = True
    finally:
        if is_whole and not tokens:  # an answer that is not streamed
            tokens = [time.perf_counter()] * length
        answers.append(Answer(sent, tokens, is_whole))
        writer.close()


def summary(answers: list[Answer], began: float, end: float) -> Load:
    """What of the answers lies in a window of time."""
    tokens = sum(began <= token <= end for answer in answers for token in answer.tokens)
    inside = [answer for answer in answers if answer.sent >= began and answer.tokens]
    first = [answer.tokens[0] - answer.sent for answer in inside]
    whole = [answer.tokens[-1] - answer.sent for answer in inside if answer.is_whole]
    return Load(tokens / (end - began), first, whole)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Plan(**json.loads(sys.argv[1]))))))
