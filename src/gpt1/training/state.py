"""The state a run resumes from: weights, optimizer moments and counters, never pickled.

Lives in ``state/step-N`` inside the run's folder. A new one is written whole under another name,
flushed and renamed before ``state/latest`` points to it and the old one goes.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpt1.atomic import atomic_folder, write_text_atomic
from gpt1.errors import CheckpointError


@dataclass
class LoopState:
    """Counters of the training loop.

    Attributes:
        step: Updates done.
        tokens: Targets trained on.
        elapsed_s: Seconds spent training.
        first_loss: Validation loss before the first update, nats, or None without validation.
        best_loss: Lowest validation loss since, nats, or None before the first.
        best_figure: What the kept weights were chosen by: that loss, or a metric of the task.
        best_step: Where it was.
        stale: Validations in a row without a better loss.
    """

    step: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    first_loss: float | None = None
    best_loss: float | None = None
    best_figure: float | None = None
    best_step: int = 0
    stale: int = 0


def save_state(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: LoopState
) -> None:
    """Write everything needed to go on as if the run had never stopped.

    Args:
        folder: ``state`` in the run's folder.
        model: Its weights are kept.
        optimizers: Their moments are kept; rates follow from the step.
        state: The counters.
    """
    name = f"step-{state.step:08d}"
    with atomic_folder(folder / name) as temporary:
        save_file(model.state_dict(), temporary / "model.safetensors")
        save_file(_moments(optimizers), temporary / "optimizer.safetensors")
        text = json.dumps(dataclasses.asdict(state), indent=2)
        (temporary / "loop.json").write_text(text, encoding="utf-8")
    write_text_atomic(folder / "latest", name)
    for old in folder.glob("step-*"):
        if old.name != name:
            shutil.rmtree(old)


def load_state(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> LoopState:
    """Put a saved state back.

    Args:
        folder: ``state`` in the run's folder.
        model: Gets the weights.
        optimizers: Get the moments.

    Returns:
        The counters.

    Raises:
        CheckpointError: If there is no state, or it is damaged or of another model.
    """
    if not (folder / "latest").exists():
        raise CheckpointError(
            f"nothing to resume: {folder} holds no saved state; start again without --resume, or "
            "in another folder"
        )
    latest = folder / (folder / "latest").read_text(encoding="utf-8").strip()
    try:
        model.load_state_dict(load_file(latest / "model.safetensors"))
        _restore_moments(optimizers, load_file(latest / "optimizer.safetensors"))
        return LoopState(**json.loads((latest / "loop.json").read_text(encoding="utf-8")))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot resume from {latest}: {error}") from error


def _moments(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor of the optimizers' states, by optimizer, parameter and name."""
    return {
        f"{number}.{index}.{name}": tensor
        for number, optimizer in enumerate(optimizers)
        for index, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def _restore_moments(
    optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    for number, optimizer in enumerate(optimizers):
        state_dict = optimizer.state_dict()
        for key, tensor in tensors.items():
            owner, index, name = key.split(".", 2)
            if int(owner) == number:
                state_dict["state"].setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict(state_dict)
