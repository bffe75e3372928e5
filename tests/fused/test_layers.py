"""Sums with norm, feed-forward layers and the errors of logits equal PyTorch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gpt1.config import GPTConfig
from gpt1.fused import layers
from gpt1.model import GPT, MLP, Conv1D, lm_loss
from gpt1.native import gradients
from gpt1.native.library import KERNELS, kernels

TOLERANCE = 1e-5
NATIVE = [name for name in KERNELS if kernels(name)]

pytestmark = pytest.mark.skipif(not NATIVE, reason="the C++ library was not built")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).requires_grad_()


def norm_of(width: int) -> nn.LayerNorm:
    """With gains and biases that are not ones and zeros."""
    norm = nn.LayerNorm(width)
    with torch.no_grad():
        norm.weight.copy_(drawn(width, seed=8))
        norm.bias.copy_(drawn(width, seed=9))
    return norm


def assert_equal(
    actual: Callable[[], Tensor], expected: Callable[[], Tensor], wanted: list[Tensor]
) -> None:
    """Two ways to compute something give the same, and the same gradients."""
    outputs = [actual(), expected()]
    grad = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(7))
    found = [(output, *torch.autograd.grad(output, wanted, grad)) for output in outputs]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(0, 70),
    width=st.integers(8, 70),
    computer=st.sampled_from(NATIVE),
)
def test_add_norm_and_its_gradients_are_those_of_pytorch(
    rows: int, width: int, computer: str
) -> None:
    x, y, norm = drawn(rows, width), drawn(rows, width, seed=1), norm_of(width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT1_KERNELS", computer)
        assert_equal(
            lambda: layers.add_norm(x, y, norm, 0.0),
            lambda: norm(x + y),
            [x, y, norm.weight, norm.bias],
        )


@pytest.mark.parametrize("computer", NATIVE)
def test_dropout_of_add_norm_and_its_gradients(
    monkeypatch: pytest.MonkeyPatch, computer: str
) -> None:
    monkeypatch.setenv("GPT1_KERNELS", computer)
    rows, width, dropout = 300, 70, 0.25
    x, y, norm = drawn(rows, width), drawn(rows, width, seed=1), norm_of(width)

    def ours(y: Tensor = y) -> Tensor:
        torch.manual_seed(3)
        return layers.add_norm(x, y, norm, dropout)

    # What is left out has no influence.
    kept = torch.autograd.grad(ours(), y, torch.ones(rows, width))[0] != 0
    torch.testing.assert_close(ours(y * kept), ours(), atol=0, rtol=0)
    assert float(kept.double().mean()) == pytest.approx(1 - dropout, abs=0.03)
    assert_equal(ours, lambda: norm(x + y * kept / (1 - dropout)), [x, y, norm.weight])
    torch.manual_seed(4)
    other = layers.add_norm(x, y, norm, dropout)
    assert not torch.equal(other, ours())


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 70),
    width=st.integers(1, 20),
    computer=st.sampled_from(NATIVE),
)
def test_the_feed_forward_layer_and_its_gradients_are_those_of_pytorch(
    rows: int, width: int, computer: str
) -> None:
    x, widen, narrow = drawn(rows, width), Conv1D(width, 4 * width), Conv1D(4 * width, width)
    weights = [widen.weight, widen.bias, narrow.weight, narrow.bias]
    with torch.no_grad():
        for seed, weight in enumerate(weights):
            weight.copy_(drawn(*weight.shape, seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT1_KERNELS", computer)
        assert_equal(
            lambda: layers.mlp(x, widen, narrow) / width,
            lambda: narrow(F.gelu(widen(x), approximate="tanh")) / width,
            [x, *weights],
        )


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(0, 40),
    vocab_size=st.integers(1, 200),
    scale=st.sampled_from([1.0, 30.0]),
    computer=st.sampled_from(NATIVE),
)
def test_the_loss_and_its_gradients_are_those_of_pytorch(
    rows: int, vocab_size: int, scale: float, computer: str
) -> None:
    hidden, table = drawn(rows, 8), drawn(vocab_size, 8, seed=1)
    generator = torch.Generator().manual_seed(2)
    targets = torch.randint(vocab_size, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT1_KERNELS", computer)
        assert_equal(
            lambda: lm_loss(hidden * scale, table, targets, weights) / scale,
            lambda: weighted_loss(hidden * scale, table, targets, weights) / scale,
            [hidden, table],
        )


def weighted_loss(hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (F.cross_entropy(hidden @ table.T, targets, reduction="none") * weights).sum()


def test_hooks_of_parts_are_called() -> None:
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, n_positions=16, vocab_size=20))
    model.eval()
    ids = torch.arange(6)[None]
    plain, seen = model(ids).logits, []
    block = model.h[0]
    for part in (block.ln_1, block.ln_2, block.mlp.c_fc, block.mlp.c_proj):
        part.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(model(ids).logits, plain, atol=TOLERANCE, rtol=TOLERANCE)
    assert len(seen) == 4


@pytest.mark.parametrize("computer", [*NATIVE, "none"])
def test_gradients_summed_where_they_belong_are_those_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, computer: str
) -> None:
    monkeypatch.setenv("GPT1_KERNELS", computer)
    config = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=30)
    model = GPT(config.replace(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0))
    ids = torch.randint(30, (3, 16), generator=torch.Generator().manual_seed(0))
    for row in ids:  # plainly
        (2 * model(row[None], labels=row[None]).loss).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with layers.Workspace().used():
        for row in ids:
            (2 * model(row[None], labels=row[None]).loss).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], atol=TOLERANCE, rtol=TOLERANCE, msg=name)


def test_a_backward_pass_that_comes_too_late_is_refused() -> None:
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, n_positions=16, vocab_size=20))
    ids = torch.arange(6)[None]
    with layers.Workspace().used():
        losses = [model(ids, labels=ids).loss for _ in range(2)]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            losses[0].backward()


def test_other_formats_and_activations_are_computed_by_pytorch() -> None:
    x, norm = drawn(3, 8).double(), norm_of(8).double()
    torch.testing.assert_close(layers.add_norm(x, x, norm, 0.0), norm(x + x))
    mlp = MLP(GPTConfig(n_layer=1, n_head=2, n_embd=8, afn="relu"))
    with torch.no_grad():
        for weight in mlp.parameters():
            weight.normal_()
    x = drawn(3, 8)
    torch.testing.assert_close(mlp(x), mlp.c_proj(F.relu(mlp.c_fc(x))))


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 50_000), computer=st.sampled_from(NATIVE))
def test_the_sum_of_squares_is_that_in_float64(count: int, computer: str) -> None:
    x = drawn(count).detach()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT1_KERNELS", computer)
        assert gradients.sum_of_squares(x) == pytest.approx(float(x.double().square().sum()), 1e-5)
