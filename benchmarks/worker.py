"""A process that decodes for one side of `benchmarks.decode`, see `benchmarks.turns`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.child import environment
from benchmarks.peers import side
from benchmarks.turns import Turn, take_turn


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
        words = [sys.executable, "-m", "benchmarks.turns", name, precision, str(folder)]
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
