"""The tables and the drawing of docs/scaling.md, made from `gpt1.scaling`.

``python -m benchmarks.scaling`` writes them anew. Among them, the model beside steps that others
have measured on GPUs: `MEASURED` and `RUNS` hold what they published, and where.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from gpt1.config import GPTConfig
from gpt1.flops import training_flops_per_token
from gpt1.scaling import DEVICES, SIZES, Assumptions, Plan, estimate
from gpt1.scaling.memory import parameters

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
GPUS = (1, 8, 64, 256, 1024)
PAPER_TOKENS = 1.2e11
PAPER_DAYS = 30
WHOLE_LOGITS = Assumptions(loss_chunk_bytes=math.inf)
"""Others hold the logits of a micro-batch as a whole."""

MPT = {
    "125m": (12, 768, 12),
    "350m": (24, 1024, 16),
    "760m": (24, 1536, 12),
    "1b": (24, 2048, 16),
    "3b": (32, 2560, 20),
    "7b": (32, 4096, 32),
}
"""Blocks, width and heads of the models of `MEASURED`."""


class Measured(NamedTuple):
    """A row of llm-foundry's tables: FSDP, bfloat16, 2,048 positions, nothing computed again."""

    model: str
    device: str
    gpus: int
    micro_batch_size: int
    batch_size: int
    tokens_per_s_per_gpu: int


MEASURED = [
    Measured("125m", "a100-40", 8, 26, 624, 136_334),
    Measured("125m", "a100-40", 32, 26, 832, 127_122),
    Measured("125m", "a100-40", 128, 26, 3328, 123_936),
    Measured("350m", "a100-40", 8, 16, 512, 55_995),
    Measured("350m", "a100-40", 128, 18, 2304, 51_934),
    Measured("760m", "a100-40", 8, 12, 384, 30_173),
    Measured("760m", "a100-40", 128, 12, 1536, 28_940),
    Measured("1b", "a100-40", 8, 8, 512, 19_271),
    Measured("1b", "a100-40", 128, 10, 1280, 18_647),
    Measured("3b", "a100-40", 8, 5, 320, 10_065),
    Measured("3b", "a100-40", 128, 6, 768, 9_538),
    Measured("125m", "a100-80", 8, 32, 512, 141_737),
    Measured("350m", "a100-80", 8, 32, 512, 58_782),
    Measured("760m", "a100-80", 8, 24, 384, 32_434),
    Measured("1b", "a100-80", 8, 14, 448, 20_513),
    Measured("3b", "a100-80", 8, 10, 160, 10_811),
    Measured("7b", "a100-80", 8, 6, 96, 4_641),
    Measured("760m", "h100", 8, 24, 384, 63_147),
    Measured("760m", "h100", 32, 24, 768, 67_971),
    Measured("1b", "h100", 8, 14, 112, 45_455),
    Measured("1b", "h100", 64, 20, 1280, 44_402),
    Measured("3b", "h100", 16, 10, 480, 24_142),
    Measured("3b", "h100", 64, 6, 1152, 22_525),
    Measured("7b", "h100", 8, 6, 48, 10_643),
]
"""https://github.com/mosaicml/llm-foundry/blob/061f2c7/scripts/train/benchmarking/README.md"""

GPT2 = GPTConfig(vocab_size=50_304, n_positions=1024)


class Run(NamedTuple):
    """A whole run of GPT-2 124M that somebody has timed, on 8 GPUs under DDP."""

    name: str
    device: str
    micro_batch_size: int
    batch_size: int
    tokens: float
    hours: float
    said: str
    address: str


RUNS = [
    Run(
        *("nanoGPT", "a100-40", 12, 480, 600_000 * 480 * 1024, 96.0, "about 4 days"),
        "https://github.com/karpathy/nanoGPT/blob/0110f3c/README.md",
    ),
    Run(
        *("llm.c", "a100-80", 64, 512, 10e9, 1.5, "about 90 minutes"),
        "https://github.com/karpathy/llm.c/discussions/481",
    ),
]


