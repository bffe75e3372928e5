"""Where a run is followed beside its own files: TensorBoard, Weights & Biases, MLflow.

Names of figures are those of ``metrics.jsonl``. A run that resumes goes on in the same place, and
what it computes a second time is not shown twice.
"""

from __future__ import annotations

import html
import json
import os
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import yaml

from gpt1.atomic import write_text_atomic
from gpt1.config import RUN_FILE
from gpt1.errors import ConfigError, MissingExtraError

IDS = "trackers.json"
"""In the folder of a run: what the run is called by the services that name it."""

PROJECT = "gpt1"


class Tracker(Protocol):
    """Is given the figures and texts of a run."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of an update."""

    def text(self, step: int, name: str, text: str) -> None:
        """A text the model wrote after an update."""

    def close(self, complete: bool) -> None:
        """The run has ended, complete or to be resumed."""


class TensorBoard:
    """Event files in ``tensorboard`` in the folder of the run.

    Args:
        out: The folder.
        step: Where the run begins. What a killed run wrote about later steps is dropped from its
            files: a ``purge_step`` would leave its texts.
    """

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = out / "tensorboard"
        for file in sorted(folder.glob("*tfevents*")):
            if step:
                _drop_events_after(file, step)
            else:
                file.unlink()
        self.writer: Any = SummaryWriter(folder)
        if not step:
            self.text(0, "settings", _settings_text(out))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures, so that a kill loses none."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def text(self, step: int, name: str, text: str) -> None:
        """Write a text; Markdown in it is not interpreted."""
        self.writer.add_text(name, "    " + text.replace("\n", "\n    "), step)
        self.writer.flush()

    def close(self, complete: bool) -> None:
        """Close the file."""
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, in the project ``WANDB_PROJECT`` names, else ``gpt1``.

    It is reached, and switched off, as its own documentation says: ``wandb login``,
    ``WANDB_MODE=offline``. Its files are in ``wandb`` in the folder of the run.

    Args:
        out: The folder.
        step: Where the run begins; the service ignores what it already has.

    Raises:
        ConfigError: If the service cannot be reached.
    """

    def __init__(self, out: Path, step: int) -> None:
        import wandb

        self.html = wandb.Html
        try:
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=_run_id(out, "wandb", lambda: secrets.token_hex(4), resume=step > 0),
                name=out.name,
                dir=out,
                config=_settings(out),
                resume="allow",
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"Weights & Biases did not start: {error}; see `wandb login`, set "
                "WANDB_MODE=offline, or leave wandb out of --track"
            ) from error

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures."""
        self.run.log(dict(figures), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """Send a text."""
        self.run.log({name: self.html(f"<pre>{html.escape(text)}</pre>")}, step=step)

    def close(self, complete: bool) -> None:
        """Send what is left."""
        self.run.finish(exit_code=0 if complete else 1)


class MLflow:
    """A run of MLflow, in the experiment ``gpt1`` of the server ``MLFLOW_TRACKING_URI`` names.

    Without that variable it is kept in ``mlflow.db`` and ``mlflow`` in the folder of the run.

    Args:
        out: The folder.
        step: Where the run begins.
    """

    def __init__(self, out: Path, step: int) -> None:
        from mlflow import MlflowClient

        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = MlflowClient(server or f"sqlite:///{(out / 'mlflow.db').resolve()}")
        place = None if server else (out / "mlflow").resolve().as_uri()
        resume = step > 0
        self.run_id = _run_id(out, "mlflow", lambda: self._new_run(out, place), resume=resume)
        self.logged = {name: self._last_step(name) for name in self._names()} if resume else {}

    def _new_run(self, out: Path, place: str | None) -> str:
        experiment = self.client.get_experiment_by_name(PROJECT)
        number = (
            experiment.experiment_id
            if experiment
            else self.client.create_experiment(PROJECT, artifact_location=place)
        )
        run_id: str = self.client.create_run(number, run_name=out.name).info.run_id
        for name, value in _flat(_settings(out)).items():
            self.client.log_param(run_id, name, value)
        return run_id

    def _names(self) -> list[str]:
        return list(self.client.get_run(self.run_id).data.metrics)

    def _last_step(self, name: str) -> int:
        return max(point.step for point in self.client.get_metric_history(self.run_id, name))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures; those it has already it would keep a second time."""
        for name, value in figures.items():
            if step > self.logged.get(name, -1):
                self.client.log_metric(self.run_id, name, value, step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """Send a text, as a file of the run."""
        self.client.log_text(self.run_id, text, f"{name}/step-{step:08d}.txt")

    def close(self, complete: bool) -> None:
        """Say how the run ended."""
        self.client.set_terminated(self.run_id, "FINISHED" if complete else "KILLED")


TRACKERS: dict[str, tuple[str, Callable[[Path, int], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "wandb": ("wandb", WeightsAndBiases),
    "mlflow": ("mlflow", MLflow),
}
"""By name: the module each needs, and what makes it."""


def check_trackers(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The trackers of a run.

    Args:
        names: Of `TRACKERS`; None: TensorBoard where it is installed, else none.

    Raises:
        MissingExtraError: If one that is asked for is not installed.
    """
    if names is None:
        return ("tensorboard",) if find_spec("tensorboard") else ()
    for name in names:
        module, _ = TRACKERS[name]
        if find_spec(module) is None:
            raise MissingExtraError(
                f'tracking with {name} needs {module}: pip install "gpt1[track]"'
            )
    return names


def _drop_events_after(file: Path, step: int) -> None:
    """Write an event file anew without what comes after a step, or was cut off."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    kept = [
        event
        for event in RawEventFileLoader(str(file)).Load()
        if Event.FromString(event).step <= step
    ]
    temporary = file.with_name(f".{file.name.replace('tfevents', 'part')}")
    with temporary.open("wb") as stream:
        writer = RecordWriter(stream)
        for event in kept:
            writer.write(event)
    temporary.replace(file)


def _run_id(out: Path, service: str, make: Callable[[], str], *, resume: bool) -> str:
    """What a service calls the run: as before where it is resumed, else a new name."""
    path = out / IDS
    ids = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not resume or service not in ids:
        ids[service] = make()
        write_text_atomic(path, json.dumps(ids, indent=2) + "\n")
    return str(ids[service])


def _settings_text(out: Path) -> str:
    path = out / RUN_FILE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _settings(out: Path) -> dict[str, Any]:
    return yaml.safe_load(_settings_text(out)) or {}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by names with dots, as flags have them."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
