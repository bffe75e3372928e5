"""Small task models of every layout beside a language model, for tests of what is served."""

from __future__ import annotations

from typing import Any

import torch

from gpt1.config import GPTConfig, HeadConfig
from gpt1.model import GPT
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models, ServedTask
from gpt1.task_model import TaskModel
from live_server import lively_models
from tasks.worlds import new_tokenizer

TOKENIZER = new_tokenizer()
HEADS = {
    "reviews": HeadConfig(layout="text", classes=("bad", "good", "dull")),
    "nli": HeadConfig(layout="pair", classes=("no", "yes")),
    "alike": HeadConfig(layout="similarity", label_mean=2.0, label_std=1.5),
    "race": HeadConfig(layout="choice"),
}


def served_task(head: HeadConfig) -> ServedTask:
    config = GPTConfig(
        vocab_size=TOKENIZER.vocab_size,
        n_positions=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
    )
    backbone = GPT(config)
    generator = torch.Generator().manual_seed(0)
    backbone.reset_parameters(generator)
    model = TaskModel(backbone, head)
    model.reset_head(generator)
    return ServedTask(model=model.eval(), tokenizer=TOKENIZER)


def models_of_all_kinds(config: ServingConfig | None = None) -> Models:
    """The language model "lively", and the task models of `HEADS`."""
    models = lively_models(config)
    models.tasks.update({name: served_task(head) for name, head in HEADS.items()})
    return models


def error_of(answer: Any, status: int) -> str:
    """The message of an error that has to be one of that status."""
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]["message"]
    return message
