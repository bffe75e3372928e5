"""The model card of a finished run."""

from __future__ import annotations

import platform

import torch

from gpt1.tokenizer import Tokenizer
from gpt1.training.loop import Trainer


def model_card(trainer: Trainer, tokenizer: Tokenizer, origin: str) -> str:
    """Markdown that says what a model is, what it was trained on and how well it does.

    Args:
        trainer: After its run.
        tokenizer: Of the model.
        origin: What the model was made from, one clause.
    """
    model, config, state = trainer.model.config, trainer.config, trainer.state
    rows = {
        "parameters": f"{trainer.model.num_parameters():,}",
        "layers x width x heads": f"{model.n_layer} x {model.n_embd} x {model.n_head}",
        "positions": f"{model.n_positions}",
        "vocabulary": f"{tokenizer.vocab_size:,} (mode {tokenizer.mode})",
        "updates": f"{state.step:,} of {config.batch_size} sequences",
        "tokens trained on": f"{state.tokens:,}",
        "training time": f"{state.elapsed_s / 60:.1f} minutes",
        "hardware": f"{config.device}, {torch.get_num_threads()} threads, {platform.machine()}",
        "optimizer": f"{config.optimizer.name}, peak rate {config.lr:g}, {config.schedule.name}",
    }
    if state.best_loss is not None:
        rows["validation loss"] = f"{state.best_loss:.4f} nats per token, at step {state.best_step}"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"# {trainer.job.out.name}\n\n{origin} with gpt1. A GPT-1 language model.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        "Settings and versions are in `run.yaml`, the course of the run in `metrics.jsonl`.\n"
    )
