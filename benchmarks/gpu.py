"""One GPU: decoding at batch 1 and 256, updates of training, and the tutorial's fine-tuning.

Decoding in bfloat16 is timed as in `benchmarks.decode`, beside transformers' GPT-2 of the same
shape, at batch 1 also its GPT-1 and our matrices of int8, and beside the bound of memory bandwidth.
A first call, which records the CUDA graphs of ours, is not timed. An update is that of the training
loop: products in bfloat16, weights and AdamW in float32; it stands beside the rate at which this
GPU multiplies matrices of bfloat16. Fine-tuning is ``gpt1 finetune lm`` with ``recipes/jokes.yaml``
from reading the jokes, repeated until there are as many as the tutorial has, to the written model;
its weights are random. Without a GPU every row reads "not run".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import checkpoint
from benchmarks.decode import Case, Limits, bound
from benchmarks.finetune import train_ours, write_texts
from benchmarks.machine import bandwidth_probe
from benchmarks.options import Options
from benchmarks.peers import Generate, gpt2_weights, openai_gpt, shape
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import save_model
from gpt1.config import GenerationConfig, GPTConfig, OptimizerConfig
from gpt1.flops import matrix_rate, training_flops_per_token
from gpt1.generation.decode import Decoder
from gpt1.language_model import load
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.distributed import compile_blocks
from gpt1.training.optimizer import build_optimizers

TITLE = "one GPU, 117M parameters, bfloat16"
OURS, INT8, GPT1, GPT2 = "gpt1", "gpt1 int8", "transformers openai-gpt", "transformers gpt2"
DTYPE = torch.bfloat16

LEAST_OF_GPT1 = 10.0
LEAST_OF_BOUND = {1: 50.0, 256: 60.0}
"""By batch, in %."""

LEAST_OF_PRODUCTS = 50.0
"""MFU, in %."""

MOST_FINE_TUNING_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: GPTConfig = field(default_factory=GPTConfig)
    batches: Sequence[int] = (1, 256)
    prompt_tokens: int = 32
    new_tokens: int = 128
    sequences: int = 64
    updates: int = 5
    jokes: int = 231_657
    epochs: int = 5
    rounds: int = 3
    probe_bytes: int = 2**30


QUICK = Sizes(
    model=GPTConfig(n_layer=1, n_head=2, n_embd=32, n_positions=16, vocab_size=100),
    batches=(1, 2),
    prompt_tokens=4,
    new_tokens=4,
    sequences=2,
    updates=1,
    jokes=20,
    epochs=1,
    rounds=1,
    probe_bytes=2**20,
)


def run(options: Options) -> Report:
    """Measure; see the top of this file. A quick run takes the CPU where there is no GPU."""
    sizes = QUICK if options.quick else Sizes()
    rounds = options.rounds or sizes.rounds
    there = torch.cuda.is_available()
    rows: list[Row] = []
    if there or options.quick:
        device = torch.device("cuda" if there else "cpu")
        with TemporaryDirectory() as folder:
            rows += decoding(sizes, device, rounds, Path(folder))
        rows += training(sizes, device, rounds)
        rows.append(fine_tuning_row([fine_tune(sizes, device, options)]))
    else:
        for batch in sizes.batches:
            rows += decoding_rows(batch, {}, {})
        rows += training_rows((), ())
        rows.append(fine_tuning_row(()))
    name = torch.cuda.get_device_name() if there else "none"
    return Report(name="gpu", title=TITLE, quick=options.quick, rows=rows, settings={"gpu": name})


def decoding(sizes: Sizes, device: torch.device, rounds: int, folder: Path) -> list[Row]:
    """Speeds of all sides, after the first new token."""
    checkpoint.write(folder / "gpt1", sizes.model)
    gpt2_weights.write(folder / "gpt2", shape(folder / "gpt1"))
    tokenizer = Tokenizer.load(folder / "gpt1")
    sides = {
        OURS: load_ours(folder / "gpt1", device),
        INT8: load_ours(folder / "gpt1", device, quantize="int8"),
        GPT1: load_theirs("OpenAIGPTLMHeadModel", folder / "gpt1", device),
        GPT2: load_theirs("GPT2LMHeadModel", folder / "gpt2", device),
    }
    probe = bandwidth_probe(sizes.probe_bytes, device)
    rows: list[Row] = []
    for batch in sizes.batches:
        prompts = checkpoint.prompts(tokenizer, batch, sizes.prompt_tokens)
        turns: dict[str, Callable[[], float]] = {"bandwidth": probe}
        for name in (OURS, *own(batch), *peers(batch)):
            sides[name](prompts, sizes.new_tokens)
            turns[name] = partial(rate, sides[name], prompts, sizes.new_tokens)
        found = interleave(turns, rounds)
        limits = [Limits(bandwidth, inf) for bandwidth in found["bandwidth"]]
        case = Case(batch, sizes.prompt_tokens)
        bounds = {
            precision: [bound(sizes.model, sizes.new_tokens, precision, case, x) for x in limits]
            for precision in ("16-bit", "int8")
        }
        rows += decoding_rows(batch, found, bounds)
    return rows


def own(batch: int) -> tuple[str, ...]:
    """What else of ours is measured: int8 saves time for one text alone."""
    return (INT8,) if batch == 1 else ()


def peers(batch: int) -> tuple[str, ...]:
    """Who is measured: without a cache, transformers' GPT-1 takes too long for a large batch."""
    return (GPT1, GPT2) if batch == 1 else (GPT2,)


