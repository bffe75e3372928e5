"""Copy rates, variety and repeats against slow, plain counting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.data.batches import PackedRows, TokenWindows
from gpt1.data.packing import pack
from gpt1.training import copying
from gpt1.training.copying import BETWEEN, copy_rates, distinct, repeats, training_tokens

SIZES = (2, 3, 5)

texts = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=6)
"""Few different tokens, so that much recurs."""


def runs(text: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]


def plain_rate(written: list[list[int]], trained: list[list[int]], size: int) -> float | None:
    known = {run for text in trained for run in runs(text, size)}
    all_runs = [run for text in written for run in runs(text, size)]
    return sum(run in known for run in all_runs) / len(all_runs) if all_runs else None


@given(written=texts, trained=texts, part=st.integers(1, 9))
def test_rates_are_those_of_plain_counting_however_the_data_is_cut(
    written: list[list[int]], trained: list[list[int]], part: int
) -> None:
    joined = [token for text in trained for token in [*text, BETWEEN]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "PART", part)
        rates = copy_rates(written, [np.array(joined, np.int64)], SIZES)
    assert rates == {size: plain_rate(written, trained, size) for size in SIZES}


@given(written=texts)
def test_distinct_is_the_share_of_different_runs(written: list[list[int]]) -> None:
    for size in SIZES:
        all_runs = [run for text in written for run in runs(text, size)]
        expected = len(set(all_runs)) / len(all_runs) if all_runs else None
        assert distinct(written, size) == expected


def tokens_of(source: PackedRows | TokenWindows) -> list[list[int]]:
    """Texts as the module sees them."""
    joined: list[int] = np.concatenate([*training_tokens(source)]).tolist()
    found: list[list[int]] = [[]]
    for token in joined:
        if token == BETWEEN:
            found.append([])
        else:
            found[-1].append(token)
    return [text for text in found if text]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=9))
def test_texts_are_found_in_packed_rows_again(packed_texts: list[list[int]]) -> None:
    source = PackedRows(pack(packed_texts, 8))
    assert sorted(tokens_of(source)) == sorted(packed_texts)
    different = {tuple(text) for text in packed_texts}
    found = repeats(source)
    assert (found.unit, found.total) == ("texts", len(packed_texts))
    assert found.repeated == len(packed_texts) - len(different)


def stream(*parts: NDArray[np.uint16]) -> TokenWindows:
    return TokenWindows([np.concatenate(parts)], 8)


def test_a_stretch_that_comes_twice_is_counted_in_a_stream() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**16, 300).astype(np.uint16) for _ in range(2))
    assert repeats(stream(first, second)).repeated == 0
    again = repeats(stream(first, second, first[100:160]))
    assert again.unit == "stretches of 50 tokens"
    assert again.total == 660 - 49
    assert again.repeated == 60 - 49


def test_what_is_cut_from_the_data_is_copied_in_full() -> None:
    rng = np.random.default_rng(1)
    source = stream(rng.integers(0, 2**16, 5000).astype(np.uint16))
    cut, own = source.streams[0][1000:1040].tolist(), rng.integers(0, 2**16, 40).tolist()
    assert set(copy_rates([cut], training_tokens(source)).values()) == {1.0}
    assert set(copy_rates([own], training_tokens(source)).values()) == {0.0}


def test_only_so_many_tokens_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "SEARCHED_TOKENS", 10)
    source = TokenWindows([np.arange(8, dtype=np.uint16), np.arange(9, dtype=np.uint16)], 8)
    assert [part.tolist() for part in training_tokens(source)] == [[*range(8)], [0, 1]]
