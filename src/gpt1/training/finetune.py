"""Fine-tuning a language model on texts of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from gpt1.backbone import Backbone, require_gpt
from gpt1.checkpoint import load_model
from gpt1.config import TextConfig, TrainingConfig
from gpt1.data.batches import PackedRows, some_rows
from gpt1.data.packing import TokenTexts, pack
from gpt1.data.sources import TextSource
from gpt1.errors import ConfigError, DataError
from gpt1.locate import locate
from gpt1.tokenizer import Tokenizer
from gpt1.training.checkup import Checkup, TypedMarkers, examine, examine_disk, examine_texts
from gpt1.training.distributed import join
from gpt1.training.doctor import consult
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


def finetune_lm(
    model: str | Path,
    texts: TextConfig,
    out: str | Path,
    training: TrainingConfig,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
) -> RunResult:
    """Fine-tune a language model.

    Each text is prefixed, ended by the end token and packed with others into rows where texts do
    not see each other.

    Args:
        model: "mini", a folder or a hub id.
        texts: Which texts, and how they look to the model.
        out: Folder of the run; the best model can be loaded from it.
        training: Length, steps, optimizer.
        resume: Continue the run in ``out``.
        watch: Told about the training.

    Returns:
        What came of it.

    Raises:
        ConfigError: If ``out`` is in use and ``resume`` is not asked for, or a setting does not
            fit.
        CheckpointError: If the model cannot be loaded, or is an LSTM.
        DataError: If the texts cannot be read or are too few.
        TrainingError: If the loss stops being finite.
    """
    settings = {"model": str(model), **asdict(texts), **asdict(training)}
    with join(training.device) as processes:
        watch = (watch or LogWatcher()) if processes.main else Silent()
        resume = goes_on(out, resume=resume, watch=watch)
        with processes.main_first():
            folder = check_folder(out, settings, resume=resume)
            locate(model)
        run = prepare_texts(model, texts, training)
        consult(examine_disk(run.checkup, folder), watch)
        if processes.main:
            write_settings(folder, settings)
        if run.valid is None and (texts.valid_data or texts.valid_fraction):
            watch.note("no validation: no text is held out, or none has two tokens")
        about = About(
            origin=f"Fine-tuned from {model} on {texts.data}",
            command="finetune lm",
            prompts=[(texts.prefix + prompt).strip() for prompt in training.sample_prompts],
        )
        job = Job(
            train=run.train,
            valid=run.valid,
            objective=LanguageModeling(),
            out=folder,
            keep=keep_model(folder, run.network, run.tokenizer),
            snapshot=snapshot_model(folder, run.network, run.tokenizer),
            sample=sampler(run.network, run.tokenizer, about.prompts, training),
        )
        trainer = Trainer(run.network, training, job, watch=watch, resume=resume)
        return complete_run(trainer, run.tokenizer, about)


def plan_finetune_lm(
    model: str | Path,
    texts: TextConfig,
    out: str | Path,
    training: TrainingConfig,
    *,
    resume: bool = False,
) -> Plan:
    """What `finetune_lm` would do with the same arguments; nothing is trained or written.

    Raises:
        Gpt1Error: As `finetune_lm` does before it begins; what its rules find is in the plan.
    """
    settings = {"model": str(model), **asdict(texts), **asdict(training)}
    out = check_folder(out, settings, resume=resume)
    run = prepare_texts(model, texts, training)
    checkup = examine_disk(run.checkup, out)
    return make_plan(checkup, run.network, LanguageModeling(), partial(some_rows, run.train))


@dataclass(frozen=True)
class TextRun:
    """A fine-tuning on texts that can begin.

    Attributes:
        network: With a row for the end token.
        tokenizer: With the end token.
        train: Rows to train on.
        valid: Rows to validate on, or None.
        checkup: What the doctor looks at, but for the disk.
    """

    network: Backbone
    tokenizer: Tokenizer
    train: PackedRows
    valid: PackedRows | None
    checkup: Checkup


def prepare_texts(model: str | Path, texts: TextConfig, training: TrainingConfig) -> TextRun:
    """Load the model, and encode and pack the texts; arguments as of `finetune_lm`."""
    folder = locate(model)
    loaded = load_model(folder, device=training.device, dtype="float32")
    network = require_gpt(loaded, "fine-tuning on packed texts")
    tokenizer = Tokenizer.load(folder, texts.tokenizer_mode)
    torch.manual_seed(training.seed)
    add_end_token(network, tokenizer, texts.end_token)
    seq_len = sequence_length(training, network)
    typed = TypedMarkers(TextSource(texts.data, texts.text_column))
    splits = encode_splits(texts, tokenizer, training.seed, typed)
    train, valid = (packed_rows(ids, seq_len, training.seed) for ids in splits)
    if train is None:
        raise DataError(f"{texts.data} leaves no text to train on; give more, or longer texts")
    tokens = len(splits[0].ids)
    run = examine(network, training, sequences=len(train), tokens=tokens, fine_tuned=True)
    checkup = examine_texts(run, model, tokenizer, texts, splits, typed.texts_with)
    return TextRun(network, tokenizer, train, valid, checkup)


def add_end_token(model: Backbone, tokenizer: Tokenizer, end_token: str | None) -> None:
    """Register the end token with the tokenizer and give it a row of the token table."""
    if end_token is not None:
        tokenizer.add_special_tokens([end_token])
        model.grow_vocabulary(max(tokenizer.vocab_size, model.config.vocab_size))


def sequence_length(training: TrainingConfig, model: Backbone) -> int:
    """Tokens per row: as asked for, at most what the model can take.

    Raises:
        ConfigError: If more is asked for.
    """
    limit = model.config.n_positions
    seq_len = training.seq_len or limit
    if seq_len > limit:
        raise ConfigError(f"seq_len is {seq_len} but the model takes {limit} positions at most")
    return seq_len


def encode_splits(
    config: TextConfig, tokenizer: Tokenizer, seed: int, source: Iterable[str] | None = None
) -> tuple[TokenTexts, TokenTexts]:
    """Token ids of the training and the validation texts, prefix and end token included.

    Held out is a random share of the texts, or, where they are too few for that, the last part of
    each: so a single long text can be trained on. ``source`` stands for the texts of ``data``.
    """
    source = TextSource(config.data, config.text_column) if source is None else source
    texts = encode_texts(source, config, tokenizer)
    if config.valid_data is not None:
        valid = TextSource(config.valid_data, config.text_column)
        return texts, encode_texts(valid, config, tokenizer)
    held_out = round(len(texts) * config.valid_fraction)
    if config.valid_fraction and not held_out:
        kept = np.round(texts.lengths * (1 - config.valid_fraction)).astype(np.int64)
        starts = texts.starts
        return texts.parts(starts, kept), texts.parts(starts + kept, texts.lengths - kept)
    order = np.random.default_rng(seed).permutation(len(texts))
    return texts.select(np.sort(order[held_out:])), texts.select(np.sort(order[:held_out]))


def encode_texts(texts: Iterable[str], config: TextConfig, tokenizer: Tokenizer) -> TokenTexts:
    """Token ids of each text, prefix and end token included."""
    prefixed = (config.prefix + text for text in islice(texts, config.max_texts))
    encoded = TokenTexts(*tokenizer.encode_flat(prefixed))
    if config.end_token is None:
        return encoded
    return encoded.with_end(tokenizer.token_id(config.end_token))


def packed_rows(texts: TokenTexts, seq_len: int, seed: int) -> PackedRows | None:
    """The texts in rows, or None where there is nothing to predict in them."""
    if not (texts.lengths > 1).any():
        return None
    return PackedRows(pack(texts, seq_len, seed=seed))
