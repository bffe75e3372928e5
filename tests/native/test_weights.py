"""Weights for the C++ kernels: read from files, laid out and quantized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from gpt1.errors import CheckpointError
from gpt1.native.library import BLOCK, GROUP, kernels
from gpt1.native.weights import Arena, Packed, Tensor, layout, map_file, pack, unpack

needs_library = pytest.mark.skipif(kernels() is None, reason="the C++ kernels were not built")


def unpacked(packed: Packed) -> NDArray[np.float32]:
    """The matrix ``(inputs, outputs)`` a packed one stands for."""
    if packed.scales is not None:
        tensor = Tensor(packed.format, packed.data, packed.scales)
        return unpack(tensor, packed.inputs, packed.outputs)
    data = packed.data.view(np.float16) if packed.format == "float16" else packed.data
    floats = Tensor(packed.format, data).floats()
    if packed.format == "bfloat16":  # two inputs lie together
        floats = floats.swapaxes(2, 3).reshape(len(floats), -1, BLOCK)
    matrix = floats.transpose(1, 0, 2).reshape(floats.shape[1], -1)
    return matrix[: packed.inputs, : packed.outputs]


def test_the_layout_is_the_one_described() -> None:
    """By its definition, a number at a time."""
    for form, together in (("int8", 4), ("int4", 8)):
        inputs, outputs = 70, 20
        shapes = layout(form, inputs, outputs)
        assert shapes.scales is not None
        random = np.random.default_rng(0)
        data = random.integers(0, 256, shapes.data, np.uint8)
        scales = random.random(shapes.scales).astype(np.float16)
        matrix = unpack(Tensor(form, data, scales), inputs, outputs)
        for i in (0, 3, 4, 5, 63, 64, 69):
            for o in (0, 15, 16, 19):
                byte = int(data[o // 16, i // together, o % 16, i % 4])
                half = byte & 15 if i % 8 < 4 else byte >> 4
                number = half - 8 if form == "int4" else int(np.int8(byte - 256 * (byte > 127)))
                scale = np.float32(scales[o // 16, i // 64, o % 16])
                assert matrix[i, o] == np.float32(number) * scale


def packed(matrix: NDArray[np.float32], form: str, *, transposed: bool = False) -> Packed:
    return pack(Tensor("float32", matrix), form, Arena(2**20), transposed=transposed, threads=2)


matrices = st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(0, 99)).map(
    lambda sizes: (
        np.random.default_rng(sizes[2])
        .standard_normal((16 * sizes[0], sizes[1]))
        .astype(np.float32)
    )
)


@needs_library
@given(matrix=matrices, transposed=st.booleans())
def test_floats_are_laid_out_as_they_are(matrix: NDArray[np.float32], transposed: bool) -> None:
    given_ = matrix.T.copy() if transposed else matrix
    np.testing.assert_array_equal(
        unpacked(packed(given_, "float32", transposed=transposed)), matrix
    )
    halves = unpacked(packed(given_, "float16", transposed=transposed))
    np.testing.assert_array_equal(halves, matrix.astype(np.float16))
    brain = unpacked(packed(given_, "bfloat16", transposed=transposed))
    np.testing.assert_array_equal(brain, torch.tensor(matrix).bfloat16().float().numpy())


@needs_library
@given(matrix=matrices, transposed=st.booleans())
def test_int8_is_within_half_a_step(matrix: NDArray[np.float32], transposed: bool) -> None:
    found = unpacked(
        packed(matrix.T.copy() if transposed else matrix, "int8", transposed=transposed)
    )
    for start in range(0, len(matrix), GROUP):
        group = matrix[start : start + GROUP]
        step = np.abs(group).max(0) / 127
        assert (
            np.abs(found[start : start + GROUP] - group) <= 0.502 * step + 127 * step / 2**11
        ).all()


@needs_library
@given(matrix=matrices)
def test_int4_is_no_worse_than_the_scale_that_reaches_the_largest(
    matrix: NDArray[np.float32],
) -> None:
    """The other rule, as NumPy has it: scale = extreme / -8."""
    found = unpacked(packed(matrix, "int4"))
    for start in range(0, len(matrix), GROUP):
        group = matrix[start : start + GROUP].astype(np.float64)
        extreme = group[np.abs(group).argmax(0), np.arange(group.shape[1])]
        scale = (extreme / -8).astype(np.float16).astype(np.float64)
        plain = np.clip(np.rint(group / scale), -8, 7) * scale
        ours = ((found[start : start + GROUP] - group) ** 2).sum(0)
        assert (ours <= ((plain - group) ** 2).sum(0) * 1.0001 + 1e-9).all()


@needs_library
@pytest.mark.parametrize("form", ["int8", "int4"])
def test_zeros_stay_zeros_and_what_is_no_number_is_refused(form: str) -> None:
    assert (unpacked(packed(np.zeros((64, 16), np.float32), form)) == 0).all()
    for wrong in (np.nan, np.inf):
        matrix = np.ones((64, 16), np.float32)
        matrix[3, 5] = wrong
        with pytest.raises(CheckpointError, match="not a finite number"):
            packed(matrix, form)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_file_is_read_as_torch_reads_it(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7).to(dtype)}
    save_file(stored, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = map_file(tmp_path / "x.safetensors")
    assert found.keys() == stored.keys()
    for name, tensor in stored.items():
        np.testing.assert_array_equal(found[name].floats(), tensor.float().numpy())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match="missing"):
        map_file(file)
    save_file({"a": torch.randn(30)}, file)
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:6],
        whole[:40],
        whole[:-1],
        b"\xff" * 64,
        whole[:8] + b"[]" + whole[10:],
    ):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"x\.safetensors is missing, cut short"):
            map_file(file)
    save_file({"a": torch.ones(3, dtype=torch.int64)}, file)
    with pytest.raises(CheckpointError, match="a holds I64"):
        map_file(file)