def hardware_table() -> str:
    """The data sheets."""
    heads = "device, bf16, fp32, memory, memory bandwidth, to its node, node to node, USD/h, source"
    rows = (
        (
            f"`{name}`: {d.title}",
            f"{d.bf16_flops / 1e12:g} TFLOP/s" if d.bf16_flops else "none",
            f"{d.fp32_flops / 1e12:g} TFLOP/s",
            f"{d.memory_bytes / 1e9:g} GB",
            f"{d.memory_bandwidth / 1e9:,.4g} GB/s",
            f"{d.local_bandwidth / 1e9:g} GB/s",
            f"{d.node_bandwidth / 1e9:g} GB/s",
            f"{d.usd_per_hour:.2f}" if d.usd_per_hour is not None else "none",
            d.source,
        )
        for name, d in DEVICES.items()
    )
    return table(heads.split(", "), rows)


def sizes_table() -> str:
    """The shapes."""
    heads = ["size", "blocks", "width", "heads", "positions", "parameters", "GFLOP a token"]
    rows = (
        (
            *(name, str(c.n_layer), f"{c.n_embd:,}", str(c.n_head), f"{c.n_positions:,}"),
            f"{parameters(c) / 1e6:,.1f} M",
            f"{training_flops_per_token(c, c.n_positions) / 1e9:.2f}",
        )
        for name, c in SIZES.items()
    )
    return table(heads, rows)


def speed_table() -> str:
    """Tokens a second, MFU and memory of each size on each number of H100s."""
    heads = ["size", *(f"{gpus:,} GPU{'s' if gpus > 1 else ''}" for gpus in GPUS)]
    return table(heads, ((name, *(_speed(name, gpus) for gpus in GPUS)) for name in SIZES))


def _speed(size: str, gpus: int) -> str:
    found = estimate(scaled(size, gpus))
    memory = f"{found.memory.total / 1e9:.0f} GB"
    if not found.fits:
        return f"does not fit: {memory}"
    return f"{rounded(found.tokens_per_s)}; {found.mfu:.0%}; {memory}"


def scaled(size: str, gpus: int) -> Plan:
    """A plan of `speed_table` and of the drawing."""
    return Plan(model=SIZES[size], gpus=gpus, parallel="fsdp")


def memory_table() -> str:
    """What one H100 holds, a sequence at a time."""
    ways: dict[str, dict[str, Any]] = {
        "DDP": {"parallel": "ddp"},
        "DDP, checkpointing": {"parallel": "ddp", "activation_checkpointing": True},
        "FSDP on 8": {"parallel": "fsdp", "gpus": 8},
        "FSDP on 64": {"parallel": "fsdp", "gpus": 64},
        "FSDP on 64, checkpointing": {
            "parallel": "fsdp",
            "gpus": 64,
            "activation_checkpointing": True,
        },
    }

    def held(size: str, way: str) -> str:
        settings = {"gpus": 8, **ways[way]}
        plan = Plan(model=SIZES[size], batch_size=settings["gpus"], **settings)
        return f"{estimate(plan).memory.total / 1e9:.1f} GB"

    return table(["size", *ways], ((size, *(held(size, way) for way in ways)) for size in SIZES))


def paper_table() -> str:
    """The paper's run on 8 devices of each kind."""
    heads = ["8 devices", "precision", "days", "device-hours", "MFU", "USD"]
    authors = ("the authors' P600", "not stated", "30", f"{8 * 24 * PAPER_DAYS:,}", "33%", "")
    return table(heads, [authors, *(_paper_row(name) for name in DEVICES if name != "epyc-core")])


def _paper_row(device: str) -> tuple[str, ...]:
    precision: Literal["bf16", "fp32"] = "bf16" if DEVICES[device].bf16_flops else "fp32"
    plan = Plan(
        model=SIZES["117M"],
        device=device,
        batch_size=64,
        precision=precision,
        tokens=PAPER_TOKENS,
    )
    found = estimate(plan)
    assert found.run_s is not None
    assert found.device_hours is not None
    price = f"{found.usd:,.0f}" if found.usd is not None else "no price"
    days, hours = f"{found.run_s / 86_400:.1f}", f"{found.device_hours:,.0f}"
    return f"`{device}`", precision, days, hours, f"{found.mfu:.0%}", price


