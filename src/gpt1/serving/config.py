"""Settings of a server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gpt1.errors import ConfigError
from gpt1.serving.engine import CHUNK, SLOTS, WAITING

LEAST = {
    "port": 0,
    "slots": 1,
    "chunk": 1,
    "waiting": 0,
    "max_tokens": 1,
    "max_n": 1,
    "max_prompts": 1,
    "timeout_s": 0.001,
    "drain_s": 0,
}
"""The smallest value of each number."""


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """How a server listens, how much it takes on, and what it allows."""

    host: str = "127.0.0.1"
    """Address to listen at; one that others can reach needs a key, see `api_key_file`."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    slots: int = SLOTS
    """Texts that are continued together; each takes memory for the longest text there can be."""
    chunk: int = CHUNK
    """Tokens of prompts read between two steps of the running texts."""
    waiting: int = WAITING
    """Continuations that may wait; what is beyond is refused with status 429."""
    max_tokens: int = 2048
    """Most new tokens a request may ask for."""
    max_n: int = 16
    """Most continuations of a prompt a request may ask for, best_of included."""
    max_prompts: int = 64
    """Most prompts, or texts, in a request."""
    timeout_s: float = 300.0
    """Seconds after which a request that is not done is given up."""
    drain_s: float = 30.0
    """Seconds that running requests have left when the server is told to stop."""
    playground: bool = False
    """Show a page to try the models at the address of the server."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        problems = [
            f"{name} is {value!r} but must be at least {least}"
            for name, least in LEAST.items()
            if not least <= (value := getattr(self, name)) < math.inf
        ]
        if self.port > 65535:
            problems.append(f"port is {self.port} but must be at most 65535")
        if problems:
            raise ConfigError("; ".join(problems))


def model_names(given: list[str]) -> dict[str, Path | str]:
    """What is to be served, by the name that requests use.

    Args:
        given: Each a bundled model, a folder or a hub id, which is its own name (of a folder, its
            last part); or ``NAME=MODEL``.

    Raises:
        ConfigError: If two have the same name, or a name is empty.
    """
    found: dict[str, Path | str] = {}
    for text in given:
        name, equals, model = text.partition("=")
        if not equals:
            name, model = (Path(text).resolve().name if Path(text).is_dir() else text), text
        if not name or not model:
            raise ConfigError(f"model is {text!r} but must be MODEL or NAME=MODEL")
        if name in found:
            raise ConfigError(f"two models are named {name!r}; write one as OTHER={model}")
        found[name] = model
    return found
