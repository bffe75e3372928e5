"""A guarded server for tests: in a thread of this process, or as a program of its own.

The program takes the fields of `SafetyConfig` as JSON, prints its address, and lets the streams of
``/hold`` go on when it reads a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.keys import Keys
from gpt1.serving.models import Models
from gpt1.serving.safety import SafetyConfig
from gpt1.serving.server import Server, address_of, listen, serve

SOURCE = Path(__file__).resolve().parents[1] / "src"


def application(**config: Any) -> FastAPI:
    """Routes that answer at once, that wait, that do not end, and that fail."""
    app = create_app(Models(engines={}, tasks={}), ServingConfig(**config))
    app.state.go, app.state.held, app.state.flood_ended = asyncio.Event(), 0, Event()
    _add_answers(app)
    _add_streams(app)
    return app


def _add_answers(app: FastAPI) -> None:

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": []}

    @app.post("/echo")
    async def echo(request: Request) -> Any:
        return await request.json()

    @app.get("/count")
    async def count() -> int:
        return int(app.state.held)

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("a secret prompt")


def _add_streams(app: FastAPI) -> None:
    async def holding() -> AsyncIterator[bytes]:
        app.state.held += 1
        try:
            yield b"begun\n"
            await app.state.go.wait()
            yield b"ended\n"
        finally:
            app.state.held -= 1

    @app.get("/gradio_api/heartbeat/{session}")
    @app.api_route("/hold", methods=["GET", "POST"])
    async def hold() -> StreamingResponse:  # the playground's heartbeat does not end by itself
        return StreamingResponse(holding())

    async def flooding() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)  # a client that left is noticed only then
        finally:
            app.state.flood_ended.set()

    @app.get("/flood")
    async def flood() -> StreamingResponse:
        return StreamingResponse(flooding())


@contextmanager
def guarded_live(
    app: FastAPI | None = None,
    *,
    host: str = "127.0.0.1",
    keys: tuple[str, ...] = (),
    **safety: Any,
) -> Iterator[str]:
    """Serve in a thread; yields the address."""
    with listen(host, 0) as listening:
        config = SafetyConfig(**safety)
        server = Server(app or application(), config, Keys(keys))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield address_of(listening, is_secure=config.tls_cert is not None)
        finally:
            server.should_exit = True
            thread.join()


class Program:
    """A server in another process.

    Attributes:
        process: Its standard input and output are pipes.
        address: Where it is.
    """

    def __init__(self, *words: str) -> None:
        paths = [str(SOURCE), str(SOURCE.parent / "tests")]
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rpartition(" ")[2]

    def go(self) -> None:
        """Let held streams go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Exit code and standard error, once it has ended."""
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@contextmanager
def program(drain_s: float = 30, **safety: Any) -> Iterator[Program]:
    """A guarded server of `application` in another process."""
    found = Program(__file__, json.dumps({"drain_s": drain_s, **safety}))
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def main() -> int:
    settings = json.loads(sys.argv[1])
    app = application(drain_s=settings.pop("drain_s"))

    def read(loop: asyncio.AbstractEventLoop) -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(app.state.go.set)

    with listen("127.0.0.1", 0) as listening:

        def started() -> None:
            Thread(target=read, args=(asyncio.get_running_loop(),), daemon=True).start()
            print(address_of(listening, is_secure=False), flush=True)

        return serve(Server(app, SafetyConfig(**settings), Keys(), started), listening)


if __name__ == "__main__":
    sys.exit(main())
