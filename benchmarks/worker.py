"""A process that decodes for one side of `benchmarks.decode`: loads once, then answers requests.

Also the program of that process: ``python -m benchmarks.worker SIDE PRECISION FOLDER THREADS``.
A request is a line of JSON on its standard input, and so is the answer on its output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.child import environment
from benchmarks.machine import peak_rss_mb
from benchmarks.peers import Generate, side
from benchmarks.timing import stopwatch


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
    seconds, ids = stopwatch(partial(generate, prompts, new_tokens))
    return Turn(seconds, ids, peak_rss_mb())


class Here:
    """A side in this process, which is quick but measures nothing; arguments as of `Worker`."""

    def __init__(self, name: str, precision: str, folder: Path, threads: int) -> None:
        self._generate = side(name).load(folder, precision, threads)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def turn(self, prompts: list[list[int]], new_tokens: int) -> Turn:
        """Have it generate."""
        return take_turn(self._generate, prompts, new_tokens)


class Worker:
    """A running process; close it, or use it as a context manager.

    Args:
        name: Module of `benchmarks.peers`.
        precision: One of the side's.
        folder: That the side prepared.
        threads: To decode with.
    """

    def __init__(self, name: str, precision: str, folder: Path, threads: int) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close
        words = [sys.executable, "-m", "benchmarks.worker", name, precision, str(folder)]
        self._process = subprocess.Popen(
            [*words, str(threads)],
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def turn(self, prompts: list[list[int]], new_tokens: int) -> Turn:
        """Have it generate.

        Raises:
            RuntimeError: If the process has ended; with the last lines of its error output.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([prompts, new_tokens]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer is missing as well
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"{self._name} has failed:\n{self._errors.read()[-2000:]}")
        return Turn(*json.loads(answer))

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate()
        except BrokenPipeError:
            self._process.wait()
        self._errors.close()


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
