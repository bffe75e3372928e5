"""What `gpt1 export` can write.

A new format is an entry here, a module that writes its files, and ``assets/export/NAME.md``, which
becomes the README of a folder.
"""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A kind of folder.

    Attributes:
        summary: What it is for, one line.
        dtypes: Number formats of the weights it can have, the default first.
        needs: A package of the extra ``export`` that writes it; None: nothing but gpt1.
        module: Has ``write(folder, model, tokenizer, dtype)``, which fills an existing folder.
    """

    summary: str
    dtypes: tuple[str, ...]
    needs: str | None
    module: str


FORMATS = {
    "onnx": Format(
        summary="ONNX Runtime and other readers of ONNX",
        dtypes=("float32", "int8"),
        needs="onnx",
        module="gpt1.export.onnx_folder",
    ),
    "ctranslate2": Format(
        summary="CTranslate2",
        dtypes=("float32", "float16", "int8"),
        needs="ctranslate2",
        module="gpt1.export.ctranslate2_folder",
    ),
    "int8": Format(
        summary="gpt1 on a CPU, a quarter of the size",
        dtypes=("int8",),
        needs=None,
        module="gpt1.export.quantized_folder",
    ),
    "int4": Format(
        summary="gpt1 on a CPU, an eighth of the size",
        dtypes=("int4",),
        needs=None,
        module="gpt1.export.quantized_folder",
    ),
}

BITS = {"float32": 32, "float16": 16, "int8": 9, "int4": 5}
"""How many a weight takes at most in each number format, its scale included."""

OPSETS = range(17, 24)
"""Versions of ONNX's operators a graph can be written in, the default first: 17 brought layer
normalization."""
