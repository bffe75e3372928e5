"""Speculative decoding beside plain decoding of the same model: new tokens per second, batch 1.

The text a side adds either repeats what is there, or is ordinary. A trained model ("mini") repeats
itself if it goes on greedily for long: it goes on from such a text. Its ordinary texts are samples,
as `top_p` and temperature 1 give them, that begin with openings of novels. Random weights of the
117M shape repeat one token as they are drawn for training; drawn larger, their text varies.

Guesses come from the text itself or from a draft: the same model in int4. How often a draft of
random weights is right says little of a trained one; its rows are there for the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from benchmarks import checkpoint
from benchmarks.machine import cores
from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.hf_config import read_config
from gpt1.language_model import LanguageModel, load
from gpt1.locate import CONFIG, locate
from gpt1.model import GPT
from gpt1.native.model import supports

TITLE = "decoding with guesses, beside the same without"
PLAIN, LOOK_UP, DRAFT = "plain", "look-up", "draft"
LEAST_WHERE_IT_REPEATS = 1.8
LEAST_ELSEWHERE = 0.95

OPENINGS = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity,",
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book her sister was reading,",
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be",
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in "
    "my purse, and nothing particular to interest me on shore, I thought I would sail about",
)


class Case(NamedTuple):
    """What all sides do.

    Attributes:
        name: Of the model and the kind of text.
        lm: The model.
        prompts: Continued one after the other.
        settings: Of generation.
        bar: How many times as fast as plain decoding the look-up has to be.
    """

    name: str
    lm: LanguageModel
    draft: LanguageModel | None
    prompts: Sequence[str]
    settings: dict[str, Any]
    bar: float


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: GPTConfig = field(default_factory=GPTConfig)
    prompt_tokens: int = 32
    new_tokens: int = 100
    rounds: int = 5


QUICK = Sizes(
    model=GPTConfig(n_layer=2, n_head=2, n_embd=64, n_positions=32, vocab_size=500),
    prompt_tokens=8,
    new_tokens=12,
    rounds=1,
)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = QUICK if options.quick else Sizes()
    rounds, rows, same = options.rounds or sizes.rounds, list[Row](), dict[str, bool]()
    with TemporaryDirectory() as folder:
        for case in cases(options.model, sizes, Path(folder)):
            found, agree = measure(case, sizes.new_tokens, rounds)
            rows += found
            same |= {f"tokens of {case.name}": agree}
    return Report(
        name="speculative",
        title=TITLE,
        quick=options.quick,
        rows=rows,
        same=same,
        settings={
            "model": options.model,
            "new_tokens": sizes.new_tokens,
            "rounds": rounds,
            "threads": cores(),
        },
    )


def cases(model: str, sizes: Sizes, folder: Path) -> Iterator[Case]:
    """All cases, each with its models loaded."""
    lm, draft = opened(model)
    sampling = {"temperature": 1.0, "top_p": 0.95, "seed": 0}
    greedy = [lm.generate(text, max_new_tokens=sizes.new_tokens) for text in OPENINGS]
    name = Path(model).name
    yield Case(f"{name}, repeats", lm, draft, greedy, {}, LEAST_WHERE_IT_REPEATS)
    yield Case(f"{name}, ordinary", lm, draft, OPENINGS, sampling, LEAST_ELSEWHERE)
    drawn: dict[str, tuple[Callable[[GPTConfig], GPT], float]] = {
        "repeats": (as_for_training, LEAST_WHERE_IT_REPEATS),
        "ordinary": (checkpoint.lively_model, LEAST_ELSEWHERE),
    }
    tokenizer = checkpoint.words_tokenizer(sizes.model.vocab_size)
    ids = checkpoint.prompts(tokenizer, 2, sizes.prompt_tokens)
    for kind, (weights, bar) in drawn.items():
        save_model(folder / kind, weights(sizes.model), tokenizer)
        lm, draft = opened(str(folder / kind))
        yield Case(f"random, {kind}", lm, draft, [tokenizer.decode(row) for row in ids], {}, bar)


def opened(model: str) -> tuple[LanguageModel, LanguageModel | None]:
    """A model and its draft, where there are kernels for one."""
    config = read_config(locate(model) / CONFIG)
    has_kernels = isinstance(config, GPTConfig) and supports(config)
    return load(model), load(model, quantize="int4") if has_kernels else None


def as_for_training(config: GPTConfig) -> GPT:
    """Random weights."""
    model = GPT(config).eval()
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def measure(case: Case, new_tokens: int, rounds: int) -> tuple[list[Row], bool]:
    """The rows of a case, and whether all sides generated the same tokens."""
    guesses: dict[str, dict[str, Any]] = {PLAIN: {}, LOOK_UP: {"prompt_lookup_num_tokens": 10}}
    if case.draft is not None:
        guesses[DRAFT] = {"assistant_model": case.draft}
    settings = {"max_new_tokens": new_tokens, **case.settings}
    sides = {name: partial(turn, case, {**settings, **how}) for name, how in guesses.items()}
    turns = interleave(sides, rounds + 1)  # the first warms up
    rates = {
        name: [sum(map(len, ids)) / seconds for seconds, ids in found[1:]]
        for name, found in turns.items()
    }
    rows = [
        Row(
            measure=f"{case.name}, {name}",
            unit="tokens/s",
            ours=rates[name],
            beside=PLAIN,
            other=rates[PLAIN],
            how="times",
            bar=case.bar if name == LOOK_UP else None,
        )
        for name in guesses
        if name != PLAIN
    ]
    return rows, all(ids == turns[PLAIN][0][1] for found in turns.values() for _, ids in found)


def turn(case: Case, settings: dict[str, Any]) -> tuple[float, list[list[int]]]:
    """Continue every prompt of a case: seconds, and the new ids."""

    def work() -> list[list[int]]:
        return [case.lm.complete(text, **settings)[0][0].ids for text in case.prompts]

    return stopwatch(work)
