"""A server at saturation for ten minutes, with clients that leave at random: is anything wrong?

More clients than there are slots send prompts again and again, greedy and sampled with a seed,
streamed and whole. Each whole answer is compared with what `LanguageModel.generate` says; one
request in four is left in the middle. Meanwhile the memory and the open files of the server are
watched, and afterwards its slots have to be free.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.serve import Server
from gpt1.language_model import load
from gpt1.locate import locate

TITLE = "a server at saturation, with clients that leave"
CLIENTS, SLOTS, JOBS = 64, 32, 64
LEAVING = 0.25
"""Share of the requests whose client leaves."""
SECONDS, QUICK_SECONDS = 600.0, 3.0
MOST_GROWTH_MB = 20.0


class Case(NamedTuple):
    """A request, and the text that has to come."""

    body: dict[str, Any]
    text: str


@dataclass
class Seen:
    """What clients and the watch of the process saw.

    Attributes:
        counts: Answers by kind: right, wrong, left, error.
        problems: The first few of those that are wrong.
        memory_mb: Of the server, every second.
        files: Open in the server, every second.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    seconds = QUICK_SECONDS if options.quick else options.seconds or SECONDS
    folder = locate(options.model)
    cases = expected(str(folder))
    words = [sys.executable, "-m", "gpt1", "serve", "--model", str(folder), "--slots", str(SLOTS)]
    with Server(lambda port: [*words, "--port", str(port)]) as server:
        seen = asyncio.run(soak(server, cases, seconds))
        busy = asyncio.run(busy_slots(server.port))
    for problem in seen.problems:
        print(problem, file=sys.stderr)
    calm = len(seen.memory_mb) // 5  # caches fill first
    growth = seen.memory_mb[-1] - max(seen.memory_mb[: calm + 1])
    zero = {"unit": "", "bar": 0}
    return Report(
        name="soak",
        title=TITLE,
        quick=options.quick,
        rows=[
            Row(measure="right answers", unit="", ours=[seen.counts["right"]]),
            Row(measure="clients that left", unit="", ours=[seen.counts["left"]]),
            Row(measure="wrong texts", ours=[seen.counts["wrong"]], **zero),
            Row(measure="errors", ours=[seen.counts["error"]], **zero),
            Row(measure="slots still taken afterwards", ours=[busy], **zero),
            Row(
                measure="memory gained after a fifth of the time",
                unit="MB",
                ours=[growth],
                bar=MOST_GROWTH_MB,
            ),
            Row(
                measure="open files gained",
                unit="",
                ours=[seen.files[-1] - max(seen.files[: calm + 1])],
                bar=CLIENTS,
            ),
        ],
        settings={
            "seconds": seconds,
            "clients": CLIENTS,
            "slots": SLOTS,
            "model": options.model,
            "memory_mb": round(seen.memory_mb[-1]),
        },
    )


def expected(folder: str) -> list[Case]:
    """Requests, with what the model says to each alone."""
    lm, drawn = load(folder), random.Random(1)
    words = [
        "the",
        "man",
        "said",
        "that",
        "he",
        "had",
        "never",
        "seen",
        "such",
        "a",
        "thing",
        "in",
        "his",
        "life",
        "before",
        "and",
    ]
    cases = []
    for number in range(JOBS):
        prompt = " ".join(drawn.choices(words, k=drawn.randint(1, 40)))
        tokens = drawn.randint(1, 60)
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        settings: dict[str, Any] = {}
        if number % 2:
            settings = {"temperature": 0.9, "top_p": 0.95, "seed": number}
            body |= settings
        if number % 3 == 0:
            body["stream"] = True
        text = lm.generate(prompt, max_new_tokens=tokens, include_prompt=False, **settings)
        cases.append(Case(body, text))
    return cases


async def soak(server: Server, cases: list[Case], seconds: float) -> Seen:
    """Run clients, and watch the process, for a while."""
    seen, end = Seen(), time.monotonic() + seconds

    async def client(number: int) -> None:
        drawn = random.Random(number)
        while time.monotonic() < end:
            await ask(server.port, drawn.choice(cases), drawn, seen)

    async def watch() -> None:
        while time.monotonic() < end:
            status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
            resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            seen.memory_mb.append(int(resident.split()[1]) * 1024 / 1e6)
            seen.files.append(len(list(Path(f"/proc/{server.pid}/fd").iterdir())))
            await asyncio.sleep(min(1.0, seconds / 10))

    await asyncio.gather(watch(), *map(client, range(CLIENTS)))
    return seen


async def ask(port: int, case: Case, drawn: random.Random, seen: Seen) -> None:
    """One request: read to its end and compared, or left."""
    leaves_at = drawn.random() * 0.5 if drawn.random() < LEAVING else None
    try:
        answer = await asyncio.wait_for(post(port, case.body), leaves_at)
    except asyncio.TimeoutError:
        seen.counts["left"] += 1
        return
    except OSError as error:
        _note(seen, "error", f"{case.body}: {error!r}")
        return
    status, text = answer
    if status != 200:
        _note(seen, "error", f"{case.body}: {status} {text}")
    elif text != case.text:
        _note(seen, "wrong", f"{case.body}: {text!r} is not {case.text!r}")
    else:
        seen.counts["right"] += 1


def _note(seen: Seen, kind: str, problem: str) -> None:
    seen.counts[kind] += 1
    if len(seen.problems) < 10:
        seen.problems.append(problem)


async def post(port: int, body: dict[str, Any]) -> tuple[int, str]:
    """Status and text of an answer, streamed or whole."""
    content = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        status = int((await reader.readline()).split()[1])
        text, whole = "", b""
        async for line in reader:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                text += "".join(choice["text"] for choice in event["choices"])
            elif line.startswith(b"{"):
                whole = line
        if whole:
            found = json.loads(whole)
            text = found["choices"][0]["text"] if status == 200 else str(found)
        return status, text
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def busy_slots(port: int) -> float:
    """Slots that are taken when nobody asks for anything any more, by ``/metrics``."""
    end = time.monotonic() + 10
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        busy = sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith("gpt1_slots_busy")
        )
        if busy == 0 or time.monotonic() > end:
            return busy
