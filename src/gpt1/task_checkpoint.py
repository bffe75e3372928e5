"""Folders of task models; transformers reads them where it has a class for them.

Classes and values: ``OpenAIGPTForSequenceClassification``, with the same logits; of a value, those
are standardised. A similarity is the sum of its logits for the two orders. Choices:
``OpenAIGPTDoubleHeadsModel``. What only this package knows stands in `config.json` under
``gpt1_head``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt1 import hf_config
from gpt1.checkpoint import load_model, read_tensors, write_folder
from gpt1.config import HeadConfig
from gpt1.data.packing import PADDING_ID
from gpt1.errors import CheckpointError, ConfigError
from gpt1.locate import CONFIG
from gpt1.lstm import LSTM
from gpt1.task_model import TaskModel
from gpt1.tokenizer import Tokenizer

KEY = "gpt1_head"
CLASSIFIER, CHOOSER = "score.weight", "multiple_choice_head.summary.weight"


def save_task_model(
    folder: str | Path,
    model: TaskModel,
    tokenizer: Tokenizer,
    *,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write a folder that `load_task_model` and transformers read, all or nothing.

    Args:
        folder: New, empty, or a checkpoint to replace; other files in it stay.
        model: Its weights are written as they are.
        tokenizer: Written beside it.
        files: More text files, name to content.

    Raises:
        ConfigError: If the folder holds something that is not a checkpoint.
        CheckpointError: If the tokenizer has ids the model does not know, or writing fails.
    """
    backbone = model.backbone.state_dict()
    tensors = {f"transformer.{name}": tensor for name, tensor in backbone.items()}
    config = json.loads(hf_config.config_text(model.backbone, tokenizer))
    config |= {"pad_token_id": PADDING_ID, KEY: dataclasses.asdict(model.head)}
    weight = model.score.weight.detach()
    if model.head.kind == "choice":
        config |= {"architectures": ["OpenAIGPTDoubleHeadsModel"], "num_labels": 1}
        config |= {"summary_type": "cls_index", "summary_first_dropout": model.head.clf_pdrop}
        tensors |= {CHOOSER: weight, CHOOSER.replace("weight", "bias"): weight.new_zeros(1)}
        # A copy: this class of transformers does not tie it in every version.
        tensors["lm_head.weight"] = backbone["tokens_embed.weight"].clone()
    else:
        config |= {"architectures": ["OpenAIGPTForSequenceClassification"], **_labels(model.head)}
        tensors[CLASSIFIER] = weight
    if isinstance(model.backbone, LSTM):  # transformers has no class for it
        del config["architectures"]
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_folder(folder, tensors, tokenizer, {**(files or {}), CONFIG: text})


def _labels(head: HeadConfig) -> dict[str, Any]:
    """What transformers calls the outputs."""
    names = head.classes or ("value",)
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "single_label_classification" if head.classes else "regression",
    }


def load_task_model(
    folder: str | Path, *, device: str | torch.device = "cpu"
) -> tuple[TaskModel, Tokenizer]:
    """Read a task model and its tokenizer; the model is in eval mode.

    Args:
        folder: From `save_task_model`.
        device: Where the weights go.

    Raises:
        CheckpointError: If a file is missing or damaged, or the model has no head.
        ConfigError: If the device cannot be used here.
    """
    folder = Path(folder)
    head = read_head(folder)
    backbone = load_model(folder, device=device)
    weight = _head_weight(folder, head, backbone.config.n_embd)
    model = TaskModel(backbone, head)
    with torch.no_grad():
        model.score.weight.copy_(weight)
    return model.eval(), Tokenizer.load(folder)


def is_task_model(folder: Path) -> bool:
    """Whether a folder holds a task model, from what its `config.json` says, if it has one."""
    config = folder / CONFIG
    return config.is_file() and KEY in hf_config.read_json(config)


def read_head(folder: str | Path) -> HeadConfig:
    """What the outputs of a task model mean, without reading its weights.

    Args:
        folder: From `save_task_model`.

    Raises:
        CheckpointError: If there is no model, or it has no head.
    """
    folder = Path(folder)
    stored = hf_config.read_json(folder / CONFIG).get(KEY)
    if not isinstance(stored, dict):
        raise CheckpointError(
            f"{folder} holds a language model without the head of a task; fine-tune it first: "
            "gpt1 finetune task"
        )
    try:
        return HeadConfig(**{**stored, "classes": tuple(stored.get("classes", ()))})
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {KEY}: {error}") from error


def _head_weight(folder: Path, head: HeadConfig, n_embd: int) -> Tensor:
    name = CHOOSER if head.kind == "choice" else CLASSIFIER
    weight = read_tensors(folder).get(name)
    expected = (head.n_outputs, n_embd)
    if weight is None or tuple(weight.shape) != expected:
        found = "none" if weight is None else tuple(weight.shape)
        raise CheckpointError(f"{folder}: {name}: expected {expected}, found {found}")
    return weight
