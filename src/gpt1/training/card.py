"""The model card of a finished run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from gpt1.config import BackboneConfig, GPTConfig, TrainingConfig
from gpt1.task_model import TaskModel
from gpt1.tokenizer import Tokenizer
from gpt1.training.loop import Trainer


def model_card(trainer: Trainer, tokenizer: Tokenizer, name: str, origin: str) -> str:
    """Markdown that says what a model is, what it was trained on and how well it does.

    Args:
        trainer: After its run.
        tokenizer: Of the model.
        name: Title of the card.
        origin: What the model was made from, one clause.
    """
    model = trainer.model.config
    table = "\n".join(
        f"| {name} | {value} |" for name, value in run_facts(trainer, tokenizer).items()
    )
    kind = "A GPT-1 language model" if isinstance(model, GPTConfig) else "An LSTM language model"
    return (
        f"# {name}\n\n{origin} with gpt1. {kind}.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        "Settings and versions are in `run.yaml`, the course of the run in `metrics.jsonl`.\n"
    )


def run_facts(trainer: Trainer, tokenizer: Tokenizer) -> dict[str, str]:
    """Model and run in a table, for people.

    Args:
        trainer: After its run.
        tokenizer: Of the model.
    """
    model, config, state = trainer.model.config, trainer.config, trainer.state
    rows = {
        "parameters": f"{trainer.model.num_parameters():,}",
        **_shape(model),
        "positions": f"{model.n_positions}",
        "vocabulary": f"{tokenizer.vocab_size:,} (mode {tokenizer.mode})",
        "updates": f"{state.step:,} of {config.batch_size} sequences",
        "tokens trained on": f"{state.tokens:,}",
        "training time": f"{state.elapsed_s / 60:.1f} minutes",
        "hardware": hardware(config, trainer.processes.world),
        "optimizer": f"{config.optimizer.name}, peak rate {config.lr:g}, {config.schedule.name}",
    }
    if state.best_loss is not None:
        rows["validation loss"] = f"{state.best_loss:.4f} nats per token, at step {state.best_step}"
    return rows


def hardware(config: TrainingConfig, world: int) -> str:
    """What a run was trained on, for people.

    Args:
        config: Names the device.
        world: Processes.
    """
    device = torch.device(config.device)
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    else:
        what = f"{device}, {torch.get_num_threads()} threads, {platform.machine()}"
    return what if world == 1 else f"{world} x {what}"


def _shape(config: BackboneConfig) -> dict[str, str]:
    if isinstance(config, GPTConfig):
        return {"layers x width x heads": f"{config.n_layer} x {config.n_embd} x {config.n_head}"}
    return {"units, width": f"{config.n_units}, {config.n_embd}"}


def task_card(
    name: str, model: TaskModel, result: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    """Markdown that says what a task model tells apart, and how well.

    Args:
        name: Title of the card.
        model: After its run.
        result: What came of the run, as plain data.
        settings: Of the run.
    """
    head = model.head
    outputs = {
        "class": f"one of {', '.join(head.classes)}",
        "value": f"a value: output x {head.label_std:.6g} + {head.label_mean:.6g}",
        "choice": "which of several options is right",
    }
    rows = {
        "task": head.task,
        "layout": f"{head.layout}, see GPT-1 figure 1",
        "predicts": outputs[head.kind],
        "fine-tuned from": settings["model"],
        "examples": f"{result['train_examples']:,}",
        "updates": f"{result['step']:,} of {settings['batch_size']} examples, best at "
        f"{result['best_step']:,}",
        "rate, lm_coef": f"{settings['lr']:g}, {settings['lm_coef']:g}",
        "training time": f"{result['elapsed_s'] / 60:.1f} minutes",
        **{
            f"{metric} on {result['valid_examples']:,} validation examples": f"{value:.4f}"
            for metric, value in result["metrics"].items()
        },
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"# {name}\n\nA GPT-1 fine-tuned on a labelled task with gpt1.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        "Settings and versions are in `run.yaml`, the course of the run in `metrics.jsonl`.\n"
    )
