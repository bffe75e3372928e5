"""What a run tells: lines of metrics in a file, and progress to whoever watches."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)


class MetricsLog:
    """``metrics.jsonl``: one JSON object a line, each with its step.

    Args:
        path: Of the file; None: nothing is written.
        step: Lines after this step are dropped: a run that resumes there writes them again.
    """

    def __init__(self, path: Path | None, step: int) -> None:
        self.path = path
        if path is None:
            return
        kept = [row for row in read_metrics(path) if row["step"] <= step] if step else []
        if path.exists():
            path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def write(self, **metrics: Any) -> None:
        """Append one line."""
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off while being written is left out."""
    return list(_parse(path)) if path.exists() else []


def _parse(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


class Watcher(Protocol):
    """Told how a run goes; for progress bars and logs."""

    def advance(self, doing: str, done: int, total: int) -> None:
        """The data is being prepared: so many texts of so many are done (0: not known)."""

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """The run begins after ``step`` of ``total_steps`` updates; it counts in ``unit``."""

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """One update was done, at so many units a second and this share of the machine's rate."""

    def note(self, message: str) -> None:
        """Something worth a line happened."""

    def stop(self) -> None:
        """The run is over, for whatever reason."""


class LogWatcher:
    """Writes to the log."""

    unit = "targets"

    def advance(self, doing: str, done: int, total: int) -> None:
        """Say how many texts a pass over the data has done, for those who debug."""
        log.debug("%s: text %d of %s", doing, done, total or "?")

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """Say where the run begins."""
        self.unit = unit
        log.info("training from step %d to %d", step, total_steps)

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Say how the update went, for those who debug."""
        log.debug("step %d: loss %.4f, %.0f %s/s", step, loss, rate, self.unit)

    def note(self, message: str) -> None:
        """Pass the message on."""
        log.info("%s", message)

    def stop(self) -> None:
        """Nothing to close."""


class Silent:
    """Tells nobody: the watcher of all processes but the main one."""

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
