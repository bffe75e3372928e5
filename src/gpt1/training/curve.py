"""The loss curve of a run, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt1.errors import MissingExtraError
from gpt1.training.tracking import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_loss_curve(metrics: Path, image: Path, title: str) -> None:
    """Draw training and validation loss over the updates.

    Args:
        metrics: ``metrics.jsonl`` of a run.
        image: PNG to write.
        title: Over the picture.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure = _figure(4)
    axes = figure.subplots()
    _draw_losses(axes, read_metrics(metrics))
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    figure.savefig(image)


def draw_task_curve(metrics: Path, image: Path, title: str) -> None:
    """Draw the losses of a task over the updates, and below them its metrics.

    Args:
        metrics: ``metrics.jsonl`` of a run.
        image: PNG to write.
        title: Over the picture.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure = _figure(6)
    rows = read_metrics(metrics)
    names = [name for name in _validated(rows) if name != "valid_loss"]
    above, *below = figure.subplots(2 if names else 1, squeeze=False, sharex=True)[:, 0]
    _draw_losses(above, rows)
    above.set(ylabel="loss (validation: without that of the text)", title=title)
    for axes in below:
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axes.set(ylabel="on validation examples")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.axes[-1].set(xlabel="step")
    figure.savefig(image)


def _validated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the figures on the validation data."""
    found = next((row for row in rows if "valid_loss" in row), {})
    return [name for name in found if name != "step"]


def _figure(height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            'drawing the loss curve needs matplotlib: pip install "gpt1[plot]"'
        ) from None
    return Figure(figsize=(7, height), dpi=150, layout="constrained")


def _draw_losses(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for key, label, style in (
        ("loss", "training", {"linewidth": 1.0, "alpha": 0.6}),
        ("valid_loss", "validation", {"linewidth": 1.8, "marker": "o", "markersize": 3}),
    ):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
