"""The states a run resumes from: weights, optimizer moments and counters, never pickled.

Each lives in ``state/step-N`` inside the run's folder. A new one is written whole under another
name, with the SHA-256 of its files, flushed and renamed before ``state/latest`` points to it. A run
whose weights are split over processes writes one file a process (torch.distributed.checkpoint); any
number of processes can read either kind.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpt1.atomic import atomic_folder, remove_leftovers, sha256_of, write_text_atomic
from gpt1.config import StatesConfig
from gpt1.errors import CheckpointError
from gpt1.training.distributed import current, like, sharded

log = logging.getLogger(__name__)

CHECKSUMS, COUNTERS, LATEST = "checksums.json", "loop.json", "latest"
WHOLE, SHARDS = "state.safetensors", "shard-*.safetensors"


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
        evaluated: Step of the last validation; -1 before the first.
        skipped: Updates left out because something was not finite.
    """

    step: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    first_loss: float | None = None
    best_loss: float | None = None
    best_figure: float | None = None
    best_step: int = 0
    stale: int = 0
    evaluated: int = -1
    skipped: int = 0


def save_state(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    state: LoopState,
    kept: StatesConfig,
) -> None:
    """Write everything needed to go on as if the run had never stopped; all processes call this.

    Args:
        folder: ``state`` in the run's folder.
        model: Its weights are kept.
        optimizers: Their moments are kept; rates follow from the step.
        state: The counters.
        kept: Which older states stay.

    Raises:
        CheckpointError: If it cannot be written; the states before are unchanged.
    """
    name = _name(state.step)
    tensors = _tensors(model, optimizers)
    with _shared_folder(folder / name, sum(t.nbytes for t in tensors.values())) as temporary:
        if any(sharded(tensor) for tensor in tensors.values()):
            _write_shards(temporary, tensors)
        elif current().main:
            save_file(tensors, temporary / WHOLE)
        if current().main:
            text = json.dumps(dataclasses.asdict(state), indent=2)
            (temporary / COUNTERS).write_text(text, encoding="utf-8")
            sums = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            (temporary / CHECKSUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")
    if current().main:
        write_text_atomic(folder / LATEST, name)
        _prune(folder, state, kept)


def load_state(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> LoopState:
    """Put the newest undamaged state back; all processes call this.

    Args:
        folder: ``state`` in the run's folder.
        model: Gets the weights.
        optimizers: Get the moments.

    Returns:
        The counters.

    Raises:
        CheckpointError: If there is no state, or all are damaged, or it is of another model.
    """
    newest = _newest_intact(folder)
    try:
        if (newest / WHOLE).exists():
            tensors = load_file(newest / WHOLE)
        else:
            tensors = _read_shards(newest, model, optimizers)
        _restore(tensors, model, optimizers)
        return LoopState(**json.loads((newest / COUNTERS).read_text(encoding="utf-8")))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot resume from {newest}: {error}") from error


def find_damage(state: Path) -> str | None:
    """What is wrong with the files of a saved state.

    Args:
        state: Its folder, ``state/step-N``.

    Returns:
        One clause that names the file, or None if all is as it was written.
    """
    try:
        sums = json.loads((state / CHECKSUMS).read_text(encoding="utf-8"))
        for name, expected in sums.items():
            if sha256_of(state / name) != expected:
                return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{CHECKSUMS} cannot be read: {error}"
    return None


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


@contextmanager
def _shared_folder(path: Path, size_bytes: int) -> Iterator[Path]:
    """An `atomic_folder` that all processes fill; it appears when the last of them is done."""
    processes = current()
    if processes.main:
        with atomic_folder(path, size_bytes=size_bytes) as temporary:
            _told_by_main(str(temporary))
            yield temporary
            processes.wait()
    else:
        yield Path(_told_by_main(""))
        processes.wait()
    processes.wait()


def _told_by_main(text: str) -> str:
    """The main process's text, in all processes."""
    if current().world == 1:
        return text
    told = [text]
    dist.broadcast_object_list(told)
    return told[0]


def _prune(folder: Path, state: LoopState, kept: StatesConfig) -> None:
    """Delete older states, but for those to be kept."""
    older = sorted(_step_of(path) for path in folder.glob("step-*"))
    steps = [step for step in older if step <= state.step]
    stay = set(steps[-kept.keep_last :])
    if kept.keep_every_steps:
        stay |= {step for step in steps if step and step % kept.keep_every_steps == 0}
    if kept.keep_best:
        stay.add(state.best_step)
    for step in set(steps) - stay:
        shutil.rmtree(folder / _name(step))


def _newest_intact(folder: Path) -> Path:
    """The state that was saved last, or, where its files are damaged, one before; says so."""
    found = ""
    if current().main:
        for room in (folder, folder.parent):
            remove_leftovers(room, older_than_s=0)
        found = str(_search(folder) or "")
    found = _told_by_main(found)
    if not found:
        raise CheckpointError(
            f"nothing to resume: {folder} holds no saved state that is whole; start again without "
            "--resume, or in another folder"
        )
    return Path(found)


def _search(folder: Path) -> Path | None:
    latest = folder / LATEST
    first = latest.read_text(encoding="utf-8").strip() if latest.exists() else ""
    states = sorted(folder.glob("step-*"), key=_step_of, reverse=True)
    for state in sorted(states, key=lambda path: path.name != first):
        damage = find_damage(state)
        if damage is None:
            return state
        log.warning("the saved state %s is damaged: %s; trying the one before", state, damage)
    return None


def _tensors(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Weights, and every tensor of the optimizers' states by optimizer, parameter and name."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for name, tensor in moments.items():
                tensors[f"optimizer.{number}.{index}.{name}"] = tensor
    return tensors


def _write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Each process writes what it holds."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def _read_shards(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The tensors of a state that was written by many processes, as this one holds them."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    stored = reader.read_metadata().state_dict_metadata.keys()
    if any(name.startswith("optimizer.") for name in stored):
        _make_moments(model, optimizers)
    tensors = _tensors(model, optimizers)
    if stored != tensors.keys():
        missing = sorted(stored ^ tensors.keys())[0]
        raise ValueError(f"{missing} is in the state or in the run, but not in both")
    with warnings.catch_warnings():  # it warns that one process is no group
        warnings.simplefilter("ignore")
        load(tensors, storage_reader=reader, no_dist=current().world == 1)
    return tensors


def _make_moments(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Have the optimizers make the tensors of their states, by an update that changes nothing."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Put tensors, whole or in shards, to where they belong."""
    weights = model.state_dict()
    model.load_state_dict(
        {
            name: _split(tensors[f"model.{name}"], weight)
            for name, weight in weights.items()
            if f"model.{name}" in tensors
        }
    )
    for number, optimizer in enumerate(optimizers):
        state_dict = optimizer.state_dict()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for key, tensor in tensors.items():
            if key.startswith(f"optimizer.{number}."):
                index, name = key.split(".", 3)[2:]
                moments = state_dict["state"].setdefault(int(index), {})
                moments[name] = _split(tensor, parameters[int(index)])
        optimizer.load_state_dict(state_dict)


def _split(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor split as its parameter is; step counters, and shards, stay as they are."""
    if sharded(tensor) or tensor.dim() != other.dim():
        return tensor
    return like(tensor, other)
