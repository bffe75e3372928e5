"""What is known of a training run before its first update, as plain data for the doctor's rules."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpt1.atomic import free_bytes
from gpt1.backbone import Backbone
from gpt1.checkpoint import load_model
from gpt1.config import TextConfig, TrainingConfig
from gpt1.data.packing import TokenTexts
from gpt1.locate import WEIGHTS, locate
from gpt1.task_model import TaskModel
from gpt1.tasks.example import Example
from gpt1.text.vocabulary import UNKNOWN
from gpt1.tokenizer import Tokenizer
from gpt1.training.loop import total_steps
from gpt1.training.schedule import lr_factor, warmup_steps

SPECIAL = re.compile(r"<\|[^|>\s]+\|>|</?s>|\[(?:BOS|EOS|SEP|CLS)\]")
"""How people write special tokens."""

MOST_MARKERS = 3
"""Markers looked at, the most frequent ones."""

BYTES_PER_WEIGHT = 4
"""Weights and moments are float32."""


@dataclass(frozen=True)
class Marker:
    """A text that is meant to tell the model something, such as a prefix or an end.

    Attributes:
        text: As it is written.
        ids: Tokens it becomes.
        unknown: How many of them stand for characters the vocabulary does not have.
        texts: Training texts that hold it.
    """

    text: str
    ids: int
    unknown: int
    texts: int


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What the rules look at: a run before its first update.

    A rule whose facts are left at their default has nothing to say.

    Attributes:
        training: Its settings.
        fine_tuned: Whether it begins with trained weights.
        total_steps: Updates.
        warmup_steps: Updates over which the rate rises.
        last_moving_step: The last update whose rate is above 0.
        sequences: Sequences of an epoch.
        tokens: Their tokens.
        parameters: Of the model.
        block_parameters: Of these, those that are no embeddings.
        disk_bytes: What states, snapshots and the model need at most.
        free_bytes: Room for them.
        rows: Rows of the token table as the model was stored.
        entries: Entries of the tokenizer, special tokens left out.
        fingerprint: Of the tokenizer.
        data_fingerprint: Of the tokenizer the data was prepared with.
        texts: Training texts.
        cut: Of these, texts that lose tokens.
        dropped: Of these, texts that are not trained on.
        markers: The prefix, and what stands in the texts like a special token.
        ends: Whether a token of its own ends every text; None: that is not asked for.
        valid_texts: Validation texts.
        seen_texts: Of these, texts that are trained on as well.
    """

    training: TrainingConfig
    fine_tuned: bool
    total_steps: int
    warmup_steps: int
    last_moving_step: int
    sequences: int
    tokens: int
    parameters: int
    block_parameters: int
    disk_bytes: int = 0
    free_bytes: int = 0
    rows: int = 0
    entries: int = 0
    fingerprint: str = ""
    data_fingerprint: str = ""
    texts: int = 0
    cut: int = 0
    dropped: int = 0
    markers: tuple[Marker, ...] = ()
    ends: bool | None = None
    valid_texts: int = 0
    seen_texts: int = 0


def examine(
    network: Backbone | TaskModel,
    training: TrainingConfig,
    *,
    sequences: int,
    tokens: int,
    fine_tuned: bool,
) -> Checkup:
    """The facts every run has.

    Args:
        network: What is trained.
        training: Length, steps, optimizer.
        sequences: Of one epoch.
        tokens: Of these sequences.
        fine_tuned: Whether the network has trained weights.
    """
    steps = total_steps(training, sequences)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    return Checkup(
        training=training,
        fine_tuned=fine_tuned,
        total_steps=steps,
        warmup_steps=round(warmup_steps(training.schedule, steps)),
        last_moving_step=_last_moving_step(training, steps),
        sequences=sequences,
        tokens=tokens,
        parameters=sum(sizes.values()),
        block_parameters=sum(size for name, size in sizes.items() if "_embed." not in name),
    )


def examine_disk(run: Checkup, out: Path) -> Checkup:
    """The same run with what it needs on the disk of its folder, and what is free there."""
    need = disk_need(run.parameters, run.training, run.total_steps)
    return replace(run, disk_bytes=need, free_bytes=free_bytes(out) + _written_bytes(out))


