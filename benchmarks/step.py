"""One update of training beside the model of `gpt1.scaling`: on one core, and on two processes.

Shapes of several sizes make updates in float32 on one thread. The model predicts their time from
two figures measured in the same round: the rate of a product of matrices and the bandwidth of a sum
of tensors. Two processes do the same under DDP with gloo; the third figure is then the bandwidth of
an all-reduce over the loopback device.

All times are CPU seconds of the process, as the kernel counts them: what other programs take of a
shared machine is left out, but for caches and memory, which they share. In CPU seconds nothing
overlaps, so the model is asked without overlap. Dropout is off: on a CPU its random numbers take
longer than their traffic, and the model counts traffic.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from benchmarks.child import call
from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave
from gpt1.config import GPTConfig, OptimizerConfig
from gpt1.model import GPT
from gpt1.scaling import DEVICES, Assumptions, Device, Plan, estimate
from gpt1.training.optimizer import build_optimizers

TITLE = "an update in float32 on one thread, beside the model of gpt1.scaling"
ROUNDS = 3
PROCESSES = 2
CORE = "epyc-core"
NO_DROPOUT: dict[str, Any] = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


class Case(NamedTuple):
    """A shape and the sequences an update of it reads."""

    model: dict[str, Any]
    sequences: int


def shape(blocks: int, width: int, heads: int, positions: int, vocabulary: int) -> dict[str, Any]:
    """Settings of a `GPTConfig` without dropout, as plain data."""
    sizes = {"n_layer": blocks, "n_embd": width, "n_head": heads, "n_positions": positions}
    return {**sizes, "vocab_size": vocabulary, **NO_DROPOUT}


ALONE = {
    "4 x 128": Case(shape(4, 128, 4, 128, 1000), 16),
    "6 x 256, as mini": Case(shape(6, 256, 4, 256, 8192), 4),
    "8 x 512": Case(shape(8, 512, 8, 256, 8192), 4),
    "12 x 768, the paper's": Case(shape(12, 768, 12, 512, 40_478), 1),
}
TOGETHER = {name: ALONE[name] for name in ("6 x 256, as mini", "8 x 512")}
QUICK = {"tiny": Case(shape(1, 16, 2, 8, 50), 2)}


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = (8, 2**10) if options.quick else (1024, 2**26)
    alone, together = (QUICK, QUICK) if options.quick else (ALONE, TOGETHER)
    apart = not options.quick

    def side(function: Callable[..., Any], case: Case) -> dict[str, float]:
        arguments = {"case": list(case), "sizes": list(sizes)}
        result: dict[str, float] = call(function, arguments, apart=apart, threads=1).result
        return result

    sides = {f"1 process, {name}": partial(side, measure_alone, alone[name]) for name in alone}
    for name in together:
        sides[f"{PROCESSES} processes, {name}"] = partial(side, measure_together, together[name])
    found = interleave(sides, options.rounds or (1 if options.quick else ROUNDS))
    cases = [*alone.values(), *together.values()]
    measured = [values for samples in found.values() for values in samples]
    return Report(
        name="step",
        title=TITLE,
        quick=options.quick,
        rows=[row(name, case, found[name]) for name, case in zip(found, cases, strict=True)],
        settings={
            "gflop_per_s": giga(m["flops"] for m in measured),
            "memory_gb_per_s": giga(m["bandwidth"] for m in measured),
            "all_reduce_gb_per_s": giga(m["link"] for m in measured if "link" in m),
        },
    )


def giga(rates: Iterable[float]) -> float:
    """The median in billions; three digits, however small it is."""
    return float(f"{median(rates) / 1e9:.3g}")


def row(name: str, case: Case, found: list[dict[str, float]]) -> Row:
    """CPU seconds of an update and what the model predicts from the figures of the same round."""
    return Row(
        measure=f"update, {name}",
        unit="CPU s",
        ours=[values["seconds"] for values in found],
        beside="predicted",
        other=[predicted(case, values) for values in found],
        how="times",
    )


def predicted(case: Case, values: dict[str, float]) -> float:
    """Seconds of an update, by the model."""
    processes = PROCESSES if "link" in values else 1
    plan = Plan(
        model=GPTConfig(**case.model),
        device=CORE,
        gpus=processes,
        batch_size=case.sequences * processes,
        micro_batch_size=case.sequences,
        precision="fp32",
    )
    return estimate(plan, Assumptions(overlap=0.0), measured_device(values)).time.total


def measured_device(values: dict[str, float]) -> Device:
    """A data sheet of what was measured: nothing is assumed of efficiencies."""
    return replace(
        DEVICES[CORE],
        fp32_flops=values["flops"],
        memory_bandwidth=values["bandwidth"],
        local_bandwidth=values.get("link", DEVICES[CORE].local_bandwidth),
    )


def measure_alone(case: list[Any], sizes: list[int]) -> dict[str, float]:
    """An update in this process, and the two figures the model needs."""
    update, _ = make_update(Case(*case))
    update()  # the first one makes the moments of AdamW
    return {"seconds": cpu_seconds(update), **rates(*sizes)}


def measure_together(case: list[Any], sizes: list[int]) -> dict[str, float]:
    """As `measure_alone`, in several processes that share the gradients; figures of the first."""
    with TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (folder, case, sizes), nprocs=PROCESSES)
        result: dict[str, float] = json.loads(Path(folder, "0.json").read_text(encoding="utf-8"))
        return result


def _work(rank: int, folder: str, case: list[Any], sizes: list[int]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    update, size = make_update(Case(*case), together=True)
    update()
    seconds = cpu_seconds(update)
    gradients = torch.ones(size)
    exchange = cpu_seconds(partial(dist.all_reduce, gradients))
    link = 2 * (PROCESSES - 1) / PROCESSES * gradients.nbytes / exchange
    values = {"seconds": seconds, "link": link, **rates(*sizes)}
    Path(folder, f"{rank}.json").write_text(json.dumps(values), encoding="utf-8")
    dist.barrier()
    # Taken apart in order, the threads of gloo and the interpreter sometimes wait for each other.
    os._exit(0)


def make_update(case: Case, *, together: bool = False) -> tuple[Callable[[], None], int]:
    """A function that makes one update, as the training loop does, and the model's parameters."""
    config = GPTConfig(**case.model)
    torch.manual_seed(0)
    model = GPT(config).train()
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True) if together else model
    optimizers = build_optimizers(model, OptimizerConfig(), 1e-4)
    ids = torch.randint(config.vocab_size, (case.sequences, config.n_positions))

    def update() -> None:
        replica(ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return update, model.num_parameters()


def rates(side: int, numbers: int) -> dict[str, float]:
    """Operations a second of a product of square matrices, bytes a second of a sum of tensors."""
    matrix = torch.full((side, side), 1 / side)
    first, second, total = torch.ones(3, numbers).unbind()
    product = cpu_seconds(lambda: torch.mm(matrix, matrix))
    addition = cpu_seconds(lambda: torch.add(first, second, out=total))
    return {"flops": 2 * side**3 / product, "bandwidth": 3 * total.nbytes / addition}


def cpu_seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Median time of a call that this process computes, all its threads together."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return median(seconds)
