"""Progress of many experiments: how many are done, how fast, and what the present one does."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TextColumn

from gpt1.cli import progress


class ExperimentProgress:
    """A `gpt1.reproduce.runs.Progress`: a live line, or, without a terminal, a line for each."""

    def __init__(self) -> None:
        self.bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=progress.console,
            disable=not progress.console.is_terminal,
        )
        self.line = self.bar.add_task("", total=None)
        self.total = self.kept = self.number = self.steps = 0
        self.began = time.monotonic()
        self.doing = ""

    def plan(self, total: int, kept: int) -> None:
        """Say how much there is to do."""
        self.total, self.kept, self.number = total, kept, 0
        self.began = time.monotonic()
        progress.say(f"{total} experiments, {kept} of them done before")
        if total > kept:
            self.bar.start()
        self._show()

    def begin(self, name: str) -> None:
        """Name the experiment that begins."""
        self.doing = name
        self._show()

    def done(self, name: str, seconds: float) -> None:
        """Count an experiment, and say what is left."""
        self.number += 1
        left = self.total - self.kept - self.number
        each = (time.monotonic() - self.began) / self.number
        self.doing = ""
        self._show()
        progress.say(
            f"{self.kept + self.number}/{self.total}  {name}  {seconds:.0f} s  "
            f"({60 / each:.1f} a minute, ETA {left * each / 60:.0f} min)"
        )
        if not left:
            self.bar.stop()

    def advance(self, doing: str, done: int, total: int) -> None:
        """Data are read in no time."""

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """A training begins."""
        self.steps = total_steps

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Show how far it is."""
        self._show(f": step {step:,}/{self.steps:,}, loss {loss:.3f}")

    def note(self, message: str) -> None:
        """Scores on the way are not shown."""

    def stop(self) -> None:
        """The training is over."""

    def _show(self, more: str = "") -> None:
        number = self.kept + self.number
        self.bar.update(
            self.line,
            completed=number,
            total=self.total or None,
            description=f"{number}/{self.total} experiments  {self.doing}{more}",
        )
