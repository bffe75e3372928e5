"""A server on this machine that runs while a test does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

from gpt1.language_model import LanguageModel
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from lively import lively_model, small_tokenizer


@contextmanager
def live(app: Any) -> Iterator[str]:
    """Serve an application; yields its address, as in ``http://127.0.0.1:40123``."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # clients wait until it is read
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=1))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def lively_models(config: ServingConfig | None = None, n_positions: int = 64) -> Models:
    """A small language model named "lively", whose texts vary."""
    config = config or ServingConfig(slots=4)
    tokenizer = small_tokenizer()
    lm = LanguageModel(lively_model(tokenizer.vocab_size, n_positions=n_positions), tokenizer)
    engine = Engine(lm, slots=config.slots, chunk=config.chunk, waiting=config.waiting)
    return Models(engines={"lively": engine}, tasks={})
