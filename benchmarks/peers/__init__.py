"""The sides of `benchmarks.decode`: gpt1 and its peers, one module each, all of one shape.

A module of this package has what `Side` names. It imports its library inside `load` and `prepare`
alone, so that a process holds only the library of its own side.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

Generate: TypeAlias = Callable[[list[list[int]], int], list[list[int]]]
"""Prompts of one length and a number of new tokens, to the new tokens of each: greedy, no end."""

PRECISIONS = {"float32": 4.0, "16-bit": 2.0, "int8": 1.0, "int4": 0.5}
"""Number formats of weights, and bytes of one, scales not counted."""

OURS = "ours"
PEERS = ("openai_gpt", "gpt2", "litgpt", "llama_cpp", "ctranslate2", "onnxruntime")
"""Modules of this package."""


class Side(Protocol):
    """A module that decodes.

    Attributes:
        TITLE: In tables.
        NEEDS: Modules it cannot do without.
        PRECISIONS: It has, of `benchmarks.peers.PRECISIONS`.
        FAMILY: Sides of a family have equal weights, and in float32 generate the same tokens.
        MOST_PROMPT_TOKENS: Of a batch; more would take hours. None: any number.
    """

    TITLE: str
    NEEDS: tuple[str, ...]
    PRECISIONS: tuple[str, ...]
    FAMILY: str
    MOST_PROMPT_TOKENS: int | None

    def prepare(self, checkpoint: Path, folder: Path, precision: str) -> None:
        """Write what `load` reads.

        Args:
            checkpoint: A folder with a GPT-1.
            folder: Empty.
            precision: One of ``PRECISIONS``.
        """

    def load(self, folder: Path, precision: str, threads: int) -> Generate:
        """What `prepare` wrote, ready to generate."""


def side(name: str) -> Side:
    """A module of this package."""
    return cast(Side, importlib.import_module(f"{__name__}.{name}"))


def installed(name: str) -> bool:
    """Whether all that a side needs is there."""
    return all(find_spec(module) for module in side(name).NEEDS)


def shape(checkpoint: Path) -> dict[str, Any]:
    """What the ``config.json`` of a checkpoint folder says."""
    found: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return found