def measured_table() -> str:
    """The model beside llm-foundry's measurements."""
    heads = ["model", "GPUs", "measured tokens/s/GPU", "predicted", "predicted / measured"]
    rows = (
        (
            *(row.model, f"{row.gpus} x `{row.device}`", f"{row.tokens_per_s_per_gpu:,}"),
            rounded(predicted_speed(row)),
            f"{ratio(row):.2f}",
        )
        for row in MEASURED
    )
    return table(heads, rows)


def predicted_speed(row: Measured) -> float:
    """Tokens a second and GPU, by the model."""
    blocks, width, heads = MPT[row.model]
    shape = GPTConfig(
        n_layer=blocks, n_embd=width, n_head=heads, n_positions=2048, vocab_size=50_368
    )
    plan = Plan(
        model=shape,
        device=row.device,
        gpus=row.gpus,
        parallel="fsdp",
        batch_size=row.batch_size,
        micro_batch_size=row.micro_batch_size,
        compile=True,
    )
    return estimate(plan, WHOLE_LOGITS).tokens_per_s / row.gpus


def ratio(row: Measured) -> float:
    """Predicted over measured speed."""
    return predicted_speed(row) / row.tokens_per_s_per_gpu


def measured_summary() -> str:
    """The ratios in a sentence."""
    parts = []
    for name in ("a100-40", "a100-80", "h100"):
        ratios = [ratio(row) for row in MEASURED if row.device == name]
        low, high = min(ratios), max(ratios)
        parts.append(f"`{name}` {median(ratios):.2f} ({low:.2f} to {high:.2f})")
    return f"Median of predicted / measured, with the range: {', '.join(parts)}.\n"


def runs_table() -> str:
    """The model beside whole runs."""
    heads = ["run of GPT-2 124M", "on", "tokens", "said", "predicted", "predicted / said time"]

    def cells(run: Run) -> tuple[str, ...]:
        plan = Plan(
            model=GPT2,
            device=run.device,
            batch_size=run.batch_size,
            micro_batch_size=run.micro_batch_size,
            compile=True,
            tokens=run.tokens,
        )
        hours = (estimate(plan, WHOLE_LOGITS).run_s or 0) / 3600
        where = f"[{run.name}]({run.address})", f"8 x `{run.device}`", f"{run.tokens:.3g}"
        return *where, run.said, f"{hours:.1f} hours", f"{hours / run.hours:.2f}"

    return table(heads, map(cells, RUNS))


TABLES: dict[str, Callable[[], str]] = {
    "hardware": hardware_table,
    "sizes": sizes_table,
    "speed": speed_table,
    "memory": memory_table,
    "paper": paper_table,
    "measured": measured_table,
    "summary": measured_summary,
    "runs": runs_table,
}
"""What stands between the marks ``<!-- made: NAME -->`` and ``<!-- end -->`` of the page."""

MARKS = re.compile(r"(?<=<!-- made: )(\w+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def rounded(value: float) -> str:
    """Three digits, then zeros: the model knows no more."""
    return f"{float(f'{value:.3g}'):,.0f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    return MARKS.sub(lambda mark: f"{mark[1]}{mark[2]}{TABLES[mark[1]]()}", text)


def curves() -> Iterator[tuple[str, list[int], list[float], list[float]]]:
    """Of each size: numbers of GPUs, tokens a second, and as many from the first number on."""
    for size in SIZES:
        found = [estimate(scaled(size, 2**power)) for power in range(11)]
        found = [each for each in found if each.fits]
        gpus = [each.plan.gpus for each in found]
        ideal = [found[0].tokens_per_s * n / gpus[0] for n in gpus]
        yield size, gpus, [each.tokens_per_s for each in found], ideal


def draw(file: Path) -> None:
    """Tokens a second over the number of GPUs, with the ideal line of each size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for size, gpus, speed, ideal in curves():
        [line] = axes.loglog(gpus, speed, marker="o", markersize=3, label=size)
        axes.loglog(gpus, ideal, linestyle=":", color=line.get_color())
    axes.axvline(8, color="0.8", linewidth=1)
    axes.set(xlabel="H100 GPUs, 8 a node", ylabel="tokens a second")
    axes.set_title("FSDP, 1,024 sequences an update; dotted: ideal", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PAGE.with_suffix(".png"))
