"""Pre-training: a new model, from texts or token shards (GPT-1 sections 3.1 and 4.1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gpt1.backbone import Backbone, new_backbone
from gpt1.checkpoint import check_device
from gpt1.config import BackboneConfig, GPTConfig, PrepareConfig, TrainingConfig
from gpt1.data.batches import TokenWindows, some_rows, window_order
from gpt1.data.prepare import prepare
from gpt1.data.shards import Shards, is_shards
from gpt1.data.work import forget_work
from gpt1.tokenizer import Tokenizer
from gpt1.training.checkup import Checkup, examine, examine_disk
from gpt1.training.distributed import join
from gpt1.training.doctor import consult
from gpt1.training.finetune import sequence_length
from gpt1.training.loop import Job, Trainer
from gpt1.training.objectives import LanguageModeling
from gpt1.training.plan import Plan, make_plan
from gpt1.training.report_card import About
from gpt1.training.run import (
    RunResult,
    check_folder,
    complete_run,
    goes_on,
    keep_model,
    snapshot_model,
    write_settings,
)
from gpt1.training.samples import sampler
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
    settings = _settings(data, training, model, preparation)
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
                if not reuse:  # it may be of other texts
                    forget_work(folder / "data")
                shards = prepare([data], folder / "data", preparation, advance=watch.advance)
        run = prepare_shards(shards, training, model)
        consult(examine_disk(run.checkup, folder), watch)
        if run.valid is None:
            watch.note("no validation: less than one sequence of tokens is held out")
        about = About(
            origin=f"Pre-trained on {data}", command="pretrain", prompts=training.sample_prompts
        )
        job = Job(
            train=run.train,
            valid=run.valid,
            order=window_order,
            objective=LanguageModeling(),
            out=folder,
            keep=keep_model(folder, run.network, run.tokenizer),
            snapshot=snapshot_model(folder, run.network, run.tokenizer),
            sample=sampler(run.network, run.tokenizer, about.prompts, training),
        )
        trainer = Trainer(run.network, training, job, watch=watch, resume=resume)
        return complete_run(trainer, run.tokenizer, about)


def plan_pretrain(
    data: str | Path,
    out: str | Path,
    training: TrainingConfig,
    model: BackboneConfig,
    preparation: PrepareConfig | None = None,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
) -> Plan:
    """What `pretrain` would do with the same arguments; nothing is trained, or written to ``out``.

    Texts are prepared in a temporary folder, which takes as long as in a run.

    Raises:
        Gpt1Error: As `pretrain` does before it begins; what its rules find is in the plan.
    """
    preparation, watch = preparation or PrepareConfig(), watch or LogWatcher()
    out = check_folder(out, _settings(data, training, model, preparation), resume=resume)
    with TemporaryDirectory() as folder:
        shards = _shards(data, out / "data", reuse=resume)
        if shards is None:
            shards = prepare([data], folder, preparation, advance=watch.advance)
        run = prepare_shards(shards, training, model)
        checkup = examine_disk(run.checkup, out)
        return make_plan(checkup, run.network, LanguageModeling(), partial(some_rows, run.train))


@dataclass(frozen=True)
class ShardRun:
    """A pre-training that can begin.

    Attributes:
        network: With fresh weights.
        tokenizer: Of the shards.
        train: Windows to train on.
        valid: Windows to validate on, or None.
        checkup: What the doctor looks at, but for the disk.
    """

    network: Backbone
    tokenizer: Tokenizer
    train: TokenWindows
    valid: TokenWindows | None
    checkup: Checkup


def prepare_shards(shards: Shards, training: TrainingConfig, model: BackboneConfig) -> ShardRun:
    """Make the network, and map the tokens of the shards."""
    tokenizer = Tokenizer.load(shards.folder)
    torch.manual_seed(training.seed)
    network = new_backbone(model.replace(vocab_size=tokenizer.vocab_size))
    network.to(check_device(training.device))
    seq_len = sequence_length(training, network)
    train = TokenWindows(shards.tokens("train"), seq_len, training.seed)
    valid = [stream for stream in shards.tokens("valid") if len(stream) >= seq_len]
    tokens = len(train) * seq_len
    run = examine(network, training, sequences=len(train), tokens=tokens, fine_tuned=False)
    return ShardRun(
        network,
        tokenizer,
        train,
        TokenWindows(valid, seq_len) if valid else None,
        replace(
            run,
            fingerprint=tokenizer.fingerprint,
            data_fingerprint=shards.index["tokenizer"],
        ),
    )


def _settings(
    data: str | Path, training: TrainingConfig, model: BackboneConfig, preparation: PrepareConfig
) -> dict[str, Any]:
    """All settings of a run, as plain data."""
    return {
        "data": str(data),
        **_shape(model),
        "prepare": asdict(preparation),
        **asdict(training),
    }


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
