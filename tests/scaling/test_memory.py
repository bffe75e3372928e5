"""Memory of a device against what PyTorch keeps, and arithmetic that can be done by hand."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.model import LOSS_CHUNK_BYTES as CHUNKS_OF_THE_LOSS
from gpt1.scaling import SIZES
from gpt1.scaling.memory import (
    LOSS_CHUNK_BYTES,
    SAVED_BYTES,
    Load,
    device_memory,
    parameters,
)


def load(**changes: object) -> Load:
    settings = {
        "model": SIZES["117M"],
        "precision": "bf16",
        "shards": 1,
        "tokens": 512,
        "accumulates": False,
        "checkpointing": False,
    }
    return Load(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_those_of_the_network(size: str) -> None:
    with torch.device("meta"):
        assert parameters(SIZES[size]) == GPT(SIZES[size]).num_parameters()


def test_the_loss_holds_as_much_as_the_network_says() -> None:
    assert CHUNKS_OF_THE_LOSS["cuda"] == LOSS_CHUNK_BYTES


def saved_bytes(blocks: int) -> int:
    """Bytes of all tensors PyTorch keeps for the backward pass, weights left out."""
    config = GPTConfig(n_layer=blocks, n_head=2, n_embd=128, n_positions=64, vocab_size=64)
    config = config.replace(attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0)
    model, kept = GPT(config), {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(64, (4, 64))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(ids, labels=ids)
    return sum(storage.nbytes() for storage in kept.values())


def test_activations_of_a_block_are_those_pytorch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT1_KERNELS", "none")  # as on a GPU; the kernels of a CPU keep less
    block = (saved_bytes(2) - saved_bytes(1)) / (4 * 64 * 128)
    masks = 2  # of dropout, a byte each, which is off above: a CPU keeps them in float32
    assert block + masks == pytest.approx(SAVED_BYTES["fp32"], rel=0.01)


def test_ddp_holds_sixteen_bytes_a_parameter_and_a_copy_in_bfloat16() -> None:
    memory = device_memory(load())
    state = memory.weights + memory.gradients + memory.moments
    assert state == 16 * parameters(SIZES["117M"])
    assert memory.low_weights == 2 * parameters(SIZES["117M"])


def test_fsdp_holds_a_share_of_weights_gradients_and_moments() -> None:
    whole, share = device_memory(load()), device_memory(load(shards=8))
    for name in ("weights", "gradients", "moments"):
        assert getattr(share, name) == getattr(whole, name) / 8
    assert share.activations == whole.activations


def test_fsdp_holds_whole_gradients_while_it_sums_them() -> None:
    extra = device_memory(load(shards=8, accumulates=True)).gradients
    assert extra - device_memory(load(shards=8)).gradients == 4 * parameters(SIZES["117M"])


def test_checkpointing_keeps_an_input_a_block_and_one_whole_block() -> None:
    memory = device_memory(load(checkpointing=True))
    assert memory.activations == 512 * 768 * (12 * 4 + SAVED_BYTES["bf16"])


def test_the_total_is_the_sum_of_what_is_held() -> None:
    memory = device_memory(load())
    assert memory.total == sum(asdict(memory).values())
