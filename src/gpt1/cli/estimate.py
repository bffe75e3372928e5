"""``gpt1 estimate``: time, memory and price of a training run, before it is started."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, collect
from gpt1.config import GPTConfig
from gpt1.errors import ConfigError
from gpt1.scaling import DEVICES, SIZES, Estimate, Plan

EXAMPLES = """\
gpt1 estimate --size 117M --gpus 8 --device h100 --batch-size 64 --tokens 1.2e11
gpt1 estimate --size 7B --gpus 64 --device h200 --parallel fsdp --activation-checkpointing
gpt1 estimate --model.n-layer 6 --model.n-embd 256 --model.n-head 4 --gpus 1 --json"""

COSTS_NOTHING = (
    *("afn", "embd_pdrop", "attn_pdrop", "resid_pdrop"),
    *("layer_norm_epsilon", "initializer_range"),
)
"""Fields of a shape that the estimate does not depend on."""


def add_arguments(parser: ArgumentParser) -> None:
    """The shape, by name or by its fields, and the plan."""
    parser.add_argument(
        "--size", choices=tuple(SIZES), help="Shape by name, in place of --model.* flags."
    )
    add_fields(parser, GPTConfig, prefix="model.", leave_out=COSTS_NOTHING)
    add_fields(parser, Plan, leave_out=["model"])
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(arguments: Namespace) -> int:
    """Estimate; what does not fit is no error, but said."""
    from gpt1.cli.progress import say
    from gpt1.cli.report import print_facts
    from gpt1.scaling import estimate

    arguments.model = Namespace(**asdict(shape(arguments)))  # type: ignore[no-untyped-call]
    found = estimate(collect(Plan, arguments))
    if arguments.json:
        print_facts(asdict(found), as_json=True)
        return 0
    print_facts(shown(found), as_json=False)
    if not found.fits:
        say("It does not fit. Try --parallel fsdp, more GPUs or --activation-checkpointing.")
    return 0


def shape(arguments: Namespace) -> GPTConfig:
    """The model that ``--size`` names or the ``--model.*`` flags describe.

    Raises:
        ConfigError: If both are given.
    """
    described = collect(GPTConfig, arguments.model)
    if arguments.size is None:
        return described
    if described != GPTConfig():
        raise ConfigError("--size and --model.* both give a shape; leave one of them out")
    return SIZES[arguments.size]


def shown(found: Estimate) -> dict[str, Any]:
    """An estimate for people: figures with units, parts of the time with their share."""
    plan, device = found.plan, DEVICES[found.plan.device]
    facts: dict[str, Any] = {
        "device": f"{plan.gpus:,} x {device.title}, {plan.parallel}, {plan.precision}",
        "batch": f"{plan.batch_size:,} sequences of {plan.length:,} tokens, "
        f"{plan.micro_batch_size} at a time on a device",
        "time of an update": f"{found.time.total:.4g} s",
    }
    for name, seconds in asdict(found.time).items():
        facts[f"  {name}"] = f"{seconds:.4g} s, {seconds / found.time.total:.0%}"
    facts["on the wire"] = f"{found.communication_s:.4g} s, hidden or not"
    facts["tokens/s"] = f"{found.tokens_per_s:,.0f}"
    facts["MFU"] = f"{found.mfu:.0%} of the published peak"
    facts["memory of a device"] = f"{_gb(found.memory.total)} of {_gb(device.memory_bytes)}"
    for name, size in asdict(found.memory).items():
        facts[f"  {name} "] = _gb(size)
    return facts | _run_facts(found)


def _run_facts(found: Estimate) -> dict[str, str]:
    """Length and price of the whole run, where it was asked for."""
    if found.run_s is None or found.device_hours is None:
        return {}
    facts = {
        "whole run": f"{found.run_s / 86_400:,.2f} days, {found.device_hours:,.0f} device-hours"
    }
    if found.usd is not None:
        hourly = found.usd / found.device_hours
        facts["price"] = f"{found.usd:,.0f} USD at {hourly:.2f} USD a device-hour (assumed)"
    return facts


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