def examine_texts(
    run: Checkup,
    model: str | Path,
    tokenizer: Tokenizer,
    texts: TextConfig,
    splits: Sequence[TokenTexts],
    typed: Counter[str],
) -> Checkup:
    """The same run with what is known of its texts.

    Args:
        run: From `examine`.
        model: "mini", a folder or a hub id: where the run starts from.
        tokenizer: Of the run.
        texts: Which texts, and how they look to the model.
        splits: Their ids: of the training and of the validation texts.
        typed: Texts that hold each marker, from `TypedMarkers`.
    """
    train, valid = splits
    counts = dict(typed.most_common(MOST_MARKERS))
    if texts.prefix:
        counts[texts.prefix] = len(train)
    seen = {hash(text.tobytes()) for text in train}
    return replace(
        examine_vocabulary(run, model, tokenizer),
        texts=len(train),
        markers=tuple(marker(text, tokenizer, texts=n) for text, n in counts.items()),
        ends=texts.end_token is not None,
        valid_texts=len(valid),
        seen_texts=sum(len(text) > 0 and hash(text.tobytes()) in seen for text in valid),
    )


def examine_examples(
    run: Checkup, train: Sequence[Example], valid: Sequence[Example], *, cut: int
) -> Checkup:
    """The same run with what is known of its labelled examples.

    Args:
        run: From `examine`.
        train: To train on.
        valid: To validate with.
        cut: Training examples that were too long.
    """
    seen = {example.segments for example in train}
    return replace(
        run,
        texts=len(train),
        cut=cut,
        valid_texts=len(valid),
        seen_texts=sum(example.segments in seen for example in valid),
    )


def examine_vocabulary(run: Checkup, model: str | Path, tokenizer: Tokenizer) -> Checkup:
    """The same run with the sizes of the model's token table, as stored, and of the tokenizer."""
    entries = tokenizer.vocab_size - len(tokenizer.special_tokens)
    return replace(run, rows=load_model(locate(model)).config.vocab_size, entries=entries)


class TypedMarkers:
    """Texts that are passed on, while what is typed in them like a special token is counted.

    Args:
        texts: Read once.

    Attributes:
        texts_with: Texts that hold each marker.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = texts
        self.texts_with: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.texts_with.update(set(SPECIAL.findall(text)))
            yield text


def marker(text: str, tokenizer: Tokenizer, *, texts: int) -> Marker:
    """What a marker, typed as text, becomes."""
    ids = tokenizer.encode(text)
    return Marker(text, len(ids), ids.count(tokenizer.token_id(UNKNOWN)), texts)


def disk_need(parameters: int, training: TrainingConfig, steps: int) -> int:
    """Bytes a run has on the disk at most: states, snapshots and its model.

    A state holds the weights and two moments. A new state or model is whole before an old one
    goes, so there is one more of each for a while.
    """
    weights = BYTES_PER_WEIGHT * parameters
    snapshots = sum(step <= steps for step in training.snapshot_steps)
    return weights * (3 * _most_states(training, steps) + snapshots + 2)


def _most_states(training: TrainingConfig, steps: int) -> int:
    every, kept = training.save_every_steps or steps, training.states
    most = kept.keep_last + 1
    if kept.keep_every_steps:
        most += (steps - 1) // math.lcm(every, kept.keep_every_steps)
    return min(most, math.ceil(steps / every)) + kept.keep_best


def _written_bytes(out: Path) -> int:
    """What a run that is resumed has on the disk already."""
    files = [*out.glob("state/**/*"), *out.glob("snapshots/**/*"), out / WEIGHTS]
    return sum(file.stat().st_size for file in files if file.is_file())


def _last_moving_step(training: TrainingConfig, steps: int) -> int:
    if training.lr == 0 and training.optimizer.name != "muon":
        return 0
    moving = (n for n in range(steps, 0, -1) if lr_factor(n, steps, training.schedule) > 0)
    return next(moving, 0)
