"""Attention in blocks equals attention written out, on texts of any length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt1.fused import attention
from gpt1.fused.attention import attend
from gpt1.model import attention_weights
from gpt1.native import gradients
from gpt1.native.library import KERNELS, kernels

TOLERANCE = 1e-5
COMPUTERS = [*(name for name in KERNELS if kernels(name)), "none"]
"""Kernels of the library; none: PyTorch computes."""


@pytest.fixture(params=COMPUTERS)
def computer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What computes."""
    monkeypatch.setenv("GPT1_KERNELS", request.param)
    return str(request.param)


def inputs(tokens: int, heads: int = 2, size: int = 4) -> tuple[Tensor, Tensor]:
    """Queries, keys, values ``(N, 3, H, K)`` that want gradients, and a gradient ``(N, H, K)``."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(tokens, 3, heads, size, generator=generator, requires_grad=True)
    return qkv, torch.randn(tokens, heads, size, generator=generator)


def starts_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def written_out(qkv: Tensor, lengths: list[int]) -> Tensor:
    """Each text alone, with all of its scores."""
    texts = []
    for text in qkv.split(lengths):
        q, k, v = text.permute(1, 2, 0, 3)  # each (H, T, K)
        weights = attention_weights(q[None], k[None], None, causal=True)[0]
        texts.append((weights @ v).transpose(0, 1))
    return torch.cat(texts)


def check(lengths: list[int], heads: int, size: int) -> None:
    """Attention and its gradients are those of each text alone."""
    qkv, grad = inputs(sum(lengths), heads, size)
    expected = written_out(qkv, lengths)
    actual = attend(qkv, starts_of(lengths))
    found = torch.autograd.grad(actual, qkv, grad)
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=TOLERANCE)
    expected_gradients = torch.autograd.grad(expected, qkv, grad)
    torch.testing.assert_close(found, expected_gradients, atol=TOLERANCE, rtol=TOLERANCE)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20) | st.integers(60, 70), min_size=1, max_size=5),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 4, 15, 16, 17, 40, 64]),
    computer=st.sampled_from(COMPUTERS),
)
def test_attention_in_blocks_and_its_gradients_are_those_of_each_text_alone(
    lengths: list[int], heads: int, size: int, computer: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT1_KERNELS", computer)
        check(lengths, heads, size)


@pytest.mark.parametrize("queries", [1, 3, 8])
def test_blocks_may_have_any_size(monkeypatch: pytest.MonkeyPatch, queries: int) -> None:
    monkeypatch.setenv("GPT1_KERNELS", "none")
    monkeypatch.setattr(attention, "QUERIES", queries)
    check([20, 1, 7], heads=2, size=4)


def test_a_long_text(computer: str) -> None:
    check([300, 5], heads=1, size=64)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("computer", [name for name in COMPUTERS if name != "none"], indirect=True)
def test_the_number_of_threads_changes_no_bit(computer: str, dropout: float) -> None:
    found = []
    for threads, openmp in ((1, True), (2, True), (5, True), (3, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
            if not openmp:
                patch.setattr(gradients, "_fork", lambda: None)
            torch.manual_seed(0)
            qkv, grad = inputs(150, heads=3)
            mixed = attend(qkv, starts_of([100, 50]), dropout)
            found.append((mixed, *torch.autograd.grad(mixed, qkv, grad)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_dropout_leaves_weights_out_and_scales_the_others(computer: str) -> None:
    # The values are unit vectors, so that the result is the attention weights themselves.
    torch.manual_seed(0)
    qkv = torch.randn(400, 3, 2, 400)
    qkv[:, 2] = torch.eye(400)[:, None]
    weights, dropped = (attend(qkv, starts_of([400]), p) for p in (0.0, 0.25))
    kept = dropped != 0
    share = kept.sum() / (weights != 0).sum()
    torch.testing.assert_close(dropped[kept], weights[kept] / 0.75)
    # Of 160,400 draws: ten standard deviations.
    assert float(share) == pytest.approx(0.75, abs=0.011)


def test_gradients_with_dropout_are_those_of_the_weights_that_were_kept(computer: str) -> None:
    lengths, size = [70, 4], 4
    factors = kept_factors(lengths)  # (H, N, N)
    qkv, grad = inputs(sum(lengths), size=size)
    torch.manual_seed(2)
    mixed = attend(qkv, starts_of(lengths), 0.5)
    q, k, v = qkv.permute(1, 2, 0, 3)  # each (H, N, K)
    row = torch.arange(sum(lengths))
    text = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = (row[:, None] >= row) & (text[:, None] == text)
    weights = attention_weights(q[None], k[None], mask[None, None], causal=False)[0]
    expected = ((weights * factors) @ v).transpose(0, 1)
    torch.testing.assert_close(mixed, expected, atol=TOLERANCE, rtol=TOLERANCE)
    found = torch.autograd.grad(mixed, qkv, grad)
    expected_gradients = torch.autograd.grad(expected, qkv, grad)
    torch.testing.assert_close(found, expected_gradients, atol=TOLERANCE, rtol=TOLERANCE)


def kept_factors(lengths: list[int]) -> Tensor:
    """Factor of each weight ``(H, N, N)``, read off values that are unit vectors."""
    tokens = sum(lengths)
    qkv = torch.zeros(tokens, 3, 2, tokens)
    qkv[:, 2] = torch.eye(tokens)[:, None]
    plain = attend(qkv, starts_of(lengths))
    torch.manual_seed(2)
    dropped = attend(qkv, starts_of(lengths), 0.5)
    return torch.where(plain > 0, dropped / plain, 0.0).transpose(0, 1)
