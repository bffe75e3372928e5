"""Decodes for one side: loads once, then answers requests.

The program of a `benchmarks.worker`: ``python -m benchmarks.turns SIDE PRECISION FOLDER THREADS``.
A request is a line of JSON on its standard input, and so is the answer on its output. It imports
little, since its start is what is measured.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.memory import peak_rss_mb
from benchmarks.peers import Generate, side


class Turn(NamedTuple):
    """One call of `Generate`.

    Attributes:
        seconds: It took.
        ids: New tokens of each prompt.
        peak_mb: Most memory the process has held so far, in MB.
    """

    seconds: float
    ids: list[list[int]]
    peak_mb: float


def take_turn(generate: Generate, prompts: list[list[int]], new_tokens: int) -> Turn:
    """A call, timed."""
    began = perf_counter()
    ids = generate(prompts, new_tokens)
    return Turn(perf_counter() - began, ids, peak_rss_mb())


def serve(name: str, precision: str, folder: str, threads: str) -> None:
    """Answer requests until there are no more; what libraries print goes to the error output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    generate = side(name).load(Path(folder), precision, int(threads))
    for line in sys.stdin:
        request: list[Any] = json.loads(line)
        answers.write(json.dumps(take_turn(generate, *request)) + "\n")


if __name__ == "__main__":
    serve(*sys.argv[1:])
