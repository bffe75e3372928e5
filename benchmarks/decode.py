"""Greedy decoding of the 117M shape beside peers: tokens per second, cold start and memory.

Each side, see `benchmarks.peers`, is a process of its own with its model loaded; they take turns.
A turn is two calls with the same prompts: one for a single new token, one for all of them. The
first is the time of the prompt; what the second takes longer is the time of the rest. gpt1 takes
text, its peers take ids: encoding and decoding are part of our time alone.

The prompts of a batch are of one length, no end of text is heeded, and the weights are random: the
same for all sides that can hold a GPT-1, and a GPT-2 of the same shape for the others.

The bound: a step reads the matrices of the blocks and the output table once, and the keys and
values of every sequence; it multiplies each weight with each sequence. With the read bandwidth and,
in float32, the rate of matrix products, both measured in the same round,

    tokens/s <= batch / max(bytes / bandwidth, operations / rate)

where scales of quantised weights are not counted, and keys and values are of 4 bytes in float32 and
of 2 elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks import checkpoint, peers
from benchmarks.machine import bandwidth_probe, cores, product_probe
from benchmarks.options import Options
from benchmarks.peers import OURS, PEERS, PRECISIONS, side
from benchmarks.report import Figure, Report, Row, number
from benchmarks.timing import interleave, stopwatch
from benchmarks.worker import Here, Worker
from gpt1.config import GPTConfig
from gpt1.flops import matrix_parameters
from gpt1.tokenizer import Tokenizer

TITLE = "greedy decoding, 117M parameters, beside peers"

LEAST_OF_LLAMA_CPP = {"float32": 1.0, "16-bit": 1.0, "int8": 1.3, "int4": 1.2}
LEAST_OF_BOUND = 90.0
LEAST_OF_BEST = 1.2
MOST_COLD_START_S = 0.8

Opened = Mapping[str, Worker | Here]
"""Sides that are ready, by name."""


class Case(NamedTuple):
    """What is asked of every side."""

    batch: int
    prompt_tokens: int


class Times(NamedTuple):
    """Seconds of a turn: the call for the first new token, and what all of them took longer."""

    first: float
    rest: float


class Limits(NamedTuple):
    """What the machine gave in a round: bytes read, and operations of float32, a second."""

    bandwidth: float
    operations: float


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured; the longest prompt and its new tokens fill the positions."""

    model: GPTConfig = field(default_factory=GPTConfig)
    batches: Sequence[int] = (1, 8, 32)
    prompt_tokens: Sequence[int] = (32, 384)
    new_tokens: int = 128
    rounds: int = 3
    probe_bytes: int = 2**30
    probe_side: int = 2048


QUICK = Sizes(
    model=GPTConfig(n_layer=2, n_head=2, n_embd=64, n_positions=32, vocab_size=500),
    batches=(1, 2),
    prompt_tokens=(8, 16),
    new_tokens=16,
    rounds=1,
    probe_bytes=2**20,
    probe_side=32,
)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = QUICK if options.quick else Sizes()
    with TemporaryDirectory() as folder:
        bench = Bench(sizes, Path(folder), options)
        figures = [figure for p in options.precisions or PRECISIONS for figure in bench.measure(p)]
    return Report(
        name="decode",
        title=TITLE,
        quick=options.quick,
        rows=[row for figure in figures for row in bars(figure)],
        figures=figures,
        same=bench.same,
        settings={
            "new_tokens": sizes.new_tokens,
            "rounds": bench.rounds,
            "threads": bench.threads,
            "matrix_parameters": matrix_parameters(sizes.model),
            "read_gb_per_s": round(median(x.bandwidth for x in bench.limits) / 1e9, 1),
            "fp32_gflop_per_s": round(median(x.operations for x in bench.limits) / 1e9, 1),
        },
    )


