"""A folder for gpt1 itself whose matrices take 8 or 4 bits a number: a quarter or an eighth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from gpt1 import hf_config
from gpt1.errors import ConfigError
from gpt1.locate import CONFIG, WEIGHTS
from gpt1.model import GPT
from gpt1.native.library import kernels
from gpt1.native.model import supports
from gpt1.native_checkpoint import QUANTIZATION, SCALES, quantization, quantized
from gpt1.tokenizer import Tokenizer


def write(folder: Path, model: GPT, tokenizer: Tokenizer, dtype: str) -> None:
    """Write ``config.json`` and ``model.safetensors``, which `gpt1.load` reads.

    Args:
        folder: Exists.
        model: On the CPU, float32.
        tokenizer: Its special ids go into the configuration.
        dtype: "int8" or "int4".

    Raises:
        ConfigError: If the C++ library, which quantizes, is not there or cannot run the model.
        CheckpointError: If a weight is not finite.
    """
    if kernels() is None or not supports(model.config):
        raise ConfigError(
            f"the format {dtype} is made by the C++ library of gpt1 for widths and heads that are "
            f"multiples of 16; here n_embd is {model.config.n_embd}, a head "
            f"{model.config.head_size}, and the library {'is' if kernels() else 'was not'} built"
        )
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, tensor in quantized(model, dtype).items():
        arrays[name] = tensor.array
        if tensor.scales is not None:
            arrays[name + SCALES] = tensor.scales
    save_file(arrays, folder / WEIGHTS, metadata={"format": "np"})
    config = json.loads(hf_config.config_text(model, tokenizer))
    config[QUANTIZATION] = quantization(dtype)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
