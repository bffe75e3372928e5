"""`config.json` and `generation_config.json` of a checkpoint, read and written.

A GPT is an `openai-gpt` of transformers; an LSTM has a type of its own, which only this package
knows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt1.config import BackboneConfig, GenerationConfig, GPTConfig, LSTMConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gpt1.backbone import Backbone

MODEL_TYPES: dict[str, type[BackboneConfig]] = {"openai-gpt": GPTConfig, "gpt1-lstm": LSTMConfig}
"""What ``model_type`` says, and the configuration it is of."""

ACTIVATIONS = {
    "gelu": "gelu",  # transformers, too, computes the tanh form under both names
    "gelu_new": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Names of activations in checkpoints, and ours."""


def read_config(path: Path) -> BackboneConfig:
    """Read the shape of a network; absent fields have the paper's values.

    Args:
        path: The `config.json`.

    Returns:
        The configuration; fields the model has no use for are left out.

    Raises:
        CheckpointError: If the file is missing, damaged, or of another kind of model.
    """
    stored = read_json(path)
    kind = stored.get("model_type")
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{path}: model_type is {kind!r} but must be 'openai-gpt' (GPT-1) or 'gpt1-lstm'"
        )
    if "n_ctx" in stored:  # the older name
        stored.setdefault("n_positions", stored["n_ctx"])
    afn = stored.get("afn", "gelu")
    if str(afn) not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise CheckpointError(f"{path}: afn is {afn!r} but must be one of {allowed}")
    stored["afn"] = ACTIVATIONS[afn]
    config = MODEL_TYPES[kind]
    fields = [field for field in dataclasses.fields(config) if field.name in stored]
    _check_types(path, fields, stored)
    try:
        return config(**{field.name: stored[field.name] for field in fields})
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the file is missing, not JSON or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}); a model folder has config.json, "
            "model.safetensors and a tokenizer"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a JSON object")
    return content


def config_text(model: Backbone, tokenizer: Tokenizer) -> str:
    """The `config.json` that this package and, for a GPT, transformers read."""
    config = model.config
    [kind] = [name for name, type_ in MODEL_TYPES.items() if isinstance(config, type_)]
    shape = dataclasses.asdict(config)
    if isinstance(config, GPTConfig):
        shape |= {"architectures": ["OpenAIGPTLMHeadModel"], "n_ctx": config.n_positions}
    return _to_json(
        {
            "model_type": kind,
            **shape,
            "tie_word_embeddings": True,
            "dtype": str(model.dtype).removeprefix("torch."),
            **_token_ids(tokenizer),
        }
    )


def generation_text(tokenizer: Tokenizer) -> str:
    """The `generation_config.json`: transformers then generates as this package does by default."""
    length = GenerationConfig().max_new_tokens
    return _to_json({"do_sample": False, "max_new_tokens": length, **_token_ids(tokenizer)})


def _token_ids(tokenizer: Tokenizer) -> dict[str, int | None]:
    return {"eos_token_id": tokenizer.end_of_text_id, "pad_token_id": tokenizer.pad_id}


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _check_types(
    path: Path, fields: list[dataclasses.Field[Any]], stored: Mapping[str, Any]
) -> None:
    problems = [
        f"{field.name} is {stored[field.name]!r} but must be a {field.type}"
        for field in fields
        if not isinstance(
            stored[field.name],
            (int, float) if isinstance(field.default, float) else type(field.default),
        )
    ]
    if problems:
        raise CheckpointError(f"{path}: {'; '.join(problems)}")