class Bench:
    """Measures all sides, one precision after another.

    Args:
        sizes: How much.
        folder: Empty.
        options: ``quick`` keeps all sides in this process.

    Attributes:
        rounds: Turns of each side.
        threads: Of each side.
        limits: Of the machine, in every round so far.
        same: For each family of equal weights, whether all its sides generated the same tokens.
    """

    def __init__(self, sizes: Sizes, folder: Path, options: Options) -> None:
        self._sizes, self._folder = sizes, folder
        self._kind: type[Here] | type[Worker] = Here if options.quick else Worker
        self._batches = options.batches or sizes.batches
        self._lengths = options.prompts or sizes.prompt_tokens
        self.rounds, self.threads = options.rounds or sizes.rounds, cores()
        self.limits: list[Limits] = []
        self.same: dict[str, bool] = {}
        self._checkpoint = folder / "checkpoint"
        checkpoint.write(self._checkpoint, sizes.model)
        self._tokenizer = Tokenizer.load(self._checkpoint)
        self._bandwidth = bandwidth_probe(sizes.probe_bytes)
        self._products = product_probe(sizes.probe_side)

    def measure(self, precision: str) -> list[Figure]:
        """All figures of a precision."""
        sides = [name for name in (OURS, *PEERS) if precision in side(name).PRECISIONS]
        present = list(filter(peers.installed, sides))
        for name in present:
            folder = self._prepared(name, precision)
            folder.mkdir()
            side(name).prepare(self._checkpoint, folder, precision)
        cold = self._cold_starts(precision, present)
        with ExitStack() as stack:
            opened = {name: stack.enter_context(self._open(name, precision)) for name in present}
            peaks = self._warm_up(precision, opened)
            found = [f for case in self._cases() for f in self._measure(precision, case, opened)]
        found.append(Figure(precision, "cold start to first token", "s", _titled(cold)))
        found.append(Figure(precision, "peak memory", "MB", _titled(peaks)))
        none = {side(n).TITLE: "" if n in present else "not installed" for n in sides}
        return [figure._replace(sides={**none, **figure.sides}) for figure in found]

    def _cases(self) -> list[Case]:
        return [Case(b, p) for p in self._lengths for b in self._batches]

    def _prepared(self, name: str, precision: str) -> Path:
        return self._folder / f"{name} {precision}"

    def _open(self, name: str, precision: str) -> Worker | Here:
        return self._kind(name, precision, self._prepared(name, precision), self.threads)

    def _prompts(self, case: Case) -> list[list[int]]:
        return checkpoint.prompts(self._tokenizer, *case)

    def _cold_starts(self, precision: str, names: Sequence[str]) -> dict[str, list[float]]:
        """Seconds from the start of a process to its first token, with its files in the cache.

        So each start that is timed follows one that is not: some systems soon forget files.
        """
        prompts = self._prompts(Case(1, self._sizes.prompt_tokens[0]))

        def start(name: str) -> float:
            with ExitStack() as stack:  # the end of the process is not timed

                def work() -> None:
                    stack.enter_context(self._open(name, precision)).turn(prompts, 1)

                return stopwatch(work)[0]

        def warm(name: str) -> float:
            start(name)
            return start(name)

        return interleave({name: partial(warm, name) for name in names}, self.rounds)

    def _warm_up(self, precision: str, opened: Opened) -> dict[str, list[float]]:
        """Decode one prompt with every side; the peak memory of each in MB."""
        prompts = self._prompts(Case(1, self._sizes.prompt_tokens[0]))
        turns = {name: o.turn(prompts, self._sizes.new_tokens) for name, o in opened.items()}
        if precision == "float32":
            self.same |= agreement({name: turn.ids for name, turn in turns.items()})
        return {name: [turn.peak_mb] for name, turn in turns.items()}

    def _measure(self, precision: str, case: Case, opened: Opened) -> list[Figure]:
        """The figures of one case."""
        prompts, tokens = self._prompts(case), case.batch * case.prompt_tokens
        turns: dict[str, Any] = {"": self._probe}
        for name, worker in opened.items():
            if tokens <= (side(name).MOST_PROMPT_TOKENS or tokens):
                worker.turn(prompts, 2)
                turns[name] = partial(self._turn, worker, prompts)
        found = interleave(turns, self.rounds)
        limits = found.pop("")
        self.limits += limits
        new = case.batch * (self._sizes.new_tokens - 1)
        rates = {name: [new / times.rest for times in found[name]] for name in found}
        name = f"batch {case.batch}, prompt {case.prompt_tokens}"
        bounds = [
            bound(self._sizes.model, self._sizes.new_tokens, precision, case, limit)
            for limit in limits
        ]
        figures = [Figure(precision, f"decode, {name}", "tokens/s", _titled(rates), bounds)]
        if case.prompt_tokens == max(self._lengths):
            rates = {name: [tokens / times.first for times in found[name]] for name in found}
            figures.append(Figure(precision, f"prefill, {name}", "tokens/s", _titled(rates)))
        for figure in figures:
            print(progress(figure), file=sys.stderr, flush=True)
        return figures

    def _turn(self, worker: Worker | Here, prompts: list[list[int]]) -> Times:
        first = worker.turn(prompts, 1).seconds
        every = worker.turn(prompts, self._sizes.new_tokens).seconds
        return Times(first, max(every - first, 1e-9))

    def _probe(self) -> Limits:
        return Limits(self._bandwidth(), self._products())


