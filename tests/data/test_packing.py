"""Packing: no token lost, no texts mixed, nearly no space left over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.config import GPTConfig
from gpt1.data.batches import PackedRows
from gpt1.data.packing import PackedTexts, pack
from gpt1.data.sources import TextSource
from gpt1.errors import DataError
from gpt1.model import GPT, IGNORED
from gpt1.training.objectives import LanguageModeling

PROPERTY = settings(max_examples=100, deadline=None)
LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=40).filter(any)


def numbered(lengths: list[int]) -> list[list[int]]:
    """Texts of these lengths in which each token is another one, so that its place is known."""
    ends = np.cumsum(lengths).tolist()
    return [list(range(end - n, end)) for end, n in zip(ends, lengths, strict=True)]


def segments(packed: PackedTexts) -> list[list[int]]:
    """The labels of each segment of each row that is not padding."""
    found = []
    for segment_ids, labels in zip(packed.segment_ids, packed.labels, strict=True):
        parts = [labels[segment_ids == number].tolist() for number in range(segment_ids.max() + 1)]
        found += [part for part in parts if part and part != [IGNORED] * len(part)]
    return found


@PROPERTY
@given(lengths=LENGTHS, seq_len=st.integers(1, 30), seed=st.integers(0, 3))
def test_every_text_is_one_segment_or_cut_into_full_rows_and_a_remainder(
    lengths: list[int], seq_len: int, seed: int
) -> None:
    texts = numbered(lengths)
    packed = pack(texts, seq_len, seed=seed)
    pieces = [text[i : i + seq_len] for text in texts for i in range(0, len(text), seq_len)]
    assert sorted(segments(packed)) == sorted(pieces)


@PROPERTY
@given(lengths=LENGTHS, seq_len=st.integers(1, 30))
def test_rows_are_texts_numbered_in_order_with_padding_behind(
    lengths: list[int], seq_len: int
) -> None:
    packed = pack(numbered(lengths), seq_len)
    assert packed.input_ids.shape == packed.labels.shape == packed.segment_ids.shape
    assert packed.input_ids.shape == (len(packed), seq_len)
    real = packed.labels != IGNORED
    assert np.array_equal(packed.input_ids[real], packed.labels[real])
    assert not packed.input_ids[~real].any()
    assert set(np.diff(packed.segment_ids).ravel()) <= {0, 1}
    assert not packed.segment_ids[:, 0].any()
    for row, segment_ids in zip(real, packed.segment_ids, strict=True):
        assert row[: row.sum()].all(), "padding is at the end"
        if not row.all():
            assert (segment_ids == segment_ids[row].max() + 1).tolist() == (~row).tolist()
    assert packed.padding_fraction == pytest.approx(1 - sum(lengths) / real.size)


@PROPERTY
@given(lengths=LENGTHS, seq_len=st.integers(1, 30))
def test_no_two_rows_would_fit_into_one(lengths: list[int], seq_len: int) -> None:
    used = np.sort((pack(numbered(lengths), seq_len).labels != IGNORED).sum(axis=1))
    assert len(used) < 2 or used[0] + used[1] > seq_len


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    texts = numbered([3, 5, 2, 5, 1, 4, 5, 5, 3])
    first, again, other = (pack(texts, 8, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.input_ids, again.input_ids)
    assert np.array_equal(first.segment_ids, again.segment_ids)
    assert not np.array_equal(first.input_ids, other.input_ids)


def test_rows_are_in_random_order_not_longest_text_first() -> None:
    packed = pack(numbered(list(range(1, 41))), 40)
    longest = [np.bincount(row).max() for row in packed.segment_ids]
    assert longest != sorted(longest, reverse=True)


def test_nothing_but_empty_texts_cannot_be_packed() -> None:
    for texts in ([], [[], []]):
        with pytest.raises(DataError, match="no token to pack; the data holds no text"):
            pack(texts, 8)


def lengths_like_jokes(texts: int) -> NDArray[np.int64]:
    """Mostly a dozen or two tokens, some of them hundreds."""
    drawn = np.random.default_rng(0).lognormal(3, 0.7, texts)
    return np.clip(drawn, 2, 700).astype(np.int64)


def test_less_than_1_percent_of_the_space_is_left_over_on_many_short_texts() -> None:
    packed = pack(numbered(lengths_like_jokes(5_000).tolist()), 512)
    assert packed.padding_fraction < 0.01


def test_less_than_1_percent_of_the_space_is_left_over_on_real_jokes(shared_data: Path) -> None:
    jokes = TextSource(shared_data / "jokes" / "valid.csv.gz")
    assert pack(numbered([len(joke.split()) for joke in jokes]), 512).padding_fraction < 0.01


def test_packed_rows_have_the_loss_of_separate_texts() -> None:
    torch.manual_seed(0)
    model = GPT(
        GPTConfig(
            vocab_size=30, n_positions=24, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5
        )
    ).eval()
    rng = np.random.default_rng(0)
    texts = [rng.integers(30, size=length).tolist() for length in rng.integers(1, 20, size=25)]
    rows, objective = PackedRows(pack(texts, 24)), LanguageModeling()
    batch = rows.rows(np.arange(len(rows)))
    with torch.no_grad():
        actual = float(objective.loss(model, batch))
        ids = [torch.tensor([text]) for text in texts if len(text) > 1]
        losses = [float(model(text, labels=text).loss) * (text.shape[1] - 1) for text in ids]
    targets = sum(len(text) - 1 for text in texts)
    assert objective.count(batch) == targets
    assert actual == pytest.approx(sum(losses) / targets, rel=1e-5)
