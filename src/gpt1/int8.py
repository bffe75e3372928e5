"""A `GPT` whose matrices take a byte a number, where PyTorch computes: on a GPU.

As in the C++ library, each `GROUP` inputs of an output share a scale, the one that just reaches the
largest of them; activations keep their format. The newest token of a lone text then needs half the
bytes of 16 bits. For more rows, a matrix is first put together in the format of the activations,
which moves more bytes than 16 bits would: there, int8 saves memory, not time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.errors import CheckpointError
from gpt1.model import GPT, Conv1D
from gpt1.native.library import GROUP, MATRICES
from gpt1.native.weights import NOT_FINITE

logger = logging.getLogger(__name__)

COMPILES = {"cuda"}
"""Types of devices for which the product with one row is compiled; others gain nothing."""

LARGEST = 127


def quantize(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers and scales whose products come next to a matrix.

    Args:
        matrix: ``(O, I)``, finite, any float format.

    Returns:
        ``(O, G, GROUP)``, int8, in ``[-127, 127]``, with ``G = I / GROUP`` rounded up, the surplus
        zero; and scales ``(O, G)``, float16.

    Raises:
        CheckpointError: If a weight is not finite.
    """
    if not matrix.isfinite().all():
        raise CheckpointError(NOT_FINITE)
    values = F.pad(matrix.float(), (0, -matrix.shape[1] % GROUP)).view(len(matrix), -1, GROUP)
    largest = torch.finfo(torch.float16).max
    scales = (values.abs().amax(2) / LARGEST).clamp(max=largest).half()
    inverses = torch.where(scales > 0, 1 / scales.float(), 0.0)
    numbers = (values * inverses[..., None]).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return numbers, scales


def row_product(row: Tensor, numbers: Tensor, scales: Tensor) -> Tensor:
    """A quantized matrix times one row, in float32; compiled, it reads each number once.

    Args:
        row: ``(G, GROUP)``.
        numbers: ``(O, G, GROUP)``, int8.
        scales: ``(O, G)``.

    Returns:
        ``(O,)``, in the format of the row.
    """
    products = numbers.float() * scales.float()[..., None] * row.float()
    return products.flatten(1).sum(1).to(row.dtype)


def matrix_of(numbers: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix ``(O, G * GROUP)`` that numbers and scales stand for, rounded to a format."""
    return (numbers.float() * scales.float()[..., None]).flatten(1).to(dtype)


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, compiled when it is first called; as it is, with a warning, if that fails."""
    compiled = torch.compile(function)
    failed = False

    def call(*arguments: object) -> Tensor:
        nonlocal failed
        if not failed:
            try:
                return compiled(*arguments)
            except RuntimeError as error:
                failed = True
                reason = " ".join(str(error).strip().splitlines()[:2])  # what failed, and in what
                logger.warning("int8 without compiled kernels, which is slower: %s", reason)
        return function(*arguments)

    return call


class Int8Matrix(nn.Module):
    """A matrix in int8.

    Args:
        matrix: ``(O, I)``.
        dtype: Format of what it is multiplied with.
    """

    def __init__(self, matrix: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.inputs, self.dtype = matrix.shape[1], dtype
        numbers, scales = quantize(matrix)
        self.numbers = nn.Buffer(numbers)
        self.scales = nn.Buffer(scales)

    @property
    def matrix(self) -> Tensor:
        """``(O, I)``, put together anew each time."""
        compiles = self.numbers.device.type in COMPILES
        build = _compiled(matrix_of) if compiles else matrix_of
        return build(self.numbers, self.scales, self.dtype)[:, : self.inputs]

    def product(self, x: Tensor) -> Tensor:
        """``(..., I)`` to ``(..., O)``."""
        if x.numel() > self.inputs or x.device.type not in COMPILES:
            return F.linear(x, self.matrix)
        row = F.pad(x.flatten(), (0, -self.inputs % GROUP)).view(-1, GROUP)
        outputs = _compiled(row_product)(row, self.numbers, self.scales)
        return outputs.view(*x.shape[:-1], -1)


class Int8Conv1D(Int8Matrix):
    """What stands for a `gpt1.model.Conv1D`.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: Conv1D) -> None:
        super().__init__(layer.weight.detach().T, layer.weight.dtype)
        self.bias = layer.bias

    @property
    def weight(self) -> Tensor:
        """``(I, O)``."""
        return self.matrix.T

    def forward(self, x: Tensor) -> Tensor:
        """``(..., I)`` to ``(..., O)``."""
        return self.product(x) + self.bias


class Int8Table(Int8Matrix):
    """What stands for a token table.

    Args:
        table: The table.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(table.weight.detach(), table.weight.dtype)

    @property
    def weight(self) -> Tensor:
        """``(V, D)``."""
        return self.matrix

    def forward(self, ids: Tensor) -> Tensor:
        """Rows ``(..., D)`` of ids ``(...)``."""
        numbers, scales = self.numbers[ids].flatten(0, -3), self.scales[ids].flatten(0, -2)
        return matrix_of(numbers, scales, self.dtype)[:, : self.inputs].view(*ids.shape, -1)


class Int8GPT(GPT):
    """A `GPT` to read with; gradients do not go through its matrices.

    Args:
        model: Where its weights are from: what is not a matrix is shared, not copied. Its format is
            that of activations, keys and values.

    Raises:
        CheckpointError: If a weight is not finite.
    """

    form = "int8"

    def __init__(self, model: GPT) -> None:
        with torch.device("meta"):
            super().__init__(model.config)
        self.load_state_dict(model.state_dict(), assign=True)
        self.tokens_embed = Int8Table(self.tokens_embed)  # type: ignore[assignment]
        for block in self.h:
            for name in MATRICES:
                layer = block.get_submodule(name)
                assert isinstance(layer, Conv1D)
                block.set_submodule(name, Int8Conv1D(layer))
        self.requires_grad_(False).eval()

    def lm_head(self, hidden: Tensor) -> Tensor:
        """See `GPT.lm_head`."""
        assert isinstance(self.tokens_embed, Int8Table)
        return self.tokens_embed.product(hidden)