def rate(generate: Generate, prompts: list[list[int]], new_tokens: int) -> float:
    """New tokens a second after the first ones."""
    first, _ = stopwatch(partial(generate, prompts, 1))
    every, _ = stopwatch(partial(generate, prompts, new_tokens))
    return len(prompts) * (new_tokens - 1) / max(every - first, 1e-9)


def decoding_rows(
    batch: int, found: Mapping[str, Sequence[float]], bounds: Mapping[str, Sequence[float]]
) -> list[Row]:
    """Beside the peers and the bounds; what was not found was not run."""
    ours = found.get(OURS, ())
    row = partial(Row, measure=f"decode, batch {batch}", unit="tokens/s", ours=ours)
    rows = [
        row(
            beside=peer,
            other=found.get(peer, ()),
            how="times",
            bar=LEAST_OF_GPT1 if peer == GPT1 else None,
        )
        for peer in peers(batch)
    ]
    least = LEAST_OF_BOUND.get(batch)
    beside = partial(row, beside="bound", how="%", bar=least)
    rows.append(beside(other=bounds.get("16-bit", ())))
    for name in own(batch):
        int8 = f"decode, batch {batch}, int8"
        rows.append(
            beside(measure=int8, ours=found.get(name, ()), other=bounds.get("int8", ()), bar=None)
        )
    return rows


def load_ours(folder: Path, device: torch.device, quantize: str | None = None) -> Generate:
    """gpt1's decoder, all prompts at once."""
    lm = load(folder, device=device, dtype=DTYPE, backend="torch", quantize=quantize)
    model = lm.generator

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        texts: list[list[int]] = [[] for _ in prompts]
        for step in Decoder(model, prompts, GenerationConfig(max_new_tokens=new_tokens)):
            for sequence, token in step:
                texts[sequence].append(token)
        return texts

    return generate


def load_theirs(name: str, folder: Path, device: torch.device) -> Generate:
    """The ``generate`` of a class of transformers."""
    from benchmarks import peer

    model = getattr(peer.transformers, name).from_pretrained(folder, dtype=DTYPE)
    return openai_gpt.generate_of(model.eval().to(device))


def training(sizes: Sizes, device: torch.device, rounds: int) -> list[Row]:
    """Updates, beside products of matrices."""
    update = make_update(sizes, device)
    update()  # makes the moments of AdamW and compiles
    tokens = sizes.updates * sizes.sequences * sizes.model.n_positions
    seconds = interleave({"update": lambda: stopwatch(update)[0]}, rounds)["update"]
    flops = training_flops_per_token(sizes.model, sizes.model.n_positions)
    products = [matrix_rate(device, DTYPE) / 1e12] * rounds
    return training_rows([tokens / s for s in seconds], products, flops / 1e12)


def training_rows(
    rates: Sequence[float], products: Sequence[float], tera_operations: float = 0.0
) -> list[Row]:
    """Tokens a second, and their operations beside those of products of matrices."""
    return [
        Row(measure="update of training", unit="tokens/s", ours=rates),
        Row(
            measure="operations of an update",
            unit="TFLOP/s",
            ours=[rate * tera_operations for rate in rates],
            beside="a product of matrices",
            other=products,
            how="%",
            bar=LEAST_OF_PRODUCTS,
        ),
    ]


def fine_tune(sizes: Sizes, device: torch.device, options: Options) -> float:
    """Seconds of the tutorial's whole fine-tuning."""
    tokenizer = Tokenizer.load(options.vocabulary_folder())
    texts = list(islice(cycle(options.texts()), sizes.jokes))
    flags = [f"--device={device}", "--precision=bf16", "--lr=6.25e-5"]
    if device.type == "cuda":
        flags.append("--compile")
    with TemporaryDirectory() as temporary:
        start, out = Path(temporary, "start"), Path(temporary, "out")
        torch.manual_seed(0)
        save_model(start, GPT(sizes.model.replace(vocab_size=len(tokenizer))), tokenizer)
        data = write_texts(texts, temporary)
        done = train_ours(str(start), data, sizes.epochs, str(out), 0, flags)
    return done["seconds"]


def fine_tuning_row(seconds: Sequence[float]) -> Row:
    """Of the tutorial's whole fine-tuning."""
    return Row(
        measure="fine-tuning, 231,657 jokes, 5 epochs",
        unit="s",
        ours=seconds,
        bar=MOST_FINE_TUNING_S,
    )


def make_update(sizes: Sizes, device: torch.device) -> Callable[[], float]:
    """A function that makes updates as the training loop does, and returns the last loss."""
    torch.manual_seed(0)
    model = GPT(sizes.model).to(device).train()
    if device.type == "cuda":
        compile_blocks(model)
    optimizers = build_optimizers(model, OptimizerConfig(), 1e-4)
    ids_shape = (sizes.sequences, sizes.model.n_positions)
    ids = torch.randint(sizes.model.vocab_size, ids_shape, device=device)

    def update() -> float:
        for _ in range(sizes.updates):
            with torch.autocast(device.type, DTYPE):
                loss = model(ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())  # waits for the device

    return update
