"""One run on many processes, as ``torchrun`` starts them: replicas (DDP) or shards (FSDP2).

Every process computes the gradients of its share of a batch; sums over all processes make the
update, so it is the one a single process would have made. See ``docs/scaling.md``.

What shards a model is imported when it is wanted: it takes half a second and 50 MB.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gpt1.backbone import Backbone
from gpt1.errors import ConfigError
from gpt1.model import GPT
from gpt1.task_model import TaskModel

Strategy: TypeAlias = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them; alone unless `join` says otherwise.

    Attributes:
        rank: Number of this process, from 0.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and tells how the run goes."""
        return self.rank == 0

    def totals(self, *values: float) -> list[float]:
        """Each value summed over all processes, exactly the same in all of them."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=_communication_device())
        dist.all_reduce(tensor)
        return tensor.tolist()

    def wait(self) -> None:
        """Return when all processes have called this."""
        if self.world > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, then in the others, which find what it wrote."""
        if not self.main:
            self.wait()
        try:
            yield
        finally:
            if self.main:
                self.wait()


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the processes ``torchrun`` started; without it, this process is alone.

    Args:
        device: Of the run. On "cuda" each process takes the GPU of its local rank.

    Yields:
        The processes.

    Raises:
        ConfigError: If a certain GPU is named for several processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        yield current()
        return
    kind = torch.device(device)
    if kind.index is not None:
        raise ConfigError(
            f"device is {device!r} but there are {world} processes; name {kind.type!r}, and each "
            "takes its own"
        )
    if kind.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _init_group("nccl" if kind.type == "cuda" else "gloo")
    yield current()
    gc.collect()  # replicas, see `replicated`
    # Not after a failure: there it may wait for a process that has died.
    dist.destroy_process_group()


def _init_group(backend: str) -> None:
    """Meet the other processes.

    Where ``torchrun`` starts them again, its store still holds the addresses of those that died
    (pytorch issue 135712), so each attempt has its own keys. On several nodes the counts of
    attempts may differ; there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 is the remedy.
    """
    if os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        dist.init_process_group(backend)
        return
    store, rank, world = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    attempt = dist.PrefixStore(f"attempt-{_restarts()}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=attempt, rank=rank, world_size=world)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def refuse_many(what: str) -> None:
    """Refuse to be one of many processes.

    Args:
        what: Needs one process only.

    Raises:
        ConfigError: If ``torchrun`` started more.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        raise ConfigError(f"{what} runs in one process but there are {world}; use no torchrun")


def current() -> Processes:
    """The processes of the run this code is part of."""
    if not dist.is_initialized():
        return Processes()
    return Processes(dist.get_rank(), dist.get_world_size())


def launched_rank() -> int:
    """Number of this process among those ``torchrun`` started; 0 if it was started otherwise."""
    return int(os.environ.get("RANK", "0"))


def was_restarted() -> bool:
    """Whether ``torchrun`` started the processes again because one of them died."""
    return _restarts() > 0


def shard(
    model: Backbone | TaskModel, strategy: Strategy, precision: torch.dtype = torch.float32
) -> None:
    """Split a model over all processes, in place, where the strategy is "fsdp".

    Args:
        model: The same in every process; its optimizers are built afterwards.
        strategy: "ddp": every process holds all weights and moments. "fsdp": its share of them.
        precision: Of the matrix products, in which weights are gathered.
    """
    if current().world == 1 or strategy != "fsdp":
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for block in _blocks(model):
        fully_shard(block, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


@contextmanager
def replicated(model: Backbone | TaskModel, strategy: Strategy) -> Iterator[nn.Module]:
    """What is called to compute a loss; under "ddp", it has the processes exchange gradients.

    It is taken apart at the end: were it the last to hold the group of processes, it would wait
    for a thread of gloo that waits for the interpreter.
    """
    if current().world == 1 or strategy != "ddp":
        yield model
        return
    yield DistributedDataParallel(model, gradient_as_bucket_view=True)


def compile_blocks(model: Backbone | TaskModel) -> None:
    """Compile each block by itself, in place: all are alike, so one compilation serves them.

    Raises:
        ConfigError: If the model has no blocks.
    """
    if not _blocks(model):
        raise ConfigError("compile is on but an LSTM has no blocks to compile; turn it off")
    for block in _blocks(model):
        block.compile()
    backbone = model.backbone if isinstance(model, TaskModel) else model
    if isinstance(backbone, GPT):
        backbone.attends_in_blocks = backbone.device.type == "cuda"


def _blocks(model: Backbone | TaskModel) -> list[nn.Module]:
    backbone = model.backbone if isinstance(model, TaskModel) else model
    return list(backbone.h) if isinstance(backbone, GPT) else []


@contextmanager
def gradient_sync(model: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Whether gradients are summed over the processes in backward passes made inside."""
    if isinstance(model, DistributedDataParallel) and not enabled:
        with model.no_sync():
            yield
        return
    if hasattr(model, "set_requires_gradient_sync"):  # it is sharded
        model.set_requires_gradient_sync(enabled)  # type: ignore[operator]
    yield


def sharded(tensor: Tensor) -> bool:
    """Whether a tensor is spread over the processes: a ``DTensor``."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece: the shards of all processes together."""
    return tensor.full_tensor() if sharded(tensor) else tensor  # type: ignore[attr-defined]


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, split over the processes as the other one is."""
    if not sharded(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, other.device_mesh, other.placements)  # type: ignore[attr-defined]


def local_bytes(tensors: Iterable[Any]) -> int:
    """Bytes that tensors take in this process."""
    return sum(t.to_local().nbytes if sharded(t) else t.nbytes for t in tensors)


def _communication_device() -> torch.device:
    """Where the backend wants the tensors it sums."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
