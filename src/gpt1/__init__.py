"""The complete GPT-1: load, generate, pre-train, fine-tune, score.

Public names are imported when first used, so that ``import gpt1`` is quick and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gpt1.config import (
        CleaningConfig,
        ClusterConfig,
        GenerationConfig,
        GPTConfig,
        LSTMConfig,
        OptimizerConfig,
        PrepareConfig,
        ScheduleConfig,
        TaskConfig,
        TaskSource,
        TextConfig,
        TrainingConfig,
    )
    from gpt1.estimators import (
        Classifier,
        Features,
        MultipleChoice,
        PairClassifier,
        Regressor,
        Similarity,
    )
    from gpt1.evaluation.predicting import predict
    from gpt1.export.exporting import export_model
    from gpt1.language_model import LanguageModel, load
    from gpt1.lstm import LSTM
    from gpt1.model import GPT
    from gpt1.task_checkpoint import load_task_model
    from gpt1.tasks.splits import TaskData, read_task_data
    from gpt1.tasks.task import Task
    from gpt1.tokenizer import Tokenizer
    from gpt1.training.finetune import finetune_lm
    from gpt1.training.finetune_task import finetune_task
    from gpt1.training.pretrain import pretrain

_HOMES = {
    "Classifier": "estimators",
    "CleaningConfig": "config",
    "ClusterConfig": "config",
    "Features": "estimators",
    "GPT": "model",
    "GPTConfig": "config",
    "GenerationConfig": "config",
    "LSTM": "lstm",
    "LSTMConfig": "config",
    "LanguageModel": "language_model",
    "MultipleChoice": "estimators",
    "OptimizerConfig": "config",
    "PairClassifier": "estimators",
    "PrepareConfig": "config",
    "Regressor": "estimators",
    "ScheduleConfig": "config",
    "Similarity": "estimators",
    "Task": "tasks.task",
    "TaskConfig": "config",
    "TaskData": "tasks.splits",
    "TaskSource": "config",
    "TextConfig": "config",
    "Tokenizer": "tokenizer",
    "TrainingConfig": "config",
    "export_model": "export.exporting",
    "finetune_lm": "training.finetune",
    "finetune_task": "training.finetune_task",
    "load": "language_model",
    "load_task_model": "task_checkpoint",
    "predict": "evaluation.predicting",
    "pretrain": "training.pretrain",
    "read_task_data": "tasks.splits",
}

__all__ = [  # noqa: RUF022 (plain order, capitals first)
    "Classifier",
    "CleaningConfig",
    "ClusterConfig",
    "Features",
    "GPT",
    "GPTConfig",
    "GenerationConfig",
    "LSTM",
    "LSTMConfig",
    "LanguageModel",
    "MultipleChoice",
    "OptimizerConfig",
    "PairClassifier",
    "PrepareConfig",
    "Regressor",
    "ScheduleConfig",
    "Similarity",
    "Task",
    "TaskConfig",
    "TaskData",
    "TaskSource",
    "TextConfig",
    "Tokenizer",
    "TrainingConfig",
    "export_model",
    "finetune_lm",
    "finetune_task",
    "load",
    "load_task_model",
    "predict",
    "pretrain",
    "read_task_data",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt1' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpt1.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
