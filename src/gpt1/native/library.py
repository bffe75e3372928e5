"""The C++ library, loaded through ctypes: what is declared here mirrors `csrc`."""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import (
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_float,
    c_int32,
    c_int64,
    c_uint64,
    c_void_p,
)
from functools import cache
from pathlib import Path

from gpt1 import native

FORMATS = {"float32": 0, "float16": 1, "bfloat16": 2, "int8": 3, "int4": 4}
"""Number formats of a matrix, by the library's numbers."""

ACTIVATIONS = {"gelu": 0, "relu": 1, "silu": 2}
"""Activations, by the library's numbers."""

GROUP = 64
"""Inputs that share a scale in int8 and int4."""

BLOCK = 16
"""Outputs that lie side by side."""

LINE_INPUTS = 32
"""Inputs of a matrix of bfloat16 are a multiple of this."""

SPAN = 64
"""Tokens whose keys lie side by side; a cache has room for whole ones."""

KERNELS = ("amx", "avx512", "avx2", "neon", "portable")
"""Instruction sets there are kernels for; avx512 is that with VNNI, amx that with tiles of int8
besides, neon that with dot products."""

_NAMES = {"darwin": "libgpt1.dylib", "win32": "gpt1.dll"}


class Shape(Structure):
    """Sizes of a network."""

    _fields_ = [
        *((name, c_int32) for name in ("layers", "heads", "width", "positions", "vocabulary")),
        ("activation", c_int32),
        ("epsilon", c_float),
    ]


class Matrix(Structure):
    """A matrix: its format, `inputs` x `outputs`, and where its numbers are."""

    _fields_ = [
        ("format", c_int32),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("data", c_void_p),
        ("scales", c_void_p),
    ]


MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
"""Of a block, in the order of `Layer`."""

NORMS = ("ln_1", "ln_2")
"""Of a block, in the order of `Layer`."""


class Layer(Structure):
    """A block: its `MATRICES`, their biases, then gain and bias of each of its `NORMS`."""

    _fields_ = [
        *((name, Matrix) for name in MATRICES),
        *((f"{name}.bias", c_void_p) for name in MATRICES),
        *((f"{name}.{part}", c_void_p) for name in NORMS for part in ("weight", "bias")),
    ]


class Cache(Structure):
    """Keys and values: see `gpt1.native.model.NativeCache`."""

    _fields_ = [
        ("keys", c_void_p),
        ("values", c_void_p),
        ("format", c_int32),
        ("rows", c_int32),
        ("stride", c_int32),
    ]


_SIGNATURES = {
    "gpt1_kernels": (c_char_p, [c_char_p]),
    "gpt1_new": (
        c_void_p,
        [POINTER(Shape), POINTER(Matrix), c_void_p, POINTER(Layer), c_int32, c_char_p],
    ),
    "gpt1_free": (None, [c_void_p]),
    "gpt1_read": (
        None,
        [
            *(c_void_p, POINTER(Cache), c_int32, c_void_p, c_void_p, c_void_p),
            *(c_int32, c_void_p, c_void_p, c_void_p),
        ],
    ),
    "gpt1_score": (
        None,
        [c_void_p, POINTER(Cache), c_int32, *[c_void_p] * 5],
    ),
    "gpt1_draw": (
        None,
        [c_void_p, c_int32, c_int32, c_void_p, c_void_p, c_int32, c_char_p, c_void_p],
    ),
    "gpt1_gradients": (c_void_p, [c_char_p]),
    "gpt1_attend": (None, [c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_void_p]),
    "gpt1_attend_backward": (None, [*[c_void_p] * 3, c_int64, *[c_void_p] * 4]),
    "gpt1_gelu": (None, [*[c_void_p] * 3, c_int64, c_int32, c_void_p]),
    "gpt1_gelu_backward": (
        None,
        [*[c_void_p] * 3, c_int64, c_int32, c_void_p, c_int64, c_void_p, c_void_p],
    ),
    "gpt1_add_norm": (
        None,
        [*[c_void_p] * 5, c_float, c_void_p, c_int64, c_int32, *[c_void_p] * 3],
    ),
    "gpt1_add_norm_backward": (
        None,
        [*[c_void_p] * 6, c_int64, c_int32, *[c_void_p] * 4],
    ),
    "gpt1_errors": (
        None,
        [c_void_p, c_void_p, c_int64, c_int32, c_int32, *[c_void_p] * 3],
    ),
    "gpt1_product": (
        None,
        [*[c_void_p] * 4, *[c_int64] * 3, c_float, c_float, c_void_p, c_int64],
    ),
    "gpt1_sum_of_squares": (None, [c_void_p, c_void_p, c_int64, c_void_p]),
    "gpt1_hash": (c_uint64, [c_void_p, c_int64, c_uint64]),
    "gpt1_pack": (
        None,
        [c_void_p, c_int32, c_int32, c_int32, c_int64, c_int64, c_void_p, c_int32],
    ),
    "gpt1_quantize": (
        None,
        [c_void_p, c_int32, c_int32, c_int64, c_int64, c_int32, c_void_p, c_void_p, c_int32],
    ),
    "gpt1_csv_column": (
        c_int64,
        [c_char_p, c_int64, c_char, c_int32, c_int32, c_int32, c_void_p, c_void_p, c_void_p],
    ),
    "gpt1_place": (None, [c_void_p, c_int64, c_int64, *[c_void_p] * 3]),
    "gpt1_fill": (
        None,
        [*[c_void_p] * 3, c_int64, *[c_void_p] * 3, c_int64, c_int64, c_int32, c_int32, c_void_p],
    ),
    "gpt1_vocabulary_new": (c_void_p, [c_char_p, c_int64, c_char_p, c_int64, c_int32]),
    "gpt1_vocabulary_free": (None, [c_void_p]),
    "gpt1_vocabulary_encode": (c_int64, [c_void_p, c_char_p, c_int64, c_void_p, c_void_p]),
    "gpt1_words_new": (c_void_p, [c_void_p, c_int32, c_char_p]),
    "gpt1_words_free": (None, [c_void_p]),
    "gpt1_words_learn": (None, [c_void_p, c_char_p, c_int64, c_void_p, c_void_p, c_void_p]),
    "gpt1_words_mark": (None, [c_void_p, c_char_p, c_int64]),
    "gpt1_words_encode": (None, [c_void_p, c_char_p, c_int64, c_void_p]),
    "gpt1_words_finish": (None, [c_void_p, c_void_p]),
}


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or cannot run.

    With ``none`` in the environment variable ``GPT1_KERNELS`` it is not used.
    """
    if os.environ.get("GPT1_KERNELS") == "none" or sys.byteorder != "little":
        return None
    name = _NAMES.get(sys.platform, "libgpt1.so")
    for folder in native.__path__:
        if (Path(folder) / name).exists():
            loaded = ctypes.CDLL(str(Path(folder) / name))
            for function, (result, arguments) in _SIGNATURES.items():
                getattr(loaded, function).restype = result
                getattr(loaded, function).argtypes = arguments
            return loaded
    return None


def kernels(name: str | None = None) -> str | None:
    """The kernels for an instruction set, if this processor can run them.

    Args:
        name: One of `KERNELS`; default: what ``GPT1_KERNELS`` in the environment names, or else the
            best there is.

    Returns:
        Their name, or None.
    """
    loaded, name = library(), name or os.environ.get("GPT1_KERNELS")
    found = loaded and loaded.gpt1_kernels(name.encode() if name else None)
    return found.decode() if found else None


def default_threads() -> int:
    """Threads to compute with: ``OMP_NUM_THREADS``, or as many as there are cores for us."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
