"""Time of one update, part by part: products, memory, communication, Python, input."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from gpt1.config import GPTConfig
from gpt1.flops import training_flops_per_token
from gpt1.scaling.hardware import Device
from gpt1.scaling.memory import LOSS_CHUNK_BYTES, parameters, table_parameters
from gpt1.scaling.plan import Plan

FORWARD_SHARE = 1 / 3
"""Of the operations, and roughly of the traffic, of a block: what checkpointing does once more."""

BACKWARD_SHARE = 2 / 3

KERNELS_PER_CHUNK = 16
"""Started for each chunk of the loss."""

EXCHANGES = 5
"""Numbers that all processes add up in a step: requests to stop, targets, loss, gradient norm."""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the model takes for granted, beside the efficiencies of a `Device`.

    Attributes:
        overlap: Share of the time of kernels behind which gradients and weights travel unseen.
        latency_s: Of one hop of a collective.
        bucket_bytes: Gradients that DDP sends at once.
        kernels_per_block: Kernels started for a block, forward and backward.
        launch_s: To start one from Python.
        compiled: Share of the traffic and of the kernels of a block left by ``torch.compile``.
        input_bandwidth: Bytes of token shards a process reads a second.
        loss_chunk_bytes: Logits the loss holds at once; ``math.inf``: all of them.
    """

    overlap: float = 0.8
    latency_s: float = 1e-5
    bucket_bytes: float = 25 * 2**20
    kernels_per_block: int = 70
    launch_s: float = 5e-6
    compiled: float = 0.64
    input_bandwidth: float = 1e9
    loss_chunk_bytes: float = LOSS_CHUNK_BYTES


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes between a device and its memory that no product of matrices hides.

    Attributes:
        block: For each token, block and unit of width: norms, activations, sums, casts, dropout.
        logit: For each token and entry of the vocabulary.
        table: For each number of the token table and chunk of the loss.
        weight: For each weight and micro-batch: casts, reads, gradients.
        update: For each weight and step: clipping, and AdamW's five reads and writes.
    """

    block: float
    logit: float
    table: float
    weight: float
    update: float = 40.0


TRAFFIC = {
    "bf16": Traffic(block=256, logit=66, table=16, weight=30),
    "fp32": Traffic(block=340, logit=60, table=24, weight=24),
}
"""Counted kernel by kernel in ``docs/scaling.md``."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Seconds of one update, by what they are spent on."""

    products: float
    """Products of matrices, computed-again ones included."""
    memory: float
    """Other kernels, whose time is that of their traffic."""
    update: float
    """Clipping and AdamW."""
    exposed_communication: float
    """Waiting for other devices: what does not hide behind computation."""
    launch: float
    """Waiting for Python to start the next kernel."""
    input: float
    """Reading token shards."""

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


