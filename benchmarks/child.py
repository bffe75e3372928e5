"""Runs one function in a process of its own, where a peak of memory or a thread count is its own.

Also the program of that process: ``python -m benchmarks.child MODULE FUNCTION ARGUMENTS RESULT``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.memory import peak_rss_mb

ROOT = Path(__file__).resolve().parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Outcome(NamedTuple):
    """What a function did.

    Attributes:
        result: What it returned.
        peak_mb: Most memory its process held, in MB.
    """

    result: Any
    peak_mb: float


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    apart: bool = True,
    threads: int | None = None,
) -> Outcome:
    """Call a function in a fresh process.

    Args:
        function: At the top of its module; returns plain data.
        arguments: Of the function; plain data.
        apart: False calls it in this process, which is quick but measures nothing.
        threads: Of torch and of the tokenizer; default: as many as they like.

    Returns:
        The outcome.

    Raises:
        CalledProcessError: If the process fails; its error output is shown as it comes.
    """
    if not apart:
        return Outcome(function(**arguments), peak_rss_mb())
    with TemporaryDirectory() as folder:
        given, file = Path(folder, "arguments.json"), Path(folder, "result.json")
        given.write_text(json.dumps(dict(arguments)), encoding="utf-8")
        words = [function.__module__, function.__name__, str(given), str(file)]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.child", *words],
            env=environment(threads),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return Outcome(*json.loads(file.read_text(encoding="utf-8")))


def environment(threads: int | None = None) -> dict[str, str]:
    """Variables of a fresh process that can import this package, quiet and offline.

    It keeps what Python compiles, as packages do when they are installed: else each start of ours
    would compile our modules anew, but not those of others.

    Args:
        threads: Of torch and of the tokenizer; None: as many as they like.
    """
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    counts = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(path), **QUIET, **counts}


def _main(module: str, name: str, given: str, file: str) -> None:
    function = getattr(importlib.import_module(module), name)
    result = function(**json.loads(Path(given).read_text(encoding="utf-8")))
    Path(file).write_text(json.dumps([result, peak_rss_mb()]), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
