"""Servers of the 117M shape under load: tokens per second, and how long clients wait.

gpt1 stands beside transformers' GPT-1 behind a plain FastAPI app and llama.cpp's ``llama-server``
(which has to be on the PATH) with a GPT-2 of the same shape. All are up the whole time and take
turns; clients live in a process of their own, see `benchmarks.http_load`. Requests have prompts of
equal length and answers of various lengths, streamed, and an end of text is not heeded. The plain
app, which generates for one request after the other and does not stream, gets one short request a
client: otherwise it would take an hour.

A step of decoding is what the server takes for one token of each of its clients, clients over
tokens per second.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import checkpoint
from benchmarks.child import environment
from benchmarks.http_load import Load, Plan, put_load
from benchmarks.machine import cores
from benchmarks.options import Options
from benchmarks.peers import installed, llama_cpp
from benchmarks.report import Figure, Report, Row
from benchmarks.timing import interleave
from gpt1.config import GPTConfig
from gpt1.tokenizer import Tokenizer

TITLE = "servers of the 117M shape under load"
OURS, PLAIN, LLAMA_CPP = "gpt1", "transformers + FastAPI", "llama.cpp server"
MANY = 32
LEAST_SCALING, LEAST_OF_LLAMA_CPP, MOST_STEPS = 5.0, 1.0, 10.0
START_S = 120.0
"""How long a server may take to come up."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: GPTConfig = field(default_factory=GPTConfig)
    clients: Sequence[int] = (1, 8, 32, 128)
    slots: int = 32
    prompt_tokens: int = 32
    new_tokens: Sequence[int] = (32, 96)
    warm_s: float = 4.0
    window_s: float = 10.0
    plain_tokens: int = 256
    rounds: int = 3


QUICK = Sizes(
    model=GPTConfig(n_layer=2, n_head=2, n_embd=64, n_positions=64, vocab_size=500),
    clients=(1, 32),
    prompt_tokens=8,
    new_tokens=(4, 8),
    warm_s=0.2,
    window_s=1.0,
    plain_tokens=64,
    rounds=1,
)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = QUICK if options.quick else Sizes()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        checkpoint.write(folder / "model", sizes.model)
        servers = {
            OURS: Server(ours(folder / "model", sizes)),
            PLAIN: Server(plain(folder / "model")),
        }
        missing = {}
        if (program := shutil.which("llama-server")) and installed("llama_cpp"):
            servers[LLAMA_CPP] = Server(theirs(program, folder, sizes))
        else:
            missing[LLAMA_CPP] = "not installed"
        for server in servers.values():
            stack.enter_context(server)
        words = checkpoint.prompts(Tokenizer.load(folder / "model"), 1, 10_000)[0]
        drawn = random.Random(1)
        rounds = options.rounds or sizes.rounds
        loads = {
            clients: interleave(
                {
                    name: partial(load, name, server.port, clients, words, sizes, drawn)
                    for name, server in servers.items()
                },
                rounds,
            )
            for clients in options.batches or sizes.clients
        }
    return Report(
        name="serve",
        title=TITLE,
        quick=options.quick,
        rows=bars(loads),
        figures=[f for clients in loads for f in figures(clients, loads[clients], missing)],
        settings={
            "slots": sizes.slots,
            "prompt_tokens": sizes.prompt_tokens,
            "new_tokens": "{}-{}".format(*sizes.new_tokens),
            "window_s": sizes.window_s,
            "rounds": rounds,
        },
    )


# ---------------------------------------------------------------- servers


class Server:
    """A server in a process of its own, up when the context is entered.

    Args:
        command: Gives its words for a port.

    Attributes:
        port: It listens at.
        pid: Of the process.
    """

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        self.port = free_port()
        self._words = command(self.port)

    def __enter__(self) -> Server:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._words,
            env=environment(cores()),
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        self.pid = self._process.pid
        end = time.monotonic() + START_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > end:
                self._errors.seek(0)
                said = self._errors.read()[-2000:]
                self.__exit__()
                raise RuntimeError(f"{self._words[:4]} did not come up:\n{said}")
        return self

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return b" 503 " not in connection.recv(64)  # what one says that is still loading
        except OSError:
            time.sleep(0.1)
            return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._errors.close()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def ours(folder: Path, sizes: Sizes) -> Callable[[int], list[str]]:
    """``gpt1 serve``."""
    words = [sys.executable, "-m", "gpt1", "serve", "--model", str(folder)]
    return lambda port: [*words, "--port", str(port), "--slots", str(sizes.slots)]


