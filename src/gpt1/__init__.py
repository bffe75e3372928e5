"""The complete GPT-1: load, generate, pre-train, fine-tune, score.

Public names are imported when first used, so that ``import gpt1`` is quick and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gpt1.config import (
        GenerationConfig,
        GPTConfig,
        OptimizerConfig,
        PrepareConfig,
        ScheduleConfig,
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
    from gpt1.language_model import LanguageModel, load
    from gpt1.model import GPT
    from gpt1.tokenizer import Tokenizer
    from gpt1.training.finetune import finetune_lm
    from gpt1.training.pretrain import pretrain

_HOMES = {
    "Classifier": "estimators",
    "Features": "estimators",
    "GPT": "model",
    "GPTConfig": "config",
    "GenerationConfig": "config",
    "LanguageModel": "language_model",
    "MultipleChoice": "estimators",
    "OptimizerConfig": "config",
    "PairClassifier": "estimators",
    "PrepareConfig": "config",
    "Regressor": "estimators",
    "ScheduleConfig": "config",
    "Similarity": "estimators",
    "TextConfig": "config",
    "Tokenizer": "tokenizer",
    "TrainingConfig": "config",
    "finetune_lm": "training.finetune",
    "load": "language_model",
    "pretrain": "training.pretrain",
}

__all__ = [  # noqa: RUF022 (plain order, capitals first)
    "Classifier",
    "Features",
    "GPT",
    "GPTConfig",
    "GenerationConfig",
    "LanguageModel",
    "MultipleChoice",
    "OptimizerConfig",
    "PairClassifier",
    "PrepareConfig",
    "Regressor",
    "ScheduleConfig",
    "Similarity",
    "TextConfig",
    "Tokenizer",
    "TrainingConfig",
    "finetune_lm",
    "load",
    "pretrain",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt1' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpt1.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