def progress(figure: Figure) -> str:
    """The medians of a figure in one line, to read while the others are measured."""
    samples = {title: s for title, s in figure.sides.items() if not isinstance(s, str)}
    medians = [f"{title} {number(median(sample))}" for title, sample in samples.items()]
    return f"{figure.name}: {', '.join(medians)}"


def agreement(ids: Mapping[str, list[list[int]]]) -> dict[str, bool]:
    """For each family of two sides or more, whether they generated the same tokens.

    Args:
        ids: New tokens, by name of the side.
    """
    families: dict[str, list[str]] = {}
    for name in ids:
        families.setdefault(side(name).FAMILY, []).append(name)
    return {
        f"tokens of {', '.join(side(name).TITLE for name in names)}": all(
            ids[name] == ids[names[0]] for name in names
        )
        for names in families.values()
        if len(names) > 1
    }


def bound(model: GPTConfig, new_tokens: int, precision: str, case: Case, limits: Limits) -> float:
    """The most new tokens a second; see the top of this file.

    Args:
        model: Its shape.
        new_tokens: Of each sequence.
        precision: Of the weights.
        case: Number of sequences, and tokens of each before the new ones.
        limits: Of the machine.
    """
    weights = matrix_parameters(model)
    context = case.prompt_tokens + new_tokens / 2
    cached = case.batch * context * 2 * model.n_layer * model.n_embd
    read = weights * PRECISIONS[precision] + cached * (4 if precision == "float32" else 2)
    seconds = read / limits.bandwidth
    if precision == "float32":
        # Scores and values of attention multiply each cached number once, too.
        seconds = max(seconds, 2 * (weights * case.batch + cached) / limits.operations)
    return case.batch / seconds


def bars(figure: Figure) -> list[Row]:
    """What a figure of ours has to reach, as far as it was measured."""
    ours = figure.sides.get(side(OURS).TITLE)
    if not isinstance(ours, list):
        return []
    row = partial(Row, measure=figure.name, unit=figure.unit, ours=ours)
    if figure.measure.startswith("cold start"):
        return [row(bar=MOST_COLD_START_S)]
    if not figure.measure.startswith("decode"):
        return []
    rows: list[Row] = []
    others = {t: v for t, v in figure.sides.items() if v is not ours and isinstance(v, list)}
    if "batch 1," in figure.measure:
        llama_cpp, least = side("llama_cpp").TITLE, LEAST_OF_LLAMA_CPP[figure.precision]
        if llama_cpp in others:
            rows.append(row(beside=llama_cpp, other=others[llama_cpp], how="times", bar=least))
        if figure.precision == "float32":
            rows.append(row(beside="bound", other=figure.bound, how="%", bar=LEAST_OF_BOUND))
    elif others:
        best = max(others, key=lambda title: median(others[title]))
        rows.append(row(beside=best, other=others[best], how="times", bar=LEAST_OF_BEST))
    return rows


def _titled(values: Mapping[str, list[float]]) -> dict[str, list[float] | str]:
    return {side(name).TITLE: sample for name, sample in values.items()}
