"""What one device holds in a training step, in bytes; a part of `gpt1.scaling`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gpt1.config import GPTConfig

LOSS_CHUNK_BYTES = 256 * 2**20
"""Logits the loss holds at once; `gpt1.model` has the same for a GPU: a test holds them equal."""

LOSS_CHUNKS_HELD = 3
"""Logits, probabilities and, in bfloat16, copies are there at the same time."""

SAVED_BYTES = {"fp32": 66, "bf16": 40}
"""Kept for the backward pass, for each token, block and unit of width."""

RESERVED_BYTES = 2e9
"""Assumed for the driver, the libraries, communication buffers and gaps between tensors."""


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """Bytes of one device, by what they hold."""

    weights: float
    """In float32; a share under FSDP."""
    low_weights: float
    """Copies in the precision of the products; under FSDP the gathered weights of two blocks and
    of the tables."""
    gradients: float
    """In float32; under FSDP a share, and all of them where they are summed over parts."""
    moments: float
    """The two of AdamW, in float32; a share under FSDP."""
    activations: float
    """Of one micro-batch; with activation checkpointing, one input a block and one whole block."""
    loss: float
    """A chunk of logits, and the gradients of the output layer."""
    reserved: float = RESERVED_BYTES

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


@dataclass(frozen=True, kw_only=True)
class Load:
    """What decides over the memory of a device.

    Attributes:
        model: Shape of the network.
        precision: "bf16" or "fp32".
        shards: Devices that share weights, gradients and moments: 1 under DDP.
        tokens: Of one micro-batch.
        accumulates: Whether gradients are summed over micro-batches.
        checkpointing: Whether blocks are computed again in the backward pass.
    """

    model: GPTConfig
    precision: str
    shards: int
    tokens: int
    accumulates: bool
    checkpointing: bool


def block_parameters(config: GPTConfig) -> int:
    """Trained numbers of one block: four matrices, their biases, two norms."""
    return 12 * config.n_embd**2 + 13 * config.n_embd


def table_parameters(config: GPTConfig) -> int:
    """Trained numbers of the token and the position table."""
    return (config.vocab_size + config.n_positions) * config.n_embd


def parameters(config: GPTConfig) -> int:
    """Trained numbers of a GPT; the tied output layer counts once."""
    return config.n_layer * block_parameters(config) + table_parameters(config)


def device_memory(load: Load) -> DeviceMemory:
    """Bytes one device needs; `gpt1.scaling.estimate` calls it."""
    total = parameters(load.model)
    whole_gradients = load.shards > 1 and load.accumulates
    return DeviceMemory(
        weights=4 * total / load.shards,
        low_weights=_low_weights(load),
        gradients=4 * total / load.shards + (4 * total if whole_gradients else 0),
        moments=8 * total / load.shards,
        activations=_activations(load),
        loss=_loss(load),
    )


def _low_weights(load: Load) -> float:
    size = 2 if load.precision == "bf16" else 4
    if load.shards > 1:
        return size * (2 * block_parameters(load.model) + table_parameters(load.model))
    return size * parameters(load.model) if load.precision == "bf16" else 0


def _activations(load: Load) -> float:
    saved = SAVED_BYTES[load.precision]
    width, layers = load.model.n_embd, load.model.n_layer
    kept = 4 * layers + saved if load.checkpointing else layers * saved
    return load.tokens * width * kept


def _loss(load: Load) -> float:
    """The gradient of the table twice, before and after scaling, and that of the hidden states."""
    table = 4 * load.model.vocab_size * load.model.n_embd
    hidden = 4 * load.tokens * load.model.n_embd
    return 2 * table + 2 * hidden + LOSS_CHUNKS_HELD * LOSS_CHUNK_BYTES
