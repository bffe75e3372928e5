"""What an update says beside its loss: use of the machine, movement of the weights, memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt1.config import BackboneConfig, TrainingConfig
from gpt1.flops import matrix_rate, mfu, training_flops_per_token
from gpt1.training.distributed import whole


class Utilization:
    """The share of what the machine could do that a language-model run makes use of.

    Measures the machine, which takes part of a second, the first time in a process.

    Args:
        model: Shape of the model.
        config: Of the run: length of the sequences and arithmetic.
        device: Of the model.
        world_size: Devices the run is spread over.
    """

    def __init__(
        self,
        model: BackboneConfig,
        config: TrainingConfig,
        device: torch.device,
        world_size: int = 1,
    ) -> None:
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.flops_per_token = training_flops_per_token(model, config.seq_len or model.n_positions)
        self.rate = matrix_rate(device, dtype)
        self.world_size = world_size

    def at(self, tokens_per_s: float) -> float:
        """The `gpt1.flops.mfu` of a speed, of all devices together."""
        return mfu(tokens_per_s * self.flops_per_token, self.rate, self.world_size)


class Movement:
    """How far an update moves the matrices of a model; made before it and asked after it.

    Args:
        model: To be updated in place. A copy of its matrices and tables is kept.
    """

    def __init__(self, model: nn.Module) -> None:
        self.matrices = [p.detach() for p in model.parameters() if p.dim() > 1]
        self.before = [matrix.clone() for matrix in self.matrices]

    def ratio(self) -> float:
        """Norm of the update over the norm of the weights before it; 0 where these are 0.

        To be asked once: the copy becomes the update, as a third of that size would be too much.
        """
        weights = _norm(self.before)
        for before, after in zip(self.before, self.matrices, strict=True):
            before.sub_(after)
        return _norm(self.before) / weights if weights else 0.0


def _norm(tensors: Sequence[Tensor]) -> float:
    """Of all numbers together, those of other processes included."""
    return float(torch.stack([whole(t.float().norm()) for t in tensors]).norm())


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory used so far: of the GPU by torch, or of the main memory by the process.

    Args:
        device: Of the run.

    Returns:
        Bytes, or None where the system does not say (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
