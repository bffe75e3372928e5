"""The recipe doctor: mistakes of a training run, named before its first update with their remedy.

A rule is a function from the facts of a run to a finding, or None where all is well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gpt1.errors import ConfigError, DataError
from gpt1.training.checkup import SPECIAL, Checkup
from gpt1.training.tracking import Watcher

ROUNDING = 128
"""Token tables are often rounded up to a multiple of this, with rows no token has."""


@dataclass(frozen=True)
class Finding:
    """A mistake and what to do about it.

    Attributes:
        rule: Name of the rule.
        severity: "error": the run cannot work; "warning": it can, but hardly as it was meant.
        message: What is wrong, with its size.
        remedy: What to do.
    """

    rule: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity} ({self.rule}): {self.message}; {self.remedy}"


Rule: TypeAlias = Callable[[Checkup], Finding | None]


def warm_up(run: Checkup) -> Finding | None:
    """The warm-up takes more than half of the run."""
    if 2 * run.warmup_steps <= run.total_steps:
        return None
    reached = min(1.0, run.total_steps / run.warmup_steps)
    return Finding(
        "warm-up",
        "warning",
        f"the warm-up lasts {run.warmup_steps:,} updates and the run {run.total_steps:,}, so the "
        f"rate reaches {reached:.2%} of its peak",
        "use --schedule.warmup-fraction 0.02, or train for longer",
    )


def zero_rate(run: Checkup) -> Finding | None:
    """The learning rate is 0 before the run is over."""
    idle = run.total_steps - run.last_moving_step
    if not idle:
        return None
    return Finding(
        "zero-rate",
        "warning",
        f"the learning rate is 0 in the last {idle:,} of {run.total_steps:,} updates, which then "
        "change nothing",
        "make the schedule as long as the run, with an --lr above 0",
    )


def learning_rate(run: Checkup) -> Finding | None:
    """The rate is out of the range that models of this size are trained with."""
    lr = run.training.lr
    low, usual, high = lr_range(run.block_parameters, fine_tuned=run.fine_tuned)
    # Muon trains the blocks at a rate of its own.
    if low <= lr <= high or run.training.optimizer.name == "muon":
        return None
    doing, source = (
        ("fine-tunes", "GPT-1's 6.25e-5 and 3e-4 to 1e-3 for mini")
        if run.fine_tuned
        else ("trains", "Kaplan et al. 2020, eq. D.1, and GPT-1's 2.5e-4")
    )
    return Finding(
        "learning-rate",
        "warning",
        f"lr is {lr:g} but Adam {doing} a model with {run.block_parameters:,} parameters in its "
        f"blocks between {low:.1e} and {high:.1e} (from {source})",
        f"try --lr {usual:.1e}",
    )


def lr_range(block_parameters: int, *, fine_tuned: bool) -> tuple[float, float, float]:
    """Peak rates of Adam that suit a model.

    Args:
        block_parameters: Those that are no embeddings.
        fine_tuned: Whether it begins with trained weights.

    Returns:
        Lowest, usual and highest rate.

    Source: Kaplan et al. 2020, eq. D.1, for the usual rate of pre-training. GPT-1 has 0.36 of it;
    of trial runs with post-norm models of 1.8 M parameters in blocks, one at 1.6 times this rate
    learned and one at 2.4 times did not. For fine-tuning, a power of the size through GPT-1's
    6.25e-5 and the rates found for mini.
    """
    law = 0.003239 - 0.0001395 * math.log(min(block_parameters, 1_000_000_000))
    if not fine_tuned:
        return law / 10, law, law * 2
    usual = min(law, 6.25e-5 * (85_000_000 / block_parameters) ** 0.7)
    return usual / 4, usual, usual * 4


def batch_size(run: Checkup) -> Finding | None:
    """A batch holds more sequences than there are."""
    size = run.training.batch_size
    if size <= run.sequences:
        return None
    return Finding(
        "batch-size",
        "warning",
        f"batch_size is {size:,} but the data has {run.sequences:,} sequences, so every update "
        "reads all of them",
        f"use --batch-size {max(1, run.sequences // 10)}, or more data",
    )


def markers(run: Checkup) -> Finding | None:
    """A marker is not in the vocabulary: it becomes several tokens, or unknown ones."""
    wrong = [m for m in run.markers if m.unknown or (m.ids > 1 and SPECIAL.search(m.text))]
    if not wrong:
        return None
    listed = ", ".join(
        f"{m.text!r} in {m.texts:,} texts becomes {m.ids} tokens"
        + (f", {m.unknown} of them unknown," if m.unknown else "")
        for m in wrong
    ).rstrip(",")
    return Finding(
        "markers",
        "warning",
        f"not in the vocabulary: {listed}",
        "end texts by --end-token, which becomes one token, take markers out of the data, and "
        "write --prefix in plain words",
    )


def stop_token(run: Checkup) -> Finding | None:
    """No token ends a text, so that generation would not know where to stop."""
    if run.ends is not False:
        return None
    return Finding(
        "stop-token",
        "warning",
        "no special token ends the texts, so what the model writes will not end by itself",
        "leave --end-token as it is, '<|endoftext|>'",
    )


def lost_text(run: Checkup) -> Finding | None:
    """Texts are cut or left out."""
    if not run.cut + run.dropped:
        return None
    return Finding(
        "lost-text",
        "warning",
        f"of {run.texts:,} training texts, {run.cut:,} are cut and {run.dropped:,} are not used",
        "shorten them so that what matters comes first, take a model with more positions, or pack "
        "them as gpt1 finetune lm does",
    )


def overlap(run: Checkup) -> Finding | None:
    """Validation texts are trained on."""
    if not run.seen_texts:
        return None
    return Finding(
        "overlap",
        "warning",
        f"{run.seen_texts:,} of {run.valid_texts:,} validation texts are training texts as well, "
        "so the figures say less about new texts",
        "take duplicates out of the data, or give other validation data with --valid-data",
    )


def tokenizer(run: Checkup) -> Finding | None:
    """The tokenizer is that of another model, or not that of the data."""
    remedy = "use the tokenizer the model was trained with"
    if run.data_fingerprint != run.fingerprint:
        theirs, ours = run.data_fingerprint[:12], run.fingerprint[:12]
        message = f"the data was made with another tokenizer ({theirs}) than this one ({ours})"
        return Finding("tokenizer", "error", message, "prepare the data again")
    if run.entries > run.rows:
        message = f"the tokenizer has {run.entries:,} entries but the model knows {run.rows:,}"
        return Finding("tokenizer", "error", message, remedy)
    if run.rows - run.entries >= ROUNDING:
        message = f"the model knows {run.rows:,} tokens but the tokenizer has {run.entries:,}"
        return Finding("tokenizer", "warning", message, remedy)
    return None


def disk(run: Checkup) -> Finding | None:
    """The disk has no room for the states, snapshots and the model."""
    if run.disk_bytes <= run.free_bytes:
        return None
    return Finding(
        "disk",
        "error",
        f"states, snapshots and the model need {run.disk_bytes:,} bytes but {run.free_bytes:,} "
        "are free",
        "free some space, write to another disk with --out, or keep less by --states.keep-last and "
        "--snapshot-steps",
    )


RULES: tuple[Rule, ...] = (
    warm_up,
    zero_rate,
    learning_rate,
    batch_size,
    markers,
    stop_token,
    lost_text,
    overlap,
    tokenizer,
    disk,
)
"""Every rule, in the order its finding is told."""


def diagnose(run: Checkup) -> list[Finding]:
    """All that is wrong with a run."""
    return [finding for rule in RULES if (finding := rule(run))]


def consult(run: Checkup, watch: Watcher) -> None:
    """Tell the findings about a run that is about to begin.

    Raises:
        DataError: If the tokenizer is not that of the data or the model.
        ConfigError: If the run cannot work for another reason.
    """
    findings = diagnose(run)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        kind = DataError if errors[0].rule == "tokenizer" else ConfigError
        raise kind(". Moreover, ".join(f"{f.message}; {f.remedy}" for f in errors))
    for finding in findings:
        watch.note(str(finding))
