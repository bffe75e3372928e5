"""What a run of a language model has come to, all in one: figures, samples, copying, cost."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from gpt1.atomic import write_text_atomic
from gpt1.backbone import Backbone
from gpt1.checkpoint import load_model
from gpt1.config import RUN_FILE
from gpt1.evaluation.scoring import perplexity
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.card import hardware, run_facts
from gpt1.training.copying import (
    SEARCHED_TOKENS,
    VARIETY_SIZES,
    Repeats,
    copy_rates,
    distinct,
    repeats,
    training_tokens,
)
from gpt1.training.journal import Sample
from gpt1.training.loop import Trainer
from gpt1.training.samples import write_samples
from gpt1.training.tracking import read_metrics

GENERAL_TEXT = Path(__file__).parents[1] / "assets" / "general.txt"
"""Plain English of many kinds, written for this package."""

SAMPLES = 8
"""Samples in a report, over all prompts; at least one of each."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a run is, for its reports.

    Attributes:
        origin: What the model was made from, one clause.
        command: Words that start such a run; empty where it is part of something larger.
        prompts: What samples begin with.
    """

    origin: str
    command: str
    prompts: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """The loss on a text before the first update and of the model that was kept, nats per token.

    Attributes:
        before: None if it is not known.
        after: Likewise.
    """

    before: float | None
    after: float | None

    @property
    def perplexities(self) -> tuple[float | None, float | None]:
        """``exp`` of both."""
        return _exp(self.before), _exp(self.after)


@dataclass(frozen=True, kw_only=True)
class ReportCard:
    """What a run has come to.

    Attributes:
        title: Name of the run.
        origin: What the model was made from.
        facts: Model and run, for people.
        metrics: Lines of ``metrics.jsonl``.
        validation: Loss on the validation data of the run.
        general: Loss on `GENERAL_TEXT`: a rise is what the run has made the model forget.
        samples: Of the kept model; none of an LSTM.
        copied: Share of the runs of n tokens in the samples that the training data has, by n.
        distinct: Share of the runs of n tokens in the samples that are different, by n.
        repeats: What the training data repeats.
        searched_whole: Whether all training data was looked at for the last three.
        cost: Time, device, operations, memory, for people.
        command: Makes the run again; empty where no command does.
        versions: Of the packages.
    """

    title: str
    origin: str
    facts: Mapping[str, str]
    metrics: Sequence[Mapping[str, Any]]
    validation: Change
    general: Change
    samples: Sequence[Sample]
    copied: Mapping[int, float | None]
    distinct: Mapping[int, float | None]
    repeats: Repeats
    searched_whole: bool
    cost: Mapping[str, str]
    command: str
    versions: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; the lines of metrics are in their own file."""
        data = asdict(self)
        del data["metrics"]
        data["samples"] = [{"prompt": s.prompt, "text": s.text} for s in self.samples]
        return data


def report_card(trainer: Trainer, tokenizer: Tokenizer, about: About) -> ReportCard:
    """Take stock of a complete run.

    Args:
        trainer: After its run.
        tokenizer: Of the model.
        about: What the run is.
    """
    out, job = trainer.job.out, trainer.job
    assert out is not None
    metrics = read_metrics(out / "metrics.jsonl")
    model = load_model(out, device=trainer.config.device)
    samples = _samples(model, tokenizer, about.prompts, trainer.config.seed)
    ids = [sample.ids for sample in samples]
    searched = list(training_tokens(job.train))
    first_general = next((row["general_loss"] for row in metrics if "general_loss" in row), None)
    return ReportCard(
        title=out.name,
        origin=about.origin,
        facts=run_facts(trainer, tokenizer),
        metrics=metrics,
        validation=Change(before=trainer.state.first_loss, after=trainer.state.best_loss),
        general=Change(before=first_general, after=general_loss(model, tokenizer)),
        samples=samples,
        copied=copy_rates(ids, searched) if ids else {},
        distinct={size: distinct(ids, size) for size in VARIETY_SIZES} if ids else {},
        repeats=repeats(job.train),
        searched_whole=sum(map(len, searched)) < SEARCHED_TOKENS,
        cost=_cost(trainer, metrics),
        command=_command(about.command, out),
        versions=(out / RUN_FILE).read_text(encoding="utf-8").splitlines()[0].lstrip("# "),
    )


def write_report(card: ReportCard, out: Path) -> Path:
    """Write ``report.html``, a page that needs no network, and ``report.json``.

    Args:
        card: What to write.
        out: Folder of the run.

    Returns:
        The page.
    """
    from gpt1.training.report_page import html_page

    text = json.dumps(card.as_dict(), indent=2, ensure_ascii=False)
    write_text_atomic(out / "report.json", text + "\n")
    write_text_atomic(out / "report.html", html_page(card))
    return out / "report.html"


def general_loss(model: Backbone, tokenizer: Tokenizer) -> float:
    """Mean loss on the paragraphs of `GENERAL_TEXT`, nats per token."""
    return perplexity(
        model, [(text, tokenizer.encode(text)) for text in _paragraphs()]
    ).nats_per_token


@cache
def _paragraphs() -> list[str]:
    return GENERAL_TEXT.read_text(encoding="utf-8").split("\n\n")


def _samples(
    model: Backbone, tokenizer: Tokenizer, prompts: Sequence[str], seed: int
) -> list[Sample]:
    if not isinstance(model, GPT):
        return []
    each = max(1, SAMPLES // len(prompts))
    return write_samples(model, tokenizer, prompts, seed, n=each)


def _command(words: str, out: Path) -> str:
    again = out.with_name(f"{out.name}-again")
    flags = f"--config {shlex.quote(str(out / RUN_FILE))} --out {shlex.quote(str(again))}"
    return f"gpt1 {words} {flags}" if words else ""


def _cost(trainer: Trainer, metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    state, use = trainer.state, trainer.utilization
    speed = state.tokens / state.elapsed_s if state.elapsed_s else 0.0
    cost = {
        "training time": f"{state.elapsed_s / 60:.1f} minutes",
        "hardware": hardware(trainer.config, trainer.processes.world),
        "speed": f"{speed:,.0f} tokens/s",
    }
    if use is not None:
        cost["operations"] = f"{state.tokens * use.flops_per_token:.3g} FLOPs"
    shares = [row["mfu"] for row in metrics if "mfu" in row]
    if shares:
        busy = " (measured while the machine was busy)" if mean(shares) > 1 else ""
        cost["MFU"] = f"{mean(shares):.1%} of the measured matrix rate{busy}"
    peaks = [row["peak_memory_bytes"] for row in metrics if "peak_memory_bytes" in row]
    if peaks:
        cost["peak memory"] = f"{max(peaks) / 2**20:,.0f} MiB"
    return cost


def _exp(loss: float | None) -> float | None:
    return None if loss is None else math.exp(loss)
