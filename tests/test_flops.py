"""FLOP counts against PyTorch's own counter, and the measured rate of matrix products."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import gpt1
from gpt1.config import GPTConfig, LSTMConfig
from gpt1.flops import matrix_parameters, matrix_rate, mfu, training_flops_per_token
from gpt1.model import GPT

GPT_SHAPE = GPTConfig(n_layer=3, n_head=2, n_embd=32, n_positions=24, vocab_size=100)


@pytest.mark.parametrize("seq_len", [8, 24])
def test_flops_of_a_gpt_equal_those_torch_counts(seq_len):
    model = GPT(GPT_SHAPE)
    ids = torch.randint(100, (2, seq_len))
    with FlopCounterMode(display=False) as counter:
        # Written out, so that the backward pass of the fused kernel computes nothing twice.
        logits = model(ids, output_attentions=True).logits
        cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    counted = counter.get_total_flops()
    assert counted == training_flops_per_token(GPT_SHAPE, seq_len) * ids.numel()


def test_flops_of_an_lstm_equal_those_torch_counts_of_the_same_matrices():
    config = LSTMConfig(n_units=16, n_embd=8, n_positions=24, vocab_size=50)
    cell, proj = torch.nn.LSTMCell(8, 16), torch.nn.Linear(16, 8, bias=False)
    table = torch.nn.Parameter(torch.randn(50, 8))
    x = torch.randn(3, 8, requires_grad=True)
    state = torch.randn(3, 16, requires_grad=True), torch.randn(3, 16)
    with FlopCounterMode(display=False) as counter:
        gates = x @ cell.weight_ih.T + state[0] @ cell.weight_hh.T
        (proj(gates[:, :16]) @ table.T).sum().backward()
    assert counter.get_total_flops() == 3 * training_flops_per_token(config, 24)


def test_matrix_parameters_are_the_matrices_without_the_position_table():
    model = GPT(GPT_SHAPE)
    matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert matrix_parameters(GPT_SHAPE) == matrices - model.positions_embed.weight.numel()


def test_the_papers_model_has_116_million_of_them():
    assert matrix_parameters(gpt1.GPTConfig()) == 12 * 12 * 768**2 + 40_478 * 768


def test_the_rate_of_a_machine_is_measured_once():
    cpu = torch.device("cpu")
    rate = matrix_rate(cpu, torch.float32)
    assert 1e7 < rate < 1e16
    assert matrix_rate(cpu, torch.float32) == rate


def test_the_rate_is_that_of_what_a_model_multiplies_with(monkeypatch):
    multiplied = []

    def product(a, b):
        multiplied.append(len(a))
        return a @ b

    monkeypatch.setattr("gpt1.native.products.product", product)
    matrix_rate.__wrapped__(torch.device("cpu"), torch.float32)
    assert max(multiplied) > 512


def test_mfu_is_a_share_of_what_all_devices_could_do():
    assert mfu(3e12, rate=2e12, world_size=3) == 0.5
