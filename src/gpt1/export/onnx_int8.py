"""Matrices of an ONNX graph as bytes, multiplied in whole numbers by inputs rounded as they come.

A column of a matrix and a row of the token table have a scale of their own; the input of a product
has one for the whole batch, found at run time. The table is stored once and serves both ends of the
network, which ONNX Runtime's own quantizer does not do. Layer norms, biases, positions and
attention stay float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpt1.export.onnx_graph import Floats, Graph

ZERO = 128
"""The byte that stands for 0. Bytes are unsigned: where processors before 2019 multiply signed with
unsigned ones, sums overflow unseen."""

LARGEST = 127
"""How far from it a byte is."""


class Int8Weights:
    """Weights of one byte each; see `gpt1.export.onnx_graph.Weights`.

    Args:
        graph: Gets them.
        table: The token table, ``(V, D)``.
    """

    def __init__(self, graph: Graph, table: Floats) -> None:
        self.graph = graph
        stored, scales = quantize(table, axis=1)
        self.table = graph.weight("tokens_embed.weight", stored)
        self.scales = graph.weight("tokens_embed.scales", scales[:, 0])
        self.zero = graph.weight("zero", np.array(ZERO, np.uint8))

    def embed(self, ids: str) -> str:
        """See `Weights`."""
        from onnx import TensorProto

        add = self.graph.add
        rows = add("Cast", add("Gather", self.table, ids), to=TensorProto.FLOAT)
        scales = add("Unsqueeze", add("Gather", self.scales, ids), self.graph.vector(-1))
        return add("Mul", add("Sub", rows, self.graph.float_number(ZERO)), scales)

    def multiply(self, x: str, name: str, matrix: Floats) -> str:
        """See `Weights`."""
        stored, scales = quantize(matrix, axis=0)
        prefix = name.removesuffix("weight")
        scale = self.graph.weight(f"{prefix}scales", scales[0])
        return self._product(x, self.graph.weight(name, stored), scale)

    def score(self, x: str) -> str:
        """See `Weights`."""
        return self._product(x, self.graph.add("Transpose", self.table, perm=(1, 0)), self.scales)

    def _product(self, x: str, matrix: str, scales: str) -> str:
        from onnx import TensorProto

        add = self.graph.add
        whole, scale, zero = self.graph.split("DynamicQuantizeLinear", x, outputs=3)
        sums = add("MatMulInteger", whole, matrix, zero, self.zero)
        return add("Mul", add("Cast", sums, to=TensorProto.FLOAT), add("Mul", scale, scales))


def quantize(matrix: Floats, axis: int) -> tuple[NDArray[np.uint8], Floats]:
    """The nearest bytes: ``(bytes - ZERO) * scales`` is within half a scale of the matrix.

    Args:
        matrix: ``(rows, columns)``.
        axis: Along which numbers share a scale: 0, a column; 1, a row.

    Returns:
        The bytes, and the scales with one entry along ``axis``.
    """
    scales = np.abs(matrix).max(axis=axis, keepdims=True) / np.float32(LARGEST)
    scales[scales == 0] = 1
    return (np.rint(matrix / scales) + ZERO).astype(np.uint8), scales