class Step:
    """One update of a plan on a device.

    Args:
        plan: With its ``micro_batch_size`` given.
        device: What it runs on.
        assumptions: What is taken for granted.
    """

    def __init__(self, plan: Plan, device: Device, assumptions: Assumptions) -> None:
        self.plan, self.device, self.assumptions = plan, device, assumptions
        self.traffic = TRAFFIC[plan.precision]
        self.micro = min(plan.micro_batch_size or plan.per_device, plan.per_device)
        self.parts = math.ceil(plan.per_device / self.micro)
        self.tokens = plan.per_device * plan.length
        self.bandwidth = device.memory_bandwidth * device.memory_efficiency

    def time(self) -> StepTime:
        """Seconds of each part."""
        products, memory = self.products(), self.memory()
        return StepTime(
            products=products,
            memory=memory,
            update=self.update(),
            exposed_communication=self.communication()[1],
            launch=max(0.0, self.launches() - products - memory),
            input=2 * self.tokens / self.assumptions.input_bandwidth,
        )

    def products(self) -> float:
        """Seconds of the products of matrices."""
        model, length = self.plan.model, self.plan.length
        flops = training_flops_per_token(model, length)
        if self.plan.activation_checkpointing:
            flops += round(FORWARD_SHARE * block_flops(model, length))
        rate = self.device.peak_flops(self.plan.precision) or math.nan
        return self.tokens * flops / (rate * self.device.matmul_efficiency)

    def memory(self) -> float:
        """Seconds of all other kernels of the forward and backward passes."""
        model, traffic = self.plan.model, self.traffic
        block = traffic.block * (self.assumptions.compiled if self.plan.compile else 1)
        if self.plan.activation_checkpointing:
            block *= 1 + FORWARD_SHARE
        per_token = model.n_layer * model.n_embd * block + model.vocab_size * traffic.logit
        table = model.vocab_size * model.n_embd * traffic.table * self.chunks()
        weights = self.parts * parameters(model) * traffic.weight
        return (self.tokens * per_token + table + weights) / self.bandwidth

    def chunks(self) -> int:
        """Pieces in which the loss of a step is computed."""
        rows = max(1.0, self.assumptions.loss_chunk_bytes / (4 * self.plan.model.vocab_size))
        return self.parts * max(1, math.ceil(self.micro * self.plan.length / rows))

    def update(self) -> float:
        """Seconds of clipping and AdamW, on this device's share of the weights."""
        numbers = parameters(self.plan.model) / self.plan.shards
        return numbers * self.traffic.update / self.bandwidth

    def launches(self) -> float:
        """Seconds that Python needs to start all kernels; it runs ahead of the device."""
        assumptions = self.assumptions
        blocks = self.parts * self.plan.model.n_layer * assumptions.kernels_per_block
        if self.plan.compile:
            blocks = round(blocks * assumptions.compiled)
        return assumptions.launch_s * (blocks + KERNELS_PER_CHUNK * self.chunks())

    def communication(self) -> tuple[float, float]:
        """Seconds on the wire, and how many of them the device waits for.

        The gradient of the token table is complete when the backward pass is over, as the table is
        the first layer and the last: nothing is left to hide it behind. Under FSDP its gathering,
        before the first block, does not hide either.
        """
        if self.plan.gpus == 1:
            return 0.0, 0.0
        exchanges = EXCHANGES * 2 * self._latency()
        hidden, seen, behind = self._fsdp() if self.plan.parallel == "fsdp" else self._ddp()
        waiting = seen + max(0.0, hidden - self.assumptions.overlap * behind)
        return hidden + seen + exchanges, waiting + exchanges

    def _ddp(self) -> tuple[float, float, float]:
        """All-reduce of float32 gradients, as a reduce-scatter and an all-gather."""
        tables = 4 * table_parameters(self.plan.model)
        blocks = 4 * parameters(self.plan.model) - tables
        buckets = math.ceil(blocks / self.assumptions.bucket_bytes)
        last = BACKWARD_SHARE * (self.products() + self.memory()) / self.parts
        return 2 * self._ring(blocks, buckets), 2 * self._ring(tables, 1), last

    def _fsdp(self) -> tuple[float, float, float]:
        """Gather blocks for each pass, tables once a micro-batch; scatter gradients in float32."""
        model, layers = self.plan.model, self.plan.model.n_layer
        size = 2 if self.plan.precision == "bf16" else 4
        tables = table_parameters(model)
        blocks = parameters(model) - tables
        hidden = self._ring(2 * self.parts * size * blocks, 2 * self.parts * layers)
        hidden += self._ring(4 * blocks, layers)
        seen = self._ring(self.parts * size * tables, self.parts) + self._ring(4 * tables, 1)
        return hidden, seen, self.products() + self.memory()

    def _ring(self, size: float, messages: int) -> float:
        """Seconds in which bytes that all devices hold are gathered, or scattered, in a ring.

        Several rings leave a node through all its network cards, so a node's whole bandwidth
        counts, unless the links inside it are slower.
        """
        device, gpus = self.device, self.plan.gpus
        bandwidth = device.local_bandwidth
        if gpus > device.per_node:
            bandwidth = min(bandwidth, device.node_bandwidth)
        wire = (gpus - 1) / gpus * size / (bandwidth * device.link_efficiency)
        return wire + messages * self._latency()

    def _latency(self) -> float:
        """Seconds until the first byte has been everywhere, along a tree."""
        return self.assumptions.latency_s * math.ceil(math.log2(self.plan.gpus))


def block_flops(config: GPTConfig, seq_len: int) -> int:
    """Training operations per token of the blocks alone, without the output layer."""
    output = 6 * config.vocab_size * config.n_embd
    return training_flops_per_token(config, seq_len) - output
