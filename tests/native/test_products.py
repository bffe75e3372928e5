"""Products by NumPy's OpenBLAS are those of PyTorch, whatever their layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gpt1.native import products
from gpt1.native.library import kernels

SIZES = st.integers(1, 150)


@pytest.fixture(autouse=True)
def _every_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones too; and on every processor where OpenBLAS is, though it may not be faster."""
    monkeypatch.setattr(products, "LEAST_WORK", 0)
    monkeypatch.setattr(products, "_is_the_fastest", lambda: True)
    products.openblas.cache_clear()
    if kernels() is None or products.openblas() is None:
        pytest.skip("no C++ library, or NumPy has no OpenBLAS with sizes of 64 bits")


@pytest.fixture(scope="module", autouse=True)
def _ask_anew() -> Iterator[None]:
    yield
    products.openblas.cache_clear()


def matrix(rows: int, columns: int, *, transposed: bool, gap: int = 0) -> Tensor:
    if transposed:
        return matrix(columns, rows, transposed=False, gap=gap).T
    return torch.randn(rows, columns + gap)[:, :columns]


@given(
    m=SIZES,
    n=SIZES,
    k=SIZES,
    layouts=st.tuples(st.booleans(), st.booleans()),
    gap=st.integers(0, 5),
    threads=st.integers(1, 4),
)
def test_any_product_is_that_of_float64(
    m: int, n: int, k: int, layouts: tuple[bool, bool], gap: int, threads: int
) -> None:
    a = matrix(m, k, transposed=layouts[0], gap=gap)
    b = matrix(k, n, transposed=layouts[1])
    out = matrix(m, n, transposed=False, gap=gap)
    expected = a.double() @ b.double()
    added = 0.5 * expected + 2 * out.double()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(products.product(a, b).double(), expected, rtol=0, atol=1e-4)
        assert products.product(a, b, out, alpha=0.5, beta=2) is out
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(out.double(), added, rtol=0, atol=1e-4)


def test_what_was_in_the_result_does_not_matter() -> None:
    a, out = torch.randn(70, 70), torch.full((70, 70), float("nan"))
    torch.testing.assert_close(products.product(a, a, out), a @ a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.ones(4, 3).double(), torch.ones(3, 2).double()),
        (torch.ones(4, 3).bfloat16(), torch.ones(3, 2).bfloat16()),
        (torch.ones(4, 1).expand(4, 3), torch.ones(3, 2)),
        (torch.ones(4, 6)[:, ::2], torch.ones(3, 2)),
    ],
    ids=["float64", "bfloat16", "one number in many places", "gaps"],
)
def test_other_tensors_are_left_to_pytorch(a: Tensor, b: Tensor) -> None:
    assert products.product(a, b).dtype == a.dtype
    torch.testing.assert_close(products.product(a, b), a @ b)


def test_numpy_keeps_its_threads() -> None:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    before = threadpool_info()
    products.product(torch.ones(80, 80), torch.ones(80, 80))
    assert threadpool_info() == before
