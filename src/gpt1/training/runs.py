"""Runs in their folders, looked at from outside: finished, going on, killed or damaged."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from gpt1.config import RUN_FILE
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.locate import WEIGHTS
from gpt1.training.loop import CARD
from gpt1.training.tracking import read_metrics

METRICS = "metrics.jsonl"

SKIPPED = ("state", "snapshots", "tensorboard", "wandb", "mlflow")
"""Folders in a run that hold no run."""

NOT_COMPARED = ("vocab_size",)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, as far as its folder tells.

    Attributes:
        folder: Where it is.
        kind: Command that started it: "pretrain", "finetune lm" or "finetune task".
        complete: Whether it went to its end.
        steps: Updates written down.
        tokens: Tokens trained on by then, or None of a task.
        elapsed_s: Seconds spent training by then.
        tokens_per_s: Mean over the run, or None of a task.
        loss: Of the last update that was written down.
        best_name: What is validated: "valid_loss", or the first metric of a task.
        best: Its best value.
        best_step: The update after which it was.
        parameters: Of the model that was kept, or None before there is one.
        lr: Peak learning rate.
        settings: All of them; nested ones by names with a dot.
        problems: What in the folder cannot be read, a clause each.
    """

    folder: Path
    kind: str
    complete: bool
    steps: int
    tokens: int | None
    elapsed_s: float | None
    tokens_per_s: float | None
    loss: float | None
    best_name: str
    best: float | None
    best_step: int | None
    parameters: int | None
    lr: float | None
    settings: Mapping[str, Any]
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: In the order they were named.
        differing: Settings that are not the same in all, with the value in each (None: it has no
            such setting).
        curves: Training loss of each over its updates.
    """

    runs: Sequence[Run]
    differing: Mapping[str, list[Any]]
    curves: Sequence[Sequence[tuple[int, float]]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        runs = [run.as_dict() for run in self.runs]
        return {"runs": runs, "differing": dict(self.differing), "curves": list(self.curves)}

    def draw(self, image: str | Path) -> Path:
        """Draw the loss curves over one another.

        Args:
            image: PNG to write.

        Returns:
            The same.

        Raises:
            MissingExtraError: If matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingExtraError(
                'drawing loss curves needs matplotlib: pip install "gpt1[plot]"'
            ) from None
        figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for name, points in zip(short_names(self.runs), self.curves, strict=True):
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
        axes.set(xlabel="step", ylabel="training loss")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        figure.savefig(image, format="png")
        return Path(image)


def list_runs(folder: str | Path = ".") -> list[Run]:
    """All runs in a folder, at any depth.

    Args:
        folder: Of runs, or of one run.

    Returns:
        The runs, by the names of their folders; those that are damaged say what is wrong.

    Raises:
        ConfigError: If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; name one that holds runs")
    return [read_run(found) for found in sorted(_run_folders(folder))]


def compare_runs(folders: Sequence[str | Path]) -> Comparison:
    """Put runs side by side.

    Args:
        folders: Of two or more runs.

    Returns:
        Their figures, and the settings in which they differ.

    Raises:
        ConfigError: If there are fewer than two, or one is not the folder of a run.
    """
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} run is named, but two or more can be compared")
    runs = [read_run(folder) for folder in folders]
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    differing = {
        name: row
        for name, row in values.items()
        if any(value != row[0] for value in row) and name not in NOT_COMPARED
    }
    curves = [[(row["step"], row["loss"]) for row in _updates(run.folder)] for run in runs]
    return Comparison(runs, differing, curves)


def read_run(folder: str | Path) -> Run:
    """What the folder of a run tells about it.

    Args:
        folder: With a ``run.yaml``.

    Raises:
        ConfigError: If it has none.
    """
    folder = Path(folder)
    if not (folder / RUN_FILE).is_file():
        raise ConfigError(f"{folder} holds no {RUN_FILE}; name the folder of a run")
    problems: list[str] = []
    settings = _settings(folder, problems)
    rows = _rows(folder, problems)
    updates = [row for row in rows if "lr" in row]
    last = updates[-1] if updates else {}
    tokens, elapsed_s = last.get("tokens"), last.get("elapsed_s")
    name, best = _best(rows)
    return Run(
        folder=folder,
        kind=kind_of(settings),
        complete=(folder / CARD).exists(),
        steps=last.get("step", 0),
        tokens=tokens,
        elapsed_s=elapsed_s,
        tokens_per_s=tokens / elapsed_s if tokens and elapsed_s else None,
        loss=last.get("loss"),
        best_name=name,
        best=best.get(name),
        best_step=best.get("step"),
        parameters=_parameters(folder, problems),
        lr=settings.get("lr"),
        settings=settings,
        problems=tuple(problems),
    )


def kind_of(settings: Mapping[str, Any]) -> str:
    """The command that starts a run with such settings; empty if they are not a run's."""
    if "lm_coef" in settings:
        return "finetune task"
    if any(name.startswith("prepare") for name in settings):
        return "pretrain"
    return "finetune lm" if "model" in settings else ""


def short_names(runs: Sequence[Run]) -> list[str]:
    """The folders of runs without what they have in common."""
    paths = [run.folder.resolve() for run in runs]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        if RUN_FILE in files:
            yield Path(place)


def _settings(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Settings by flat names."""
    try:
        settings = yaml.safe_load((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problems.append(f"{RUN_FILE} cannot be read: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(settings, dict):
        problems.append(f"{RUN_FILE} holds no settings")
        return {}
    return dict(_flat(settings))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _rows(folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Lines of the metrics that are whole."""
    try:
        rows = read_metrics(folder / METRICS)
    except (OSError, ValueError) as error:
        problems.append(f"{METRICS} cannot be read: {error}")
        return []
    good = [row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]
    if len(good) < len(rows):
        problems.append(f"{METRICS} has {len(rows) - len(good)} lines without a step")
    return good


def _updates(folder: Path) -> list[dict[str, Any]]:
    return [row for row in _rows(folder, []) if "lr" in row and "loss" in row]


def _best(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """What decides which weights are kept, and the line where it is best."""
    judged = [
        row for row in rows if row["step"] > 0 and "lr" not in row and "general_loss" not in row
    ]
    names = [name for row in judged for name in row if name != "step"]
    if not names:
        return "valid_loss", {}
    name, sign = names[0], 1 if names[0] != "valid_loss" else -1
    judged = [row for row in judged if math.isfinite(row.get(name, math.nan))]
    return name, max(judged, key=lambda row: sign * row[name], default={})


def _parameters(folder: Path, problems: list[str]) -> int | None:
    """Numbers in the weights; only the beginning of the file is read."""
    path = folder / WEIGHTS
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
            return sum(map(math.prod, shapes))
    except (OSError, SafetensorError) as error:
        problems.append(f"{WEIGHTS} cannot be read: {error}")
        return None
