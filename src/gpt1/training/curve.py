"""The loss curve of a run, drawn."""

from __future__ import annotations

from pathlib import Path

from gpt1.errors import MissingExtraError
from gpt1.training.tracking import read_metrics


def draw_loss_curve(metrics: Path, image: Path, title: str) -> None:
    """Draw training and validation loss over the updates.

    Args:
        metrics: ``metrics.jsonl`` of a run.
        image: PNG to write.
        title: Over the picture.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            'drawing the loss curve needs matplotlib: pip install "gpt1[plot]"'
        ) from None
    rows = read_metrics(metrics)
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for key, label, style in (
        ("loss", "training", {"linewidth": 1, "alpha": 0.6}),
        ("valid_loss", "validation", {"linewidth": 1.8, "marker": "o", "markersize": 3}),
    ):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    figure.savefig(image)
