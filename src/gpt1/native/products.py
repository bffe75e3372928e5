"""Products of matrices in float32 on the CPU, by what multiplies them fastest.

On processors by AMD that is the OpenBLAS that NumPy comes with: PyTorch's library takes a third
longer there with AVX2 alone and, as it leaves AVX-512 unused, twice as long with that. It runs on
the threads of PyTorch's OpenMP, as threads of two libraries would wait for one another.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpt1.native.gradients import team
from gpt1.native.library import library

LEAST_WORK = 2**22
"""Multiplications of a product below which a call of another library is not worth it."""

_PREFIX = "scipy_"  # of the functions in the OpenBLAS of NumPy's wheels


class _Blas(Structure):
    _fields_ = [("sgemm", c_void_p), ("threads", c_void_p), ("set_threads", c_void_p)]


class _Rowwise(Structure):
    _fields_ = [("data", c_void_p), ("apart", c_int64), ("transposed", c_int32)]


def product(
    a: Tensor, b: Tensor, out: Tensor | None = None, *, alpha: float = 1.0, beta: float = 0.0
) -> Tensor:
    """``alpha a b + beta out``.

    Args:
        a: ``(M, K)``.
        b: ``(K, N)``.
        out: ``(M, N)``, overwritten; default: a new tensor.
        alpha: Factor; 1 without ``out``.
        beta: Factor; with 0, what was in ``out`` does not matter.

    Returns:
        The result, ``out`` if that is given.
    """
    here = a.device.type == "cpu" and not torch.compiler.is_compiling()
    if here and a.numel() * b.shape[1] >= LEAST_WORK and (blas := openblas()) is not None:
        to = a.new_empty(len(a), b.shape[1]) if out is None else out
        factors = (1.0, 0.0) if out is None else (alpha, beta)
        if _multiply(blas, a, b, to, *factors):
            return to
    return a @ b if out is None else torch.addmm(out, a, b, beta=beta, alpha=alpha, out=out)


def _multiply(blas: _Blas, a: Tensor, b: Tensor, out: Tensor, alpha: float, beta: float) -> bool:
    """Do it with OpenBLAS, unless it does not take such tensors."""
    loaded, given, to = library(), (_rowwise(a), _rowwise(b)), _rowwise(out)
    if loaded is None or None in given or to is None or to.transposed:
        return False
    sizes, where = (len(a), b.shape[1], b.shape[0]), (to.data, to.apart)
    pointers = (byref(x) for x in (team(), blas, *given))  # type: ignore[arg-type]
    loaded.gpt1_product(*pointers, *sizes, alpha, beta, *where)
    return True


def _rowwise(x: Tensor) -> _Rowwise | None:
    """How rows or columns of a tensor lie, None if neither are contiguous and apart."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return None
    (rows, columns), (row, column) = x.shape, x.stride()
    if column == 1 and row >= columns:
        return _Rowwise(x.data_ptr(), row, 0)
    if row == 1 and column >= rows:
        return _Rowwise(x.data_ptr(), column, 1)
    return None


@cache
def openblas() -> _Blas | None:
    """NumPy's OpenBLAS where it is the fastest, else None.

    That is told by the processor, not by a clock: the same machine always gets the same numbers.
    """
    if not _is_the_fastest():
        return None
    folder = Path(np.__file__).parent.with_name("numpy.libs")
    names = ("cblas_sgemm64_", "openblas_get_num_threads64_", "openblas_set_num_threads64_")
    for file in folder.glob("libscipy_openblas64_*.so*"):
        loaded = ctypes.CDLL(str(file))
        if all(hasattr(loaded, _PREFIX + name) for name in names):
            functions = (getattr(loaded, _PREFIX + name) for name in names)
            return _Blas(*(ctypes.cast(function, c_void_p) for function in functions))
    return None


def _is_the_fastest() -> bool:
    facts = Path("/proc/cpuinfo")
    return facts.exists() and "AuthenticAMD" in facts.read_text(encoding="utf-8")
