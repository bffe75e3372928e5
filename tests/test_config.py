"""Configs: the paper's defaults, and messages that name field, value and what is allowed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

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
    TextConfig,
    TrainingConfig,
)
from gpt1.errors import ConfigError

CONFIGS = [
    CleaningConfig,
    ClusterConfig,
    GPTConfig,
    LSTMConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
    GenerationConfig,
    TextConfig,
    PrepareConfig,
]

BAD_VALUES: list[tuple[type, dict[str, Any], str]] = [
    (GPTConfig, {"vocab_size": 0}, "vocab_size is 0 but must be at least 1"),
    (GPTConfig, {"n_positions": -3}, "n_positions is -3 but must be at least 1"),
    (GPTConfig, {"n_embd": 0}, "n_embd is 0 but must be at least 1"),
    (GPTConfig, {"n_layer": 0}, "n_layer is 0 but must be at least 1"),
    (GPTConfig, {"n_head": 0}, "n_head is 0 but must be at least 1"),
    (GPTConfig, {"embd_pdrop": 1.5}, "embd_pdrop is 1.5 but must be between 0 and 1"),
    (GPTConfig, {"attn_pdrop": -0.1}, "attn_pdrop is -0.1 but must be between 0 and 1"),
    (GPTConfig, {"resid_pdrop": float("nan")}, "resid_pdrop is nan but must be between 0 and 1"),
    (GPTConfig, {"layer_norm_epsilon": -1.0}, "layer_norm_epsilon is -1.0 but must be at least 0"),
    (GPTConfig, {"initializer_range": -1.0}, "initializer_range is -1.0 but must be at least 0"),
    (GPTConfig, {"afn": "tanh"}, "afn is 'tanh' but must be 'gelu', 'relu' or 'silu'"),
    (LSTMConfig, {"n_units": 0}, "n_units is 0 but must be at least 1"),
    (LSTMConfig, {"resid_pdrop": 2.0}, "resid_pdrop is 2.0 but must be between 0 and 1"),
    (LSTMConfig, {"initializer_range": 0.0}, "initializer_range is 0.0 but must be at least 1e-06"),
    (OptimizerConfig, {"name": "sgd"}, "name is 'sgd' but must be 'adamw', 'openai' or 'muon'"),
    (OptimizerConfig, {"beta1": 1.5}, "beta1 is 1.5 but must be between 0 and 0.999999"),
    (OptimizerConfig, {"beta2": -1.0}, "beta2 is -1.0 but must be between 0 and 0.999999"),
    (OptimizerConfig, {"muon_momentum": 2.0}, "muon_momentum is 2.0 but must be between 0 and 0.9"),
    (GPTConfig, {"n_embd": "64"}, "n_embd is '64' but must be a whole number"),
    (GPTConfig, {"n_layer": 2.0}, "n_layer is 2.0 but must be a whole number"),
    (TrainingConfig, {"lr": "fast"}, "lr is 'fast' but must be a number"),
    (TrainingConfig, {"seed": -1}, "seed is -1 but must be between 0 and 4.29497e+09"),
    (TrainingConfig, {"epochs": float("nan")}, "epochs is nan but must be more than 0"),
    (OptimizerConfig, {"epsilon": -1e-8}, "epsilon is -1e-08 but must be at least 0"),
    (OptimizerConfig, {"weight_decay": -0.1}, "weight_decay is -0.1 but must be at least 0"),
    (OptimizerConfig, {"clip_norm": -1.0}, "clip_norm is -1.0 but must be at least 0"),
    (OptimizerConfig, {"muon_lr": -1.0}, "muon_lr is -1.0 but must be at least 0"),
    (
        ScheduleConfig,
        {"name": "step"},
        "name is 'step' but must be 'linear', 'cosine', 'constant' or 'openai'",
    ),
    (ScheduleConfig, {"warmup_steps": -1}, "warmup_steps is -1 but must be at least 0"),
    (ScheduleConfig, {"warmup_fraction": 2.0}, "warmup_fraction is 2.0 but must be between 0 and"),
    (ScheduleConfig, {"final_fraction": -1.0}, "final_fraction is -1.0 but must be between 0 and"),
    (TrainingConfig, {"lr": -1.0}, "lr is -1.0 but must be at least 0"),
    (TrainingConfig, {"epochs": 0.0}, "epochs is 0 but must be more than 0"),
    (TrainingConfig, {"max_steps": 0}, "max_steps is 0 but must be at least 1"),
    (TrainingConfig, {"batch_size": 0}, "batch_size is 0 but must be at least 1"),
    (TrainingConfig, {"micro_batch_size": 0}, "micro_batch_size is 0 but must be at least 1"),
    (TrainingConfig, {"seq_len": 1}, "seq_len is 1 but must be at least 2"),
    (TrainingConfig, {"precision": "fp16"}, "precision is 'fp16' but must be 'fp32' or 'bf16'"),
    (TrainingConfig, {"eval_every_steps": -1}, "eval_every_steps is -1 but must be at least 0"),
    (TrainingConfig, {"eval_batches": 0}, "eval_batches is 0 but must be at least 1"),
    (TrainingConfig, {"patience": 0}, "patience is 0 but must be at least 1"),
    (TrainingConfig, {"save_every_steps": -1}, "save_every_steps is -1 but must be at least 0"),
    (TrainingConfig, {"log_every_steps": 0}, "log_every_steps is 0 but must be at least 1"),
    (TrainingConfig, {"snapshot_steps": (0, -1)}, "snapshot_steps is [0, -1] but each must be a "),
    (GenerationConfig, {"max_new_tokens": 0}, "max_new_tokens is 0 but must be at least 1"),
    (GenerationConfig, {"temperature": -1.0}, "temperature is -1.0 but must be at least 0"),
    (GenerationConfig, {"top_k": 0}, "top_k is 0 but must be at least 1"),
    (GenerationConfig, {"top_p": 0.0}, "top_p is 0.0 but must be above 0 and at most 1"),
    (GenerationConfig, {"n": 0}, "n is 0 but must be at least 1"),
    (GenerationConfig, {"n": 2}, "n is 2 but greedy decoding has one answer; set temperature"),
    (GenerationConfig, {"stop": ("a", "")}, "stop holds an empty string"),
    (TextConfig, {"data": "x", "valid_fraction": 0.6}, "valid_fraction is 0.6 but must be between"),
    (TextConfig, {"data": "x", "max_texts": 0}, "max_texts is 0 but must be at least 1"),
    (PrepareConfig, {"valid_fraction": -0.1}, "valid_fraction is -0.1 but must be between 0 and"),
    (PrepareConfig, {"vocab_size": 70_000}, "vocab_size is 70000 but must be between 2 and 65536"),
    (CleaningConfig, {"min_words": -1}, "min_words is -1 but must be at least 0"),
    (ClusterConfig, {"parts": 0}, "parts is 0 but must be at least 1"),
    (CleaningConfig, {"seed": -1}, "seed is -1 but must be between 0 and 4.29497e+09"),
    (CleaningConfig, {"max_symbol_share": 2}, "max_symbol_share is 2 but must be between 0 and 1"),
    (CleaningConfig, {"max_repeated_lines": -1}, "max_repeated_lines is -1 but must be between 0"),
    (CleaningConfig, {"near_duplicates": 0}, "near_duplicates is 0 but must be between 0.1 and 1"),
    (
        CleaningConfig,
        {"language": "English"},
        "language is 'English' but must be a code of ISO 639",
    ),
    (TaskConfig, {"class_weights": "even"}, "class_weights is 'even' but must be 'balanced', a"),
    (TaskConfig, {"class_weights": {"a": -1}}, "class_weights of 'a' is -1 but must be a number"),
]


@pytest.mark.parametrize(
    ("config", "fields", "message"), BAD_VALUES, ids=[message for _, _, message in BAD_VALUES]
)
def test_a_bad_value_is_refused_by_name_with_what_is_allowed(
    config: type, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**fields)
    assert message in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"n_layer is 0.*; .*embd_pdrop is 2.*; .*afn is 'tanh'"):
        GPTConfig(n_layer=0, embd_pdrop=2, afn="tanh")  # type: ignore[arg-type]


def test_a_head_count_that_does_not_divide_the_width_is_answered_with_ones_that_do() -> None:
    with pytest.raises(ConfigError) as caught:
        GPTConfig(n_embd=48, n_head=5)
    assert str(caught.value) == (
        "n_head is 5 but must divide n_embd, which is 48; try one of [1, 2, 3, 4, 6, 8, 12, 16, 24]"
    )


def test_the_default_model_is_the_papers() -> None:
    config = GPTConfig()
    assert (config.n_layer, config.n_embd, config.n_head, config.head_size) == (12, 768, 12, 64)
    assert (config.n_positions, config.vocab_size, config.afn) == (512, 40_478, "gelu")
    assert (config.embd_pdrop, config.attn_pdrop, config.resid_pdrop) == (0.1, 0.1, 0.1)


def test_the_default_training_is_the_papers_fine_tuning() -> None:
    training = TrainingConfig()
    optimizer, schedule = training.optimizer, training.schedule
    assert (training.lr, training.batch_size, training.epochs) == (6.25e-5, 32, 3)
    assert (optimizer.name, optimizer.weight_decay, optimizer.clip_norm) == ("adamw", 0.01, 1.0)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (schedule.name, schedule.final_fraction) == ("linear", 0.0)


def test_a_changed_copy_is_checked_like_a_new_config() -> None:
    config = GPTConfig(n_embd=64, n_head=4)
    assert config.replace(n_layer=3) == GPTConfig(n_embd=64, n_head=4, n_layer=3)
    with pytest.raises(ConfigError, match="n_head is 7 but must divide n_embd, which is 64"):
        config.replace(n_head=7)


def test_epochs_do_not_matter_where_steps_are_given() -> None:
    assert TrainingConfig(epochs=0, max_steps=5).max_steps == 5


@pytest.mark.parametrize(
    ("settings", "samples"),
    [
        ({}, False),
        ({"temperature": 0.0, "top_k": 5}, False),
        ({"temperature": 0.7}, True),
        ({"top_k": 5}, True),
        ({"top_p": 0.9}, True),
    ],
)
def test_any_sampling_setting_turns_sampling_on_but_temperature_0_is_greedy(
    settings: dict[str, Any], samples: bool
) -> None:
    assert GenerationConfig(**settings).samples is samples


@pytest.mark.parametrize("config", CONFIGS)
def test_configs_cannot_be_changed_and_take_no_positional_values(config: type) -> None:
    made = config(data="x") if config is TextConfig else config()
    name = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(TypeError, match="positional"):
        config(1)