def plain(folder: Path) -> Callable[[int], list[str]]:
    """`benchmarks.plain_server`."""
    words = [sys.executable, "-m", "benchmarks.plain_server", str(folder)]
    return lambda port: [*words, str(port), str(cores())]


def theirs(program: str, folder: Path, sizes: Sizes) -> Callable[[int], list[str]]:
    """llama.cpp's, with a GPT-2 in float32."""
    llama_cpp.prepare(folder / "model", folder, "float32")
    words = [program, "-m", str(folder / "float32.gguf"), "--threads", str(cores())]
    words += ["--parallel", str(sizes.slots)]
    words += ["--ctx-size", str(sizes.slots * sizes.model.n_positions)]
    return lambda port: [*words, "--port", str(port), "--log-disable"]


# ---------------------------------------------------------------- load

EXTRA: dict[str, dict[str, Any]] = {
    OURS: {"stream": True},
    PLAIN: {},
    LLAMA_CPP: {"stream": True, "ignore_eos": True, "cache_prompt": False},
}
"""Fields of a request that only one server has."""

PROMPTS = 256
"""Of a turn; all turns have different ones, so that none is in a cache."""


def load(
    name: str, port: int, clients: int, words: list[int], sizes: Sizes, drawn: random.Random
) -> Load:
    """What clients of a server see.

    Args:
        name: Of the server.
        port: Of the server.
        clients: Requests at a time.
        words: Token ids that prompts are drawn from.
        sizes: How much.
        drawn: Random numbers.
    """
    prompts = [drawn.choices(words, k=sizes.prompt_tokens) for _ in range(PROMPTS)]
    plan = partial(Plan, port=port, clients=clients, prompts=prompts, extra=EXTRA[name])
    if name == PLAIN:
        return put_load(plan(lengths=[min(16, sizes.plain_tokens // clients)]))
    lengths = [drawn.randint(*sizes.new_tokens) for _ in prompts]
    return put_load(plan(lengths=lengths, warm_s=sizes.warm_s, window_s=sizes.window_s))


def percentile(values: Sequence[float], percent: int) -> float:
    """Of one value or more."""
    if len(values) < 2:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


Loads = dict[str, list[Load]]
"""One a round, by name of the server."""


def figures(clients: int, loads: Loads, missing: dict[str, str]) -> list[Figure]:
    """Throughput and waiting times at a number of clients."""

    def figure(measure: str, unit: str, value: Callable[[Load], float]) -> Figure:
        sides = {name: [value(load) for load in sample] for name, sample in loads.items()}
        return Figure("float32", measure, unit, {**sides, **missing})

    at = f"{clients} client{'s' * (clients > 1)}"
    return [
        figure(f"throughput, {at}", "tokens/s", lambda load: load.tokens_per_s),
        *(
            figure(
                f"{name} p{p}, {at}",
                "s",
                lambda load, f=field, p=p: percentile(getattr(load, f), p),
            )
            for field, name in (("first", "first token"), ("whole", "request"))
            for p in (50, 99)
        ),
    ]


def bars(loads: dict[int, Loads]) -> list[Row]:
    """What our figures have to reach."""
    if MANY not in loads:
        return []
    many = loads[MANY][OURS]
    rates = [load.tokens_per_s for load in many]
    row = partial(
        Row,
        measure=f"float32, throughput, {MANY} clients",
        unit="tokens/s",
        ours=rates,
        how="times",
    )
    rows = []
    if 1 in loads:
        alone = [load.tokens_per_s for load in loads[1][OURS]]
        rows.append(row(beside="1 client", other=alone, bar=LEAST_SCALING))
    if LLAMA_CPP in loads[MANY]:
        other = [load.tokens_per_s for load in loads[MANY][LLAMA_CPP]]
        rows.append(row(beside=LLAMA_CPP, other=other, bar=LEAST_OF_LLAMA_CPP))
    steps = [percentile(load.first, 99) * load.tokens_per_s / MANY for load in many]
    rows.append(
        Row(
            measure=f"float32, first token p99, {MANY} clients",
            unit="steps",
            ours=steps,
            beside=" steps",
            bar=MOST_STEPS,
        )
    )
    return rows
