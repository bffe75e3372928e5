"""A folder for CTranslate2: GPT-1 is a decoder with its layer norms behind, and none at the end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt1.model import GPT, Block, Conv1D
from gpt1.text.vocabulary import UNKNOWN
from gpt1.tokenizer import END_OF_TEXT, Tokenizer

_ACTIVATIONS = {"gelu": "GELUTanh", "relu": "RELU", "silu": "SWISH"}


def write(folder: Path, model: GPT, tokenizer: Tokenizer, dtype: str) -> None:
    """Write ``model.bin``, ``config.json`` and ``vocabulary.json``.

    Args:
        folder: Exists.
        model: On the CPU, float32.
        tokenizer: Its pieces are CTranslate2's vocabulary.
        dtype: "float32", "float16" or "int8", by CTranslate2's own quantization.
    """
    from ctranslate2 import specs

    config = model.config
    spec = specs.TransformerDecoderModelSpec.from_config(
        config.n_layer,
        config.n_head,
        pre_norm=False,
        no_final_norm=True,
        activation=specs.Activation[_ACTIVATIONS[config.afn]],
    )
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = _copy(model.tokens_embed.weight)
    spec.decoder.position_encodings.encodings = _copy(model.positions_embed.weight)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    blocks = cast("Iterable[Block]", model.h)
    for layer, block in zip(spec.decoder.layer, blocks, strict=True):
        _set_linear(layer.self_attention.linear[0], block.attn.c_attn)
        _set_linear(layer.self_attention.linear[1], block.attn.c_proj)
        _set_norm(layer.self_attention.layer_norm, block.ln_1)
        _set_linear(layer.ffn.linear_0, block.mlp.c_fc)
        _set_linear(layer.ffn.linear_1, block.mlp.c_proj)
        _set_norm(layer.ffn.layer_norm, block.ln_2)
    spec.register_vocabulary(_vocabulary(tokenizer, config.vocab_size))
    spec.config.unk_token = UNKNOWN
    spec.config.bos_token = spec.config.eos_token = END_OF_TEXT
    spec.config.layer_norm_epsilon = config.layer_norm_epsilon
    spec.validate()
    spec.optimize(quantization=dtype)
    spec.save(str(folder))


def _copy(weight: Tensor) -> NDArray[np.float32]:
    """A weight of its own: CTranslate2 rounds in place."""
    return weight.detach().numpy().copy()  # type: ignore[no-any-return]


def _set_linear(spec: Any, layer: Conv1D) -> None:
    spec.weight, spec.bias = _copy(layer.weight.T), _copy(layer.bias)


def _set_norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _copy(norm.weight), _copy(norm.bias)


def _vocabulary(tokenizer: Tokenizer, rows: int) -> list[str]:
    """All pieces, and a name for each row of the token table that is none of them."""
    pieces = tokenizer.pieces(range(len(tokenizer)))
    return pieces + [f"<row {number}>" for number in range(len(pieces), rows)]
