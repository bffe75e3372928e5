"""Pre-training: a new model, from texts or token shards (GPT-1 sections 3.1 and 4.1)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gpt1.backbone import Backbone, new_backbone
from gpt1.checkpoint import check_device
from gpt1.config import BackboneConfig, GPTConfig, PrepareConfig, TrainingConfig
from gpt1.data.batches import TokenWindows, window_order
from gpt1.data.prepare import prepare
from gpt1.data.shards import Shards, is_shards
from gpt1.tokenizer import Tokenizer
from gpt1.training.distributed import join
from gpt1.training.finetune import sequence_length
from gpt1.training.loop import Job, Trainer
from gpt1.training.objectives import LanguageModeling
from gpt1.training.run import (
    RunResult,
    check_folder,
    complete_run,
    goes_on,
    keep_model,
    snapshot_model,
    write_settings,
)
from gpt1.training.tracking import LogWatcher, Silent, Watcher


def pretrain(
    data: str | Path,
    out: str | Path,
    training: TrainingConfig,
    model: BackboneConfig,
    preparation: PrepareConfig | None = None,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
) -> RunResult:
    """Train a language model from scratch.

    Args:
        data: A folder of token shards or its URL (see `Shards`), or texts (see `TextSource`):
            these become shards in ``out/data``.
        out: Folder of the run; the finished model can be loaded from it.
        training: Length, steps, optimizer.
        model: Shape of a GPT or an LSTM; ``vocab_size`` is taken from the tokenizer.
        preparation: How texts become shards; not used for shards.
        resume: Continue the run in ``out``.
        watch: Told about the progress.

    Returns:
        What came of it.

    Raises:
        ConfigError: If ``out`` is in use and ``resume`` is not asked for, or a setting does not
            fit.
        DataError: If the data cannot be read.
        TrainingError: If the loss stops being finite.
    """
    preparation = preparation or PrepareConfig()
    settings = {
        "data": str(data),
        **_shape(model),
        "prepare": asdict(preparation),
        **asdict(training),
    }
    with join(training.device) as processes:
        watch = (watch or LogWatcher()) if processes.main else Silent()
        resume = goes_on(out, resume=resume, watch=watch)
        with processes.main_first():
            folder = check_folder(out, settings, resume=resume)
            if processes.main:
                write_settings(folder, settings)
            reuse = resume or not processes.main
            shards = _shards(data, folder / "data", reuse=reuse)
            if shards is None:
                shards = prepare([data], folder / "data", preparation, advance=watch.advance)
        tokenizer = Tokenizer.load(shards.folder)
        shards.check_tokenizer(tokenizer.fingerprint)
        torch.manual_seed(training.seed)
        network = new_backbone(model.replace(vocab_size=tokenizer.vocab_size))
        network.to(check_device(training.device))
        job = _job(network, tokenizer, shards, training, folder)
        if job.valid is None:
            watch.note("no validation: less than one sequence of tokens is held out")
        trainer = Trainer(network, training, job, watch=watch, resume=resume)
        return complete_run(trainer, tokenizer, f"Pre-trained on {data}")


def _job(
    network: Backbone, tokenizer: Tokenizer, shards: Shards, training: TrainingConfig, out: Path
) -> Job:
    """Windows of the shards, to be predicted token by token."""
    seq_len = sequence_length(training, network)
    valid = [stream for stream in shards.tokens("valid") if len(stream) >= seq_len]
    return Job(
        train=TokenWindows(shards.tokens("train"), seq_len, training.seed),
        order=window_order,
        valid=TokenWindows(valid, seq_len) if valid else None,
        objective=LanguageModeling(),
        out=out,
        keep=keep_model(out, network, tokenizer),
        snapshot=snapshot_model(out, network, tokenizer),
    )


def _shape(model: BackboneConfig) -> dict[str, Any]:
    """The settings of the model, as the command line takes them."""
    shape = {name: value for name, value in asdict(model).items() if name != "vocab_size"}
    if isinstance(model, GPTConfig):
        return {"model": shape}
    return {"model_type": "lstm", "lstm": shape}


def _shards(data: str | Path, prepared: Path, *, reuse: bool) -> Shards | None:
    """The shards at ``data``, or those a run that is resumed has made; None: make them."""
    places = (data, prepared) if reuse else (data,)
    return next((Shards(place) for place in places if is_shards(place)), None)
