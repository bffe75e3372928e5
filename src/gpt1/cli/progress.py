"""Progress of long work: a live line with rate and ETA, or plain lines without a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)
"""Where progress and notes go; results go to standard output."""

WIDE = 100
"""Columns of a terminal that has room for the time a run has taken as well."""

PLAIN_INTERVAL_S = 10.0
"""Seconds between two lines where there is no terminal."""


def say(message: str) -> None:
    """Write a line for people to standard error, above any live progress."""
    console.print(message, soft_wrap=True, markup=False)


class CountProgress:
    """Counts the texts of each pass over the data, or whatever else it is told to count."""

    def __init__(self, unit: str = "texts") -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn(f"{{task.completed:.0f}} {unit}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}

    def advance(self, doing: str, done: int, total: int) -> None:
        """Show how far a pass is; the first call shows the bar."""
        if doing not in self.tasks:
            self.progress.start()
            if not console.is_terminal:
                say(f"{doing} ...")
            self.tasks[doing] = self.progress.add_task(doing, total=total or None)
        self.progress.update(self.tasks[doing], completed=done)

    def stop(self) -> None:
        """Leave the bars as they are."""
        self.progress.stop()


class TrainingProgress:
    """A `gpt1.training.tracking.Watcher` that shows loss, tokens/s, MFU and the time left."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TextColumn("loss {task.fields[loss]} · {task.fields[rate]}"),
            *([TimeElapsedColumn()] if console.width >= WIDE else []),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.counting = CountProgress()
        self.task = TaskID(0)
        self.total_steps = 0
        self.first_step = 0
        self.unit = ""
        self.began = self.told = 0.0

    def advance(self, doing: str, done: int, total: int) -> None:
        """Count the texts of a pass over the data."""
        self.counting.advance(doing, done, total)

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """Show the bar."""
        self.counting.stop()
        self.task = self.progress.add_task(
            "training", total=total_steps, completed=step, loss="-", rate=f"- {unit}/s"
        )
        self.first_step, self.total_steps, self.unit = step, total_steps, unit
        self.began = self.told = time.monotonic()
        self.progress.start()

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Move the bar, or, without a terminal, write a line now and then."""
        shown = f"{rate:,.0f} {self.unit}/s" + (f" · MFU {mfu:.0%}" if mfu is not None else "")
        self.progress.update(self.task, completed=step, loss=f"{loss:.3f}", rate=shown)
        now = time.monotonic()
        if not console.is_terminal and now - self.told >= PLAIN_INTERVAL_S:
            self.told = now
            left = (now - self.began) / (step - self.first_step) * (self.total_steps - step)
            say(
                f"step {step}/{self.total_steps}  loss {loss:.3f}  {shown}  ETA {left / 60:.1f} min"
            )

    def note(self, message: str) -> None:
        """Write a line above the bar."""
        say(message)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self.progress.stop()
