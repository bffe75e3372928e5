"""A folder for ONNX Runtime: ``model.onnx`` and the shape of the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gpt1.errors import CheckpointError
from gpt1.export.formats import BITS, OPSETS
from gpt1.export.onnx_graph import Float32Weights, Floats, Graph, Weights, build_onnx
from gpt1.export.onnx_int8 import Int8Weights
from gpt1.hf_config import config_text
from gpt1.locate import CONFIG
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

LARGEST_BYTES = 2**31 - 1
"""What one protocol buffer can hold."""

_WEIGHTS: dict[str, Callable[[Graph, Floats], Weights]] = {
    "float32": Float32Weights,
    "int8": Int8Weights,
}


def write(
    folder: Path, model: GPT, tokenizer: Tokenizer, dtype: str, opset: int = OPSETS[0]
) -> None:
    """Write ``model.onnx`` and ``config.json``.

    Args:
        folder: Exists.
        model: On the CPU, float32.
        tokenizer: Of the model.
        dtype: "float32" or "int8".
        opset: One of `OPSETS`.

    Raises:
        CheckpointError: If the model is larger than a file of ONNX can be.
    """
    size_bytes = BITS[dtype] * model.num_parameters() // 8
    if size_bytes > LARGEST_BYTES:
        raise CheckpointError(
            f"the model has {size_bytes:,} bytes as {dtype}, and an ONNX file holds "
            f"{LARGEST_BYTES:,}; export it as int8 or to another format"
        )
    graph = build_onnx(model, opset, _WEIGHTS[dtype])
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / CONFIG).write_text(config_text(model, tokenizer), encoding="utf-8")
