"""From a plan to time, memory and money."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from gpt1.flops import training_flops_per_token
from gpt1.scaling.hardware import DEVICES, Device
from gpt1.scaling.memory import DeviceMemory, Load, device_memory
from gpt1.scaling.plan import Plan
from gpt1.scaling.step import Assumptions, Step, StepTime


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What came of a plan.

    Attributes:
        plan: With its micro-batch filled in.
        time: Of one update, seconds.
        communication_s: Time on the wire in one update, hidden or not.
        memory: Of one device, bytes.
        fits: Whether the device has that much.
        tokens_per_s: Of all devices together.
        mfu: Share of the published peak that the model's own operations make use of.
        run_s: Time of the run, or None without ``tokens``.
        device_hours: Of the run, likewise.
        usd: Its price, or None without a price.
    """

    plan: Plan
    time: StepTime
    communication_s: float
    memory: DeviceMemory
    fits: bool
    tokens_per_s: float
    mfu: float
    run_s: float | None
    device_hours: float | None
    usd: float | None


def estimate(
    plan: Plan,
    assumptions: Assumptions | None = None,
    sheet: Device | None = None,
) -> Estimate:
    """Time, memory and price of a run.

    Args:
        plan: The run.
        assumptions: To change.
        sheet: Of the device, in place of that of ``plan.device``.

    Returns:
        The estimate; ``fits`` says whether the run is possible at all.
    """
    device = sheet or DEVICES[plan.device]
    plan = replace(plan, micro_batch_size=plan.micro_batch_size or most_that_fit(plan, device))
    step = Step(plan, device, assumptions or Assumptions())
    memory = memory_of(plan)
    time = step.time()
    tokens_per_s = plan.batch_size * plan.length / time.total
    flops = training_flops_per_token(plan.model, plan.length)
    peak = device.peak_flops(plan.precision) or math.inf
    run_s = plan.tokens / tokens_per_s if plan.tokens else None
    hours = run_s / 3600 * plan.gpus if run_s is not None else None
    price = plan.usd_per_hour if plan.usd_per_hour is not None else device.usd_per_hour
    return Estimate(
        plan=plan,
        time=time,
        communication_s=step.communication()[0],
        memory=memory,
        fits=memory.total <= device.memory_bytes,
        tokens_per_s=tokens_per_s,
        mfu=flops * tokens_per_s / (peak * plan.gpus),
        run_s=run_s,
        device_hours=hours,
        usd=hours * price if hours is not None and price is not None else None,
    )


def memory_of(plan: Plan) -> DeviceMemory:
    """Bytes one device needs for a plan; without a micro-batch, for all its sequences at once."""
    micro = min(plan.micro_batch_size or plan.per_device, plan.per_device)
    return device_memory(
        Load(
            model=plan.model,
            precision=plan.precision,
            shards=plan.shards,
            tokens=micro * plan.length,
            accumulates=micro < plan.per_device,
            checkpointing=plan.activation_checkpointing,
        )
    )


def most_that_fit(plan: Plan, device: Device) -> int:
    """The largest power of two of sequences that fits into the device at once, or 1."""
    micro = 1 << (plan.per_device.bit_length() - 1)
    while micro > 1 and not _fits(replace(plan, micro_batch_size=micro), device):
        micro //= 2
    return micro


def _fits(plan: Plan, device: Device) -> bool:
    return memory_of(plan).total <= device.memory_bytes
