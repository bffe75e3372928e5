"""What a run writes down while it goes: in its own files, and to the trackers it is followed by."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpt1.training.trackers import TRACKERS, Tracker, check_trackers
from gpt1.training.tracking import MetricsLog

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """A text the model wrote.

    Attributes:
        prompt: What it was given.
        text: Prompt and continuation, as the tokenizer writes them.
        ids: Of the continuation.
    """

    prompt: str
    text: str
    ids: Sequence[int]


class Journal:
    """``metrics.jsonl``, ``samples.jsonl`` and the trackers of a run.

    Args:
        out: Folder of the run; None: nothing is written.
        step: Updates done. What is written about later ones is dropped: they are done again.
        track: Names of trackers, or None for the default: see `check_trackers`.

    Attributes:
        metrics: Lines of figures.
        samples: Lines of generated texts.

    Raises:
        MissingExtraError: If a tracker that is asked for is not installed.
    """

    def __init__(self, out: Path | None, step: int, track: tuple[str, ...] | None) -> None:
        self.out, self.step = out, step
        self.metrics = MetricsLog(out / "metrics.jsonl" if out else None, step)
        self.samples = MetricsLog(out / "samples.jsonl" if out else None, step)
        self._names = check_trackers(track) if out else ()
        self._silent = out is not None and track is None and not self._names
        self._trackers: dict[str, Tracker] = {}

    def open(self) -> None:
        """Begin to follow the run."""
        if self._silent:
            log.info(
                "figures go to metrics.jsonl alone; for TensorBoard as well: "
                'pip install "gpt1[track]"'
            )
        for name in self._names:
            assert self.out is not None
            self._trackers[name] = TRACKERS[name][1](self.out, self.step)

    def write(self, step: int, **figures: float | None) -> None:
        """Write figures of an update; None is left out."""
        known = {name: value for name, value in figures.items() if value is not None}
        self.metrics.write(step=step, **known)
        self._tell("log", step, known)

    def write_samples(self, step: int, samples: Iterable[Sample]) -> None:
        """Write texts the model wrote after an update."""
        for number, sample in enumerate(samples):
            self.samples.write(step=step, prompt=sample.prompt, text=sample.text)
            self._tell("text", step, f"sample-{number}", sample.text)

    def close(self, complete: bool) -> None:
        """The run has ended, complete or to be resumed."""
        self._tell("close", complete)
        self._trackers = {}

    def _tell(self, method: str, *arguments: Any) -> None:
        """Tell every tracker. One that fails is left out from then on: the run is worth more."""
        for name, tracker in list(self._trackers.items()):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:  # a service can raise anything
                del self._trackers[name]
                log.warning("%s failed and is left out from here on: %s", name, error)
