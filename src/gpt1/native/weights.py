"""Weights as the C++ kernels read them: a safetensors file mapped into memory, or torch's own."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import CheckpointError
from gpt1.native.library import BLOCK, FORMATS, GROUP, LINE_INPUTS, Matrix, library

# Safetensors' names of number formats: ours, and how NumPy holds them.
_STORED: dict[str, tuple[str, Any]] = {
    "F32": ("float32", np.float32),
    "F16": ("float16", np.float16),
    "BF16": ("bfloat16", np.uint16),
    "U8": ("uint8", np.uint8),
}

# How NumPy holds the numbers of a packed matrix.
_KINDS = {"float32": "float32", "float16": "uint16", "bfloat16": "uint16"}

ALIGNMENT = 64
"""Bytes: arrays begin at multiples of a line of the cache."""

NOT_FINITE = (
    "a weight is not a finite number, so its matrix cannot be quantized; the checkpoint is "
    "damaged, or its training diverged: use an earlier one"
)

_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)


class Tensor(NamedTuple):
    """A tensor as a checkpoint stores it.

    Attributes:
        format: One of `gpt1.native.library.FORMATS`, or "uint8".
        array: Its numbers; of bfloat16, the bits as uint16; in int8 and int4, see `layout`.
        scales: In int8 and int4, see `layout`.
    """

    format: str
    array: NDArray[Any]
    scales: NDArray[np.float16] | None = None

    def floats(self) -> NDArray[np.float32]:
        """As float32."""
        if self.format == "bfloat16":
            return (self.array.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(self.array, dtype=np.float32)

    def cast(self, form: str) -> Tensor:
        """In another of the float formats."""
        if form == self.format:
            return self
        floats = self.floats()
        if form == "bfloat16":  # to nearest, ties to even
            bits = floats.view(np.uint32)
            rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
            return Tensor(form, rounded.astype(np.uint16))
        return Tensor(form, floats.astype(form))


class Packed(NamedTuple):
    """A matrix in the layout of the kernels: outputs in blocks of `BLOCK`.

    Attributes:
        format: One of `gpt1.native.library.FORMATS`.
        inputs: Numbers that go in.
        outputs: Numbers that come out.
        data: See `layout`.
        scales: Of int8 and int4, see `layout`.
    """

    format: str
    inputs: int
    outputs: int
    data: NDArray[Any]
    scales: NDArray[np.float16] | None

    def matrix(self) -> Matrix:
        """As the library takes it; keep this alive while that is in use."""
        scales = None if self.scales is None else self.scales.ctypes.data
        return Matrix(
            FORMATS[self.format], self.inputs, self.outputs, self.data.ctypes.data, scales
        )


class Layout(NamedTuple):
    """Shapes and kinds of the arrays of a packed matrix; of its scales, None in float."""

    data: tuple[int, ...]
    kind: str
    scales: tuple[int, ...] | None


def layout(form: str, inputs: int, outputs: int) -> Layout:
    """How a matrix is laid out.

    Args:
        form: One of `gpt1.native.library.FORMATS`.
        inputs: Of the matrix.
        outputs: Of the matrix.

    Returns:
        In float32 and float16, ``(outputs / BLOCK, inputs, BLOCK)``; in bfloat16
        ``(outputs / BLOCK, inputs / 2, BLOCK, 2)``, inputs rounded up to `LINE_INPUTS`. In int8 and
        int4, bytes ``(outputs / BLOCK, inputs / I, BLOCK, 4)``, where I is 4 in int8; in int4 it is
        8, byte j has input j in its low half and input j + 4 in its high half, both plus 8; and
        scales ``(outputs / BLOCK, inputs / GROUP, BLOCK)``, float16. Sizes are rounded up.
    """
    blocks, groups = padded(outputs, BLOCK) // BLOCK, padded(inputs, GROUP) // GROUP
    if form == "bfloat16":
        return Layout((blocks, padded(inputs, LINE_INPUTS) // 2, BLOCK, 2), _KINDS[form], None)
    if form in _KINDS:
        return Layout((blocks, inputs, BLOCK), _KINDS[form], None)
    together = 4 if form == "int8" else 8
    return Layout((blocks, groups * GROUP // together, BLOCK, 4), "uint8", (blocks, groups, BLOCK))


class Arena:
    """Memory for the arrays of a model, in huge pages where the system has them.

    A processor looks up where a page lies for each page it reads. With pages of 4 KB that costs a
    third of the memory's speed, which is why weights are copied out of their file once.

    Args:
        size: Bytes of all arrays; see `size_of`.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, max(1, size), **_PRIVATE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._taken = 0

    @staticmethod
    def size_of(*arrays: tuple[tuple[int, ...], str]) -> int:
        """Bytes of arrays of given shapes and kinds, each on a boundary of its own."""
        return sum(
            padded(math.prod(shape) * np.dtype(kind).itemsize, ALIGNMENT) for shape, kind in arrays
        )

    def take(self, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """An array in it, of zeros."""
        count = math.prod(shape)
        array = np.frombuffer(self._memory, kind, count, self._taken).reshape(shape)
        self._taken += self.size_of((shape, kind))
        return array


def pack(
    tensor: Tensor, form: str, arena: Arena, *, transposed: bool = False, threads: int = 1
) -> Packed:
    """Lay out a matrix for the kernels, quantizing it if asked to.

    Each `GROUP` inputs of an output have a scale of their own: in int8, the one that just reaches
    the largest value; in int4, the one of least squared error.

    Args:
        tensor: ``(inputs, outputs)``.
        form: One of `gpt1.native.library.FORMATS`.
        arena: Where the arrays go.
        transposed: It is ``(outputs, inputs)``, as a token table is.
        threads: To work with.

    Returns:
        The packed matrix.

    Raises:
        CheckpointError: If a weight that is to be quantized is not finite.
    """
    loaded = library()
    assert loaded is not None
    if tensor.scales is not None:
        raise ValueError("the tensor is quantized already; see `place`")
    inputs, outputs = tensor.array.shape[::-1] if transposed else tensor.array.shape
    sizes = (inputs, outputs, *((1, inputs) if transposed else (outputs, 1)))
    shapes = layout(form, inputs, outputs)
    data = arena.take(shapes.data, shapes.kind)
    if shapes.scales is None:
        array = np.ascontiguousarray(tensor.cast(form).array)
        source, target = array.ctypes.data, data.ctypes.data
        loaded.gpt1_pack(source, FORMATS[form], *sizes, target, threads)
        return Packed(form, inputs, outputs, data, None)
    values = tensor.floats()
    if not np.isfinite(values).all():
        raise CheckpointError(NOT_FINITE)
    scales = arena.take(shapes.scales, "float16")
    targets = (data.ctypes.data, scales.ctypes.data)
    loaded.gpt1_quantize(values.ctypes.data, *sizes, FORMATS[form], *targets, threads)
    return Packed(form, inputs, outputs, data, scales)


def forget(array: NDArray[Any]) -> None:
    """Give back the memory of a mapped file an array lies in, as far as it is alone in it.

    The array can still be read: then it is fetched from the file again.
    """
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        start = array.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
        first, end = padded(start, mmap.PAGESIZE), (start + array.nbytes) // mmap.PAGESIZE
        if end * mmap.PAGESIZE > first:
            base.madvise(mmap.MADV_DONTNEED, first, end * mmap.PAGESIZE - first)


def place(tensor: Tensor, inputs: int, outputs: int, arena: Arena) -> Packed:
    """Copy a matrix that is quantized already into an arena.

    Args:
        tensor: In int8 or int4.
        inputs: Of the matrix.
        outputs: Of the matrix.
        arena: Where the arrays go.
    """
    shapes = layout(tensor.format, inputs, outputs)
    assert shapes.scales is not None
    assert tensor.scales is not None
    data, scales = arena.take(shapes.data, shapes.kind), arena.take(shapes.scales, "float16")
    data[:], scales[:] = tensor.array, tensor.scales
    return Packed(tensor.format, inputs, outputs, data, scales)


def unpack(tensor: Tensor, inputs: int, outputs: int) -> NDArray[np.float32]:
    """The matrix ``(inputs, outputs)`` a quantized tensor stands for."""
    assert tensor.scales is not None
    data = tensor.array
    if tensor.format == "int8":
        numbers = data.view(np.int8).transpose(1, 3, 0, 2)  # (inputs / 4, 4, blocks, BLOCK)
    else:
        halves = np.stack([data & 15, data >> 4], 2).astype(np.int8) - np.int8(8)
        numbers = halves.transpose(1, 2, 4, 0, 3)  # (inputs / 8, 2, 4, blocks, BLOCK)
    whole = numbers.reshape(-1, data.shape[0] * BLOCK).astype(np.float32)
    scales = tensor.scales.astype(np.float32).transpose(1, 0, 2).reshape(-1, whole.shape[1])
    matrix: NDArray[np.float32] = (whole * scales.repeat(GROUP, 0))[:inputs, :outputs]
    return matrix


def padded(number: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-number // unit) * unit


def map_file(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped into memory.

    Args:
        file: The file.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: If it is damaged or holds other numbers.
    """
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            if size > file.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(opened.read(size))
        whole = np.memmap(file, np.uint8, "r", offset=0)
        header.pop("__metadata__", None)
        return {name: _tensor(name, entry, whole, 8 + size) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is missing, cut short or not a safetensors file ({error}); "
            "fetch or save it again"
        ) from error


def _tensor(name: str, entry: dict[str, Any], whole: NDArray[np.uint8], start: int) -> Tensor:
    if entry["dtype"] not in _STORED:
        raise ValueError(f"{name} holds {entry['dtype']}")
    form, kind = _STORED[entry["dtype"]]
    begin, end = entry["data_offsets"]
    count = math.prod(entry["shape"])
    if end - begin != count * np.dtype(kind).itemsize or start + end > len(whole) or begin < 0:
        raise ValueError(f"{name} is not where its header says")
    array = whole[start + begin : start + end]
    if array.ctypes.data % np.dtype(kind).itemsize:
        array = array.copy()
    return Tensor(form, array.view(kind).reshape(entry["shape"]))
