"""Greedy decoding of one prompt: tokens per second and memory, beside transformers.

Both load the same checkpoint folder; token ids go in and come out. transformers runs ``generate``
as it comes; its GPT-1 has no key-value cache.

The bound: for every token a decoder with batch size 1 has to read all matrices of the blocks and
the output table once, so

    tokens/s <= read bandwidth / (4 bytes * (parameters of the blocks + vocabulary * width))

with the bandwidth measured in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from benchmarks.child import call
from benchmarks.machine import bandwidth_probe
from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import load_model, save_model
from gpt1.config import GenerationConfig, GPTConfig
from gpt1.generation.decode import Decoder
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

TITLE = "greedy decoding, batch 1, float32, beside transformers"
BAR = 5.0

Generate = Callable[[list[int], int], list[int]]
"""Prompt and number of new tokens to the new tokens."""


class Turn(NamedTuple):
    """One measurement: units per second, and the tokens it made."""

    rate: float
    ids: list[int]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: GPTConfig = field(default_factory=GPTConfig)
    prompt_tokens: int = 32
    new_tokens: int = 128
    rounds: int = 5
    memory_rounds: int = 2
    probe_bytes: int = 2**30


QUICK = Sizes(
    model=GPTConfig(n_layer=2, n_head=2, n_embd=64, n_positions=64, vocab_size=500),
    prompt_tokens=8,
    new_tokens=16,
    rounds=1,
    memory_rounds=1,
    probe_bytes=2**20,
)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = QUICK if options.quick else Sizes()
    model = lively_model(sizes.model)
    read_bytes = bytes_read_per_token(model)
    prompt = random_prompt(sizes)
    with TemporaryDirectory() as folder:
        save_model(folder, model, Tokenizer.train(["a b"], vocab_size=5))
        turns = measure_speed(folder, prompt, sizes, options.rounds or sizes.rounds)
        peaks = measure_memory(folder, prompt, sizes, apart=not options.quick)
    rates = {name: [turn.rate for turn in turns[name]] for name in turns}
    texts = [turn.ids for name in LOADERS for turn in turns[name]]
    bound = [bandwidth / read_bytes for bandwidth in rates["bandwidth"]]
    return Report(
        name="decode",
        title=TITLE,
        quick=options.quick,
        rows=rows(rates, bound, peaks),
        same={"tokens": all(ids == texts[0] for ids in texts)},
        settings={
            "parameters": model.num_parameters(),
            "prompt_tokens": sizes.prompt_tokens,
            "new_tokens": sizes.new_tokens,
            "distinct_tokens": len(set(texts[0])),
            "read_mb_per_token": read_bytes / 1e6,
            "bandwidth_gb_per_s": round(max(rates["bandwidth"]) / 1e9, 1),
        },
    )


def rows(
    rates: dict[str, list[float]], bound: list[float], peaks: dict[str, list[float]]
) -> list[Row]:
    """Speed beside transformers and beside the bound, and memory."""
    return [
        Row(
            measure="decoding speed",
            unit="tokens/s",
            ours=rates["gpt1"],
            beside="transformers",
            other=rates["transformers"],
            how="times",
            bar=BAR,
        ),
        Row(
            measure="decoding speed",
            unit="tokens/s",
            ours=rates["gpt1"],
            beside="bound by memory bandwidth",
            other=bound,
            how="%",
        ),
        Row(
            measure="peak memory of decoding",
            unit="MB",
            ours=peaks["gpt1"],
            beside="transformers",
            other=peaks["transformers"],
            how="times less",
        ),
    ]


def measure_speed(
    folder: str, prompt: list[int], sizes: Sizes, rounds: int
) -> dict[str, list[Turn]]:
    """Tokens per second of both sides, prompt included, and bytes read per second."""
    probe = bandwidth_probe(sizes.probe_bytes)
    sides: dict[str, Callable[[], Turn]] = {"bandwidth": lambda: Turn(probe(), [])}
    for name, load in LOADERS.items():
        generate = load(folder)
        generate(prompt, 2)  # the first call of either reads the weights from disk
        sides[name] = partial(take_turn, generate, prompt, sizes.new_tokens)
    return interleave(sides, rounds)


def take_turn(generate: Generate, prompt: list[int], new_tokens: int) -> Turn:
    """One call, timed."""
    seconds, ids = stopwatch(partial(generate, prompt, new_tokens))
    return Turn(new_tokens / seconds, ids)


def measure_memory(
    folder: str, prompt: list[int], sizes: Sizes, *, apart: bool
) -> dict[str, list[float]]:
    """Peak memory of both sides in MB, each loading the folder in a process of its own."""

    def side(name: str) -> float:
        arguments: dict[str, Any] = {"side": name, "folder": folder, "prompt": prompt}
        arguments["new_tokens"] = sizes.new_tokens
        return call(load_and_generate, arguments, apart=apart).peak_mb

    return interleave({name: partial(side, name) for name in LOADERS}, sizes.memory_rounds)


def load_and_generate(side: str, folder: str, prompt: list[int], new_tokens: int) -> list[int]:
    """The work of a process whose memory is measured."""
    return LOADERS[side](folder)(prompt, new_tokens)


def load_ours(folder: str) -> Generate:
    """gpt1's decoder over a checkpoint folder."""
    model = load_model(folder)

    def generate(prompt: list[int], new_tokens: int) -> list[int]:
        decoder = Decoder(model, [prompt], GenerationConfig(max_new_tokens=new_tokens))
        return [token for step in decoder for _, token in step]

    return generate


def load_theirs(folder: str) -> Generate:
    """The ``generate`` of transformers over the same folder."""
    from benchmarks import peer  # not above: our side's memory is measured without transformers

    model = peer.load_model(folder)

    def generate(prompt: list[int], new_tokens: int) -> list[int]:
        ids = torch.tensor([prompt])
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
        continuation: list[int] = output[0, len(prompt) :].tolist()
        return continuation

    return generate


LOADERS: dict[str, Callable[[str], Generate]] = {"gpt1": load_ours, "transformers": load_theirs}


def lively_model(config: GPTConfig) -> GPT:
    """Random weights whose greedy text varies; as drawn for training, it repeats one token."""
    model = GPT(config).eval()
    generator = torch.Generator().manual_seed(0)
    model.reset_parameters(generator)
    with torch.no_grad():
        model.tokens_embed.weight.normal_(0.0, 0.05, generator=generator)
        model.positions_embed.weight.normal_(0.0, 0.5, generator=generator)
    return model


def random_prompt(sizes: Sizes) -> list[int]:
    """Ids drawn with a fixed seed."""
    generator = torch.Generator().manual_seed(1)
    shape = (sizes.prompt_tokens,)
    ids: list[int] = torch.randint(sizes.model.vocab_size, shape, generator=generator).tolist()
    return ids


def bytes_read_per_token(model: GPT) -> int:
    """Size of the weights that every decoding step reads: the blocks and the output table."""
    return sum(p.nbytes for p in [*model.h.parameters(), model.tokens_embed.weight])
