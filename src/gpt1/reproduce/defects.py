"""What the tutorial's recipe does wrong, each in numbers beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch

from gpt1.language_model import LanguageModel
from gpt1.model import packed_mask
from gpt1.reproduce.findings import Section, Value
from gpt1.reproduce.packing import OurPacking, TutorialPacking
from gpt1.reproduce.published import SENTENCE
from gpt1.reproduce.recipes import OurRun, Outcome
from gpt1.reproduce.tutorial_recipe import (
    LEARNING_RATE,
    PACKS_PER_UPDATE,
    PREFIX,
    WARMUP_UPDATES,
    rate_factor,
)
from gpt1.training.schedule import lr_factor, warmup_steps

PROMPT = PREFIX.strip()
SAMPLES = 8
SAMPLE_TOKENS = 60
GREEDY_TOKENS = 30
MASKS = 100
"""Rows of ours whose attention mask is looked at."""

Row = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Both recipes after their runs.

    Attributes:
        start: The weights both began with.
        tutorial: Outcome of the tutorial's recipe.
        ours: Outcome of ours.
        packing: The tutorial's packs.
        run: Settings and rows of ours.
        seed: Of sampled text.
    """

    start: LanguageModel
    tutorial: Outcome
    ours: Outcome
    packing: TutorialPacking
    run: OurRun
    seed: int


def defects(contest: Contest) -> Section:
    """Each defect of the recipe with its size in this run, beside what gpt1 does."""
    rows = (
        *_schedule(contest),
        *_gradients(contest),
        *_packs(contest),
        *_rest(contest),
    )
    return Section(
        "What the tutorial does wrong",
        ("", "tutorial", "gpt1"),
        rows,
        (
            "Adam divides a gradient by its own size, so that summing instead of averaging changes "
            "little by itself; but a limit on the norm would mean something else for every number "
            "of packs.",
        ),
    )


def _schedule(contest: Contest) -> list[Row]:
    tutorial, ours, training = contest.tutorial, contest.ours, contest.run.training
    warmup = warmup_steps(training.schedule, ours.planned)
    first_after = min(warmup + 1, ours.planned)
    return [
        ("updates", tutorial.updates, ours.updates),
        ("updates of the warm-up", WARMUP_UPDATES, warmup),
        ("peak learning rate that is set", LEARNING_RATE, training.lr),
        ("largest learning rate that is reached", tutorial.largest_lr, ours.largest_lr),
        (
            "that is, % of the peak",
            _percent(tutorial.largest_lr, LEARNING_RATE),
            _percent(ours.largest_lr, training.lr),
        ),
        (
            "learning rate after the warm-up",
            rate_factor(WARMUP_UPDATES) * LEARNING_RATE,
            lr_factor(first_after, ours.planned, training.schedule) * training.lr,
        ),
    ]


def _gradients(contest: Contest) -> list[Row]:
    summed, averaged = contest.tutorial.grad_norms, contest.ours.grad_norms
    limit = contest.run.training.optimizer.clip_norm
    middle = median(summed) if summed else None
    return [
        ("gradient norm of an update, median", middle, median(averaged)),
        (
            "the same as a mean over its packs",
            None if middle is None else middle / PACKS_PER_UPDATE,
            median(averaged),
        ),
        (
            f"updates with a norm above {limit:g}",
            sum(norm > limit for norm in summed),
            sum(norm > limit for norm in averaged),
        ),
        ("are they clipped to it", False, limit > 0),
    ]


