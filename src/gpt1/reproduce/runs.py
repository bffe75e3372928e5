"""Experiments that are done once: each result is a file, named by all that determines it.

So a reproduction that was interrupted goes on where it stopped, and reports that need the same
experiment share it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from gpt1.atomic import write_text_atomic
from gpt1.errors import TrainingError
from gpt1.training.tracking import Watcher

RUNS = "runs"


@dataclass(frozen=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        figures: Metrics by split, part and name, as "dev:accuracy" or "test/high:accuracy".
        counts: Examples of each split and part, "train" among them.
        seconds: It took, reading and judging included.
        details: More, for the report.
        machine: What it ran on.
    """

    figures: Mapping[str, float]
    counts: Mapping[str, int]
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """Something to be done once; it can be sent to another process."""

    @property
    def name(self) -> str:
        """Short, for people and files."""

    def determinants(self) -> dict[str, Any]:
        """Everything the result depends on, as plain data."""

    def run(self, watch: Watcher) -> Outcome:
        """Do it."""


class Progress(Watcher, Protocol):
    """Told how a training goes, and how many experiments are done."""

    def plan(self, total: int, kept: int) -> None:
        """So many experiments are needed; so many of them are there already."""

    def begin(self, name: str) -> None:
        """An experiment begins here and now."""

    def done(self, name: str, seconds: float) -> None:
        """An experiment is done."""


class Quiet:
    """A `Progress` that shows nothing."""

    def plan(self, total: int, kept: int) -> None:
        """Nothing."""

    def begin(self, name: str) -> None:
        """Nothing."""

    def done(self, name: str, seconds: float) -> None:
        """Nothing."""

    def advance(self, doing: str, done: int, total: int) -> None:
        """Nothing."""

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """Nothing."""

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class Runs:
    """The experiments of a folder.

    Args:
        out: The folder; results are kept in ``runs`` in it.
        jobs: Experiments at a time: 1 runs them in this process, more in one of their own each,
            with one thread.
        progress: Told how it goes.

    Attributes:
        used: The outcomes that were asked for, by file.
    """

    def __init__(self, out: Path, jobs: int = 1, progress: Progress | None = None) -> None:
        self.folder = out / RUNS
        self.jobs = jobs
        self.progress = progress or Quiet()
        self.used: dict[Path, Outcome] = {}

    def results(self, works: Sequence[Work]) -> list[Outcome]:
        """The outcomes of experiments, in their order; those not known yet are run.

        Args:
            works: Experiments.

        Raises:
            KeyboardInterrupt: If the user interrupted; what is done is kept.
            Gpt1Error: What an experiment raises; a TrainingError if its process died.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.path(work) for work in works]
        missing = {path: w for path, w in zip(paths, works, strict=True) if not path.exists()}
        self.progress.plan(len(set(paths)), len(set(paths)) - len(missing))
        for work, outcome in self._outcomes(missing):
            self.progress.done(work.name, outcome.seconds)
        self.used |= {path: read_outcome(path) for path in paths}
        return [self.used[path] for path in paths]

    @property
    def seconds(self) -> float:
        """That all experiments took whose results were asked for."""
        return sum(outcome.seconds for outcome in self.used.values())

    @property
    def machines(self) -> list[str]:
        """What these ran on, in words."""
        return sorted({_in_words(outcome.machine) for outcome in self.used.values()})

    def path(self, work: Work) -> Path:
        """Where an experiment's outcome is, or will be."""
        text = json.dumps(work.determinants(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.folder / f"{work.name}-{digest}.json"

    def _outcomes(self, missing: Mapping[Path, Work]) -> Iterator[tuple[Work, Outcome]]:
        if self.jobs > 1 and len(missing) > 1:
            yield from self._in_processes(missing)
            return
        for path, work in missing.items():
            self.progress.begin(work.name)
            yield work, run_and_keep(work, path, self.progress)

    def _in_processes(self, missing: Mapping[Path, Work]) -> Iterator[tuple[Work, Outcome]]:
        before = set(multiprocessing.active_children())
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.jobs, spawn, initializer=_begin_worker) as pool:
            try:
                futures = {pool.submit(run_and_keep, w, p): w for p, w in missing.items()}
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BrokenProcessPool:
                raise TrainingError(
                    f"a process of an experiment died, perhaps for want of memory; there are "
                    f"{self.jobs} jobs, try fewer. What is done is kept"
                ) from None
            except BaseException:
                # A killed experiment leaves nothing behind: its result is written in one step.
                for child in set(multiprocessing.active_children()) - before:
                    child.kill()
                raise


def _begin_worker() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)


def run_and_keep(work: Work, path: Path, watch: Watcher | None = None) -> Outcome:
    """Run an experiment and write its outcome, with all that determines it.

    Args:
        work: What to do.
        path: Of the file.
        watch: Told about the training.
    """
    outcome = work.run(watch or Quiet())
    outcome = Outcome(**{**vars(outcome), "machine": machine()})
    record = {"settings": work.determinants(), **asdict(outcome)}
    write_text_atomic(path, json.dumps(record, indent=2) + "\n")
    return outcome


def read_outcome(path: Path) -> Outcome:
    """What `run_and_keep` wrote."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["settings"]
    return Outcome(**stored)


def machine() -> dict[str, Any]:
    """What this process runs on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _in_words(machine: Mapping[str, Any]) -> str:
    on = f"{machine['gpu']}, " if machine["gpu"] else ""
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    return f"{on}{machine['cpu']}, {threads}, torch {machine['torch']}, Python {machine['python']}"


def _cpu() -> str:
    """As Linux names it; elsewhere, the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
