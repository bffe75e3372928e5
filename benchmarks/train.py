"""One update of a language model on a CPU in float32, beside its peers: time and peak memory.

Forward pass, backward pass, clipping of the global norm and AdamW, on random tokens and without
dropout. gpt1 is the training loop with its default settings, which reads a batch in parts of 1,024
tokens. Each peer is the model as its users have it, with the batch as a whole, and AdamW in
PyTorch's fused form, which leans their way:

- nanoGPT: GPT-2 in plain PyTorch (`benchmarks.nanogpt`); also with the batch in parts as large as
  ours, whose gradients it sums, as its ``gradient_accumulation_steps`` would;
- transformers: ``OpenAIGPTLMHeadModel``;
- litgpt, where it is installed: the shape of Pythia-160m, whose output layer is not tied, so that
  its optimizer has a quarter more to do; the products are as many.

Every side has a process of its own in every round, where one update is left out and then
`UPDATES` are timed. The rate of a product of square matrices, by PyTorch or by what gpt1 multiplies
with, the faster, is measured in the process of gpt1, before and after its updates; the share of it
counts the operations of PaLM's formula, those of full attention included, as `gpt1.flops` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.child import Outcome, call
from benchmarks.nanogpt import NanoGPT, Shape
from benchmarks.options import Options
from benchmarks.report import How, Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.config import GPTConfig, TrainingConfig
from gpt1.data.batches import TokenWindows
from gpt1.errors import ConfigError
from gpt1.flops import training_flops_per_token
from gpt1.model import GPT
from gpt1.native.products import product
from gpt1.training.loop import Job, Trainer
from gpt1.training.objectives import LanguageModeling
from gpt1.training.parts import CPU_TOKENS
from gpt1.training.tracking import Silent

TITLE = "an update of a language model on a CPU in float32, beside its peers"
ROUNDS, UPDATES = 3, 2
RATE_SIDE, RATE_REPEATS = 2048, 5
BARS = {"transformers": 1.7, "nanoGPT": 1.2, "nanoGPT in parts": 1.2, "litgpt": 1.2}
GEMM_BAR, MEMORY_BAR_MB = 85.0, 3500.0
NO_DROPOUT: dict[str, Any] = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}

PAPER = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 40_478}
MINI = {"n_layer": 6, "n_embd": 256, "n_head": 4, "vocab_size": 8192}
TINY = {"n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 50}
CASES: dict[str, tuple[dict[str, int], int, int]] = {
    "117M, 8 x 512": (PAPER, 8, 512),
    "117M, 16 x 256": (PAPER, 16, 256),
    "mini, 16 x 256": (MINI, 16, 256),
}
"""Shape, sequences of an update, tokens of a sequence."""

QUICK = {"tiny, 2 x 8": (TINY, 2, 8)}

Arguments = dict[str, Any]


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    cases = {
        name: case
        for name, case in (QUICK if options.quick else CASES).items()
        if options.batches is None or case[1] in options.batches
    }
    if not cases:
        raise ConfigError(f"no case of train has {options.batches} sequences, see its CASES")
    found = {name: measured(case, options) for name, case in cases.items()}
    return Report(
        name="train",
        title=TITLE,
        quick=options.quick,
        rows=[row for name in cases for row in rows(name, cases[name], found[name])],
        settings={
            "updates": UPDATES,
            "dropout": 0,
            "gflop_per_s_of_a_product": round(
                median(o.result["rate"] for sides in found.values() for o in sides["gpt1"]) / 1e9
            ),
        },
    )


def measured(case: tuple[dict[str, int], int, int], options: Options) -> dict[str, list[Outcome]]:
    """Outcomes of all sides, round by round."""
    shape, sequences, length = case
    arguments = {"shape": {**shape, "n_positions": length}, "sequences": sequences}
    sides: dict[str, Callable[..., dict[str, float]]] = {
        "gpt1": train_ours,
        "nanoGPT": train_nanogpt,
        "nanoGPT in parts": train_nanogpt_in_parts,
        "transformers": train_transformers,
    }
    if find_spec("litgpt"):
        sides["litgpt"] = train_litgpt
    turns = {
        name: partial(call, side, arguments, apart=not options.quick)
        for name, side in sides.items()
    }
    return interleave(turns, options.rounds or (1 if options.quick else ROUNDS))


def rows(
    name: str, case: tuple[dict[str, int], int, int], found: dict[str, list[Outcome]]
) -> list[Row]:
    """Tokens a second and memory beside each peer, and the share of the rate of products."""
    shape, sequences, length = case
    tokens = sequences * length
    of_paper = shape is PAPER and length == 512
    flops = tokens * training_flops_per_token(GPTConfig(**shape), length)
    peers = [side for side in found if side != "gpt1"]

    def values(side: str, key: str) -> list[float]:
        return [tokens / outcome.result[key] for outcome in found[side]]

    def peaks(side: str) -> list[float]:
        return [outcome.peak_mb for outcome in found[side]]

    def beside(key: str, unit: str, peer: str, bar: float | None) -> Row:
        ours, other, how = values("gpt1", key), values(peer, key), "times"
        return Row(measure=name, unit=unit, ours=ours, beside=peer, other=other, how=how, bar=bar)

    less: How = "times less"
    memory = f"peak memory, {name}"
    return [
        *(beside("seconds", "tokens/s", peer, BARS[peer] if of_paper else None) for peer in peers),
        *(beside("cpu_seconds", "tokens/CPU s", peer, None) for peer in peers),
        Row(
            measure=f"operations, {name}",
            unit="GFLOP/s",
            ours=[flops / outcome.result["seconds"] / 1e9 for outcome in found["gpt1"]],
            beside="a product of matrices",
            other=[outcome.result["rate"] / 1e9 for outcome in found["gpt1"]],
            how="%",
            bar=GEMM_BAR if of_paper else None,
        ),
        Row(
            measure=memory,
            unit="MB",
            ours=peaks("gpt1"),
            bar=MEMORY_BAR_MB if of_paper else None,
        ),
        *(
            Row(measure=memory, unit="MB", ours=peaks("gpt1"), beside=p, other=peaks(p), how=less)
            for p in peers
        ),
    ]


class Clock(Silent):
    """Notes when each update of a run was done."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Note the time, and that of the processor."""
        self.times.append((time.perf_counter(), time.process_time()))

    def medians(self) -> dict[str, float]:
        """Seconds of an update, the first one left out."""
        times = np.array(self.times[: UPDATES + 1])
        seconds, cpu_seconds = np.median(np.diff(times, axis=0), axis=0).tolist()
        return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def product_rate() -> float:
    """Operations a second of a product of square matrices, the best of a few by either library."""
    matrix = torch.full((RATE_SIDE, RATE_SIDE), 1 / RATE_SIDE)
    out = torch.empty_like(matrix)
    ways = (partial(torch.mm, matrix, matrix, out=out), partial(product, matrix, matrix, out))
    return 2 * RATE_SIDE**3 / min(stopwatch(way)[0] for way in ways * RATE_REPEATS)