def _packs(contest: Contest) -> list[Row]:
    tutorial, ours = contest.packing, contest.run.packing
    first = contest.start.tokenizer.decode(contest.start.tokenizer.encode(PREFIX)[:1])
    used = tutorial.jokes - tutorial.too_long - tutorial.unfinished_jokes
    marked = len(ours.texts) / max(1, len(ours.texts.ids))
    return [
        (f'jokes that lose their first word, "{first}", %', _percent(tutorial.cut, used), 0.0),
        ("ids of an end marker", tutorial.marker_ids // max(1, tutorial.jokes), 1),
        ("ids spent on end markers, %", _percent(tutorial.marker_ids, tutorial.ids), 100 * marked),
        (
            "tokens attended to that are of other jokes, %",
            100 * tutorial.foreign_share,
            100 * foreign_share(ours),
        ),
        (
            "ids never trained on, % of all",
            _percent(tutorial.ids - tutorial.packed_ids, tutorial.ids),
            _percent(ours.lost_ids, len(ours.texts.ids)),
        ),
        ("packs after the last update", tutorial.packs_without_update, 0),
    ]


def _rest(contest: Contest) -> list[Row]:
    tokenizer = contest.start.tokenizer
    [[greedy]] = contest.start.complete(SENTENCE, max_new_tokens=GREEDY_TOKENS)
    ids = [*greedy.prompt_ids, *greedy.ids]
    joined = "".join(tokenizer.decode([token], raw=True) for token in ids)
    text = tokenizer.decode(ids)
    return [
        (
            "jokes held out for validation, %",
            0.0,
            100 * contest.run.texts.valid_fraction if contest.run.valid else 0.0,
        ),
        (
            f"of {SAMPLES} sampled jokes, ended by the model",
            *(ended(outcome.lm, contest.seed) for outcome in (contest.tutorial, contest.ours)),
        ),
        ("a greedy text, ids decoded one by one or together", joined, text),
        ("spaces in it", joined.count(" "), text.count(" ")),
    ]


def foreign_share(ours: OurPacking) -> float:
    """Share of the tokens our rows attend to that belong to other jokes, by the model's mask."""
    foreign = seen = 0
    for row in torch.from_numpy(ours.rows.segment_ids[:MASKS]):
        mask = packed_mask(row[None])[0, 0]
        seen += int(mask.sum())
        foreign += int((mask & (row[:, None] != row)).sum())
    return foreign / seen


def ended(lm: LanguageModel, seed: int) -> int:
    """How many of a few sampled jokes the model ends itself."""
    [jokes] = lm.complete(
        PROMPT, n=SAMPLES, max_new_tokens=SAMPLE_TOKENS, temperature=0.8, top_k=40, seed=seed
    )
    return sum(joke.finish_reason == "stop" for joke in jokes)


def held_out_losses(contest: Contest, held_out: int) -> Section:
    """Loss on jokes neither recipe saw, before and after."""
    tutorial, ours = contest.tutorial, contest.ours
    before = tutorial.curve[0][1]
    return Section(
        "Held-out loss",
        ("", "tutorial", "gpt1"),
        (
            ("before, nats per token", before, ours.curve[0][1]),
            ("after, nats per token", tutorial.loss, ours.loss),
            ("change", tutorial.loss - before, ours.loss - before),
            ("updates", tutorial.updates, ours.updates),
            ("packs in an update", PACKS_PER_UPDATE, contest.run.training.batch_size),
            ("seconds of training", tutorial.seconds, ours.seconds),
        ),
        (
            f"Judged on {held_out} jokes neither saw: each alone behind {PROMPT!r}, only the "
            "joke's own tokens; the end marker, which the two write differently, is not counted.",
        ),
    )


def continuations(contest: Contest) -> Section:
    """What the weights make of the joke prompt and of a plain one."""
    models = {
        "before": contest.start,
        "tutorial": contest.tutorial.lm,
        "gpt1": contest.ours.lm,
    }
    cases = [(PROMPT, "greedy"), (PROMPT, "sampled"), (SENTENCE, "greedy")]
    return Section(
        "Inference",
        ("prompt", "decoding", "weights", "text"),
        tuple(
            (prompt, how, name, _continue(lm, prompt, how, contest.seed))
            for prompt, how in cases
            for name, lm in models.items()
        ),
    )


def _continue(lm: LanguageModel, prompt: str, how: str, seed: int) -> str:
    if how == "greedy":
        return lm.generate(prompt, max_new_tokens=GREEDY_TOKENS)
    return lm.generate(prompt, max_new_tokens=SAMPLE_TOKENS, temperature=0.8, top_k=40, seed=seed)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0
