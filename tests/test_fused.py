"""Attention in blocks equals attention written out, on texts of any length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt1 import fused
from gpt1.fused import attend
from gpt1.model import attention_weights

TOLERANCE = 1e-5


def inputs(tokens: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Queries, keys and values ``(N, 3, H, K)`` that want gradients, and a gradient ``(N, H, K)``.

    Two heads of four.
    """
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(tokens, 3, 2, 4, generator=generator, requires_grad=True)
    return qkv, torch.randn(tokens, 2, 4, generator=generator)


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


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    queries=st.sampled_from([1, 3, 8, 128]),
)
def test_attention_in_blocks_and_its_gradients_are_those_of_each_text_alone(
    lengths: list[int], queries: int
) -> None:
    qkv, grad = inputs(sum(lengths))
    expected = written_out(qkv, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "QUERIES", queries)
        actual = attend(qkv, starts_of(lengths))
        gradients = torch.autograd.grad(actual, qkv, grad)
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=TOLERANCE)
    expected_gradients = torch.autograd.grad(expected, qkv, grad)
    torch.testing.assert_close(gradients, expected_gradients, atol=TOLERANCE, rtol=TOLERANCE)


def test_dropout_leaves_weights_out_and_scales_the_others() -> None:
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


def test_gradients_with_dropout_are_those_of_the_weights_that_were_kept() -> None:
    qkv, grad = inputs(9)
    step = torch.randn(qkv.shape, generator=torch.Generator().manual_seed(1)).double()
    double = qkv.detach().double().requires_grad_()

    def mixed(x: Tensor) -> Tensor:
        torch.manual_seed(2)
        return attend(x, starts_of([5, 4]), 0.5)

    (gradient,) = torch.autograd.grad(mixed(double), double, grad.double())
    near = [mixed(double.detach() + sign * 1e-6 * step) for sign in (1, -1)]
    slope = ((near[0] - near[1]) * grad).sum() / 2e-6
    torch.testing.assert_close((gradient * step).sum(), slope)