def train_ours(shape: dict[str, int], sequences: int) -> dict[str, float]:
    """Updates by the training loop, and the rate of a product of matrices."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape, **NO_DROPOUT))
    updates = UPDATES + 2  # the last one is always logged, which takes time
    numbers = np.random.default_rng(0)
    tokens = numbers.integers(
        shape["vocab_size"], size=updates * sequences * shape["n_positions"], dtype=np.uint16
    )
    config = TrainingConfig(max_steps=updates, batch_size=sequences, eval_every_steps=0, track=())
    job = Job(
        train=TokenWindows([tokens], shape["n_positions"]),
        valid=None,
        objective=LanguageModeling(),
        out=None,
        keep=lambda: None,
    )
    clock, rate = Clock(), product_rate()
    Trainer(model, config, job, watch=clock).fit()
    return {**clock.medians(), "rate": max(rate, product_rate())}


def train_peer(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    ids: Tensor,
    parts: int = 1,
) -> dict[str, float]:
    """Updates of a peer, as a training script makes them.

    Args:
        model: In training mode.
        loss: Mean loss of sequences.
        ids: Sequences of one update.
        parts: How many parts the batch is read in.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    clock = Clock()
    for step in range(UPDATES + 1):
        for part in ids.chunk(parts):
            (loss(part) * (len(part) / len(ids))).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.update(step, 0.0, 0.0)
    return clock.medians()


def random_ids(shape: dict[str, int], sequences: int, length: int) -> Tensor:
    """The tokens of one update, ``(sequences, length)``."""
    torch.manual_seed(0)
    return torch.randint(shape["vocab_size"], (sequences, length))


def train_nanogpt(shape: dict[str, int], sequences: int, parts: int = 1) -> dict[str, float]:
    """nanoGPT, which reads as many tokens as it predicts."""
    ids = random_ids(shape, sequences, shape["n_positions"] + 1)
    model = NanoGPT(Shape(**shape)).train()
    return train_peer(model, partial(nanogpt_loss, model), ids, parts)


def nanogpt_loss(model: NanoGPT, ids: Tensor) -> Tensor:
    """Mean loss of all tokens but the first of each sequence."""
    return model.loss(ids[:, :-1], ids[:, 1:])


def train_nanogpt_in_parts(shape: dict[str, int], sequences: int) -> dict[str, float]:
    """nanoGPT, with as many tokens at once as ours."""
    parts = max(1, sequences * shape["n_positions"] // CPU_TOKENS)
    return train_nanogpt(shape, sequences, parts)


def train_transformers(shape: dict[str, int], sequences: int) -> dict[str, float]:
    """Transformers' GPT-1."""
    from benchmarks.peer import transformers

    config = transformers.OpenAIGPTConfig(**shape, **NO_DROPOUT)
    model = transformers.OpenAIGPTLMHeadModel(config).train()
    ids = random_ids(shape, sequences, shape["n_positions"])
    return train_peer(model, lambda part: model(part, labels=part).loss, ids)


def train_litgpt(shape: dict[str, int], sequences: int) -> dict[str, float]:
    """Litgpt's Pythia."""
    import litgpt
    from litgpt.utils import chunked_cross_entropy

    config = litgpt.Config.from_name(
        "pythia-160m",
        block_size=shape["n_positions"],
        vocab_size=shape["vocab_size"],
        padded_vocab_size=shape["vocab_size"],
        n_layer=shape["n_layer"],
        n_head=shape["n_head"],
        n_embd=shape["n_embd"],
        intermediate_size=4 * shape["n_embd"],
    )
    model = litgpt.GPT(config).train()
    ids = random_ids(shape, sequences, shape["n_positions"] + 1)
    return train_peer(
        model, lambda part: chunked_cross_entropy(model(part[:, :-1]), part[:, 1:]), ids
    )
