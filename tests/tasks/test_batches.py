"""Batches of examples: what a row holds, who sees whom, what tokens weigh, how full they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt1.tasks.batches import LengthOrder, TaskBatch, TaskRows, branch_mask, collate
from gpt1.tasks.encoding import Encoded, encode_examples
from gpt1.tasks.example import Example, choice, similarity, text
from gpt1.tasks.task import get_task
from tasks.worlds import examples, new_tokenizer

TOKENIZER = new_tokenizer()


def encoded(*items: Example) -> list[Encoded]:
    return encode_examples(items, TOKENIZER, 512)[0]


def batch_of(*items: Example, share: bool = True) -> TaskBatch:
    return collate(encoded(*items), np.zeros(len(items), np.int64), share_context=share)


# Rows


def test_plain_sequences_are_padded_on_the_right_and_need_no_mask() -> None:
    batch = batch_of(text("the old cat"), text("a dog"))
    assert batch.mask is None
    assert batch.positions is None
    assert batch.input_ids.shape == (2, 5)
    assert batch.input_ids[1, 4] == 0
    assert batch.extract.tolist() == [[4], [5 + 3]]


def test_a_context_stands_once_before_its_options() -> None:
    batch = batch_of(choice("the cat sees", ["a dog", "red"]))
    ids = [TOKENIZER.pieces([token])[0] for token in batch.input_ids[0].tolist()]
    assert ids == [
        *("_start_", "the</w>", "cat</w>", "sees</w>", "_delimiter_"),
        *("a</w>", "dog</w>", "_classify_", "red</w>", "_classify_"),
    ]
    assert batch.positions is not None
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 5, 6]
    assert batch.extract.tolist() == [[7, 9]]


def test_an_option_sees_the_context_and_itself() -> None:
    mask = branch_mask(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0].int().tolist()
    assert mask == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_an_example_with_fewer_options_has_a_gap() -> None:
    batch = batch_of(choice("a", ["cat", "dog", "sea"]), choice("a", ["cat", "dog"]))
    assert (batch.extract < 0).tolist() == [[False, False, False], [False, False, True]]


# The language-model loss: mean over a sequence, then the sequences, then the examples


@given(items=st.lists(examples(), min_size=1, max_size=5), share=st.booleans())
def test_each_target_weighs_what_the_paper_gives_it(items: list[Example], share: bool) -> None:
    batch = batch_of(*items, share=share)
    flat = batch.input_ids.flatten()
    total: dict[int, float] = {}
    for token, weight in zip(batch.lm_targets.tolist(), batch.lm_weights.tolist(), strict=True):
        total[token] = total.get(token, 0.0) + weight
    expected: dict[int, float] = {}
    for example in encoded(*items):
        for sequence in example.sequences:
            for token in sequence[1:]:
                share_of_token = 1 / (len(sequence) - 1) / len(example.sequences) / len(items)
                expected[token] = expected.get(token, 0.0) + share_of_token
    assert total == pytest.approx(expected, abs=1e-6)
    assert float(batch.lm_weights.sum()) == pytest.approx(1.0, abs=1e-5)
    assert (flat[batch.extract[batch.extract >= 0]] == TOKENIZER.token_id("_classify_")).all()


@given(items=st.lists(examples(), min_size=1, max_size=5))
def test_a_shared_context_needs_no_more_tokens(items: list[Example]) -> None:
    shared, plain = batch_of(*items), batch_of(*items, share=False)
    assert len(shared.lm_targets) <= len(plain.lm_targets)


# The order


@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=80),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 2),
)
def test_an_epoch_has_every_example_once(lengths: list[int], batch_size: int, epoch: int) -> None:
    order = LengthOrder(np.array(lengths))(len(lengths), batch_size, epoch, 7)
    assert sorted(order.tolist()) == list(range(len(lengths)))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    orders = [LengthOrder(lengths)(500, 8, epoch, seed) for epoch in (0, 1) for seed in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert (LengthOrder(lengths)(500, 8, 1, 1) == orders[3]).all()


def test_long_and_short_batches_come_in_random_order() -> None:
    lengths = np.arange(800)
    order = LengthOrder(lengths)(800, 8, 0, 0)
    means = lengths[order].reshape(100, 8).mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(100))[0, 1]) < 0.3


TASKS_AND_SIZES = [("cola", 0), ("sst2", 8000), ("mrpc", 0), ("rte", 0), ("mnli", 4000)]


@pytest.mark.parametrize(
    ("name", "most"), [*TASKS_AND_SIZES, ("stsb", 0), ("race", 2000), ("storycloze", 0)]
)
def test_less_than_a_twentieth_of_a_real_epoch_is_padding(
    name: str, most: int, shared_data: Path
) -> None:
    file = shared_data / "tasks" / name / "train.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line, _ in zip(stream, range(most or 10**6), strict=False)]
    transform = get_task(name).transform
    lengths = [
        (
            tuple(range(2 + sum(len(part.split()) for s in e.segments[:1] for part in s))),
            [2 + sum(len(part.split()) for part in s) for s in e.segments[1:]],
        )
        for e in map(transform, rows)
    ]  # words stand for tokens, which is quicker
    items = [_stand_in(len(context), others) for context, others in lengths]
    source = TaskRows(items, np.zeros(len(items), np.int64), share_context=True)
    order = LengthOrder(source.lengths)(len(source), 32, 0, 42)
    real = padded = 0
    for start in range(0, len(order), 32):
        of_batch = source.lengths[order[start : start + 32]]
        real += int(of_batch.sum())
        padded += int(of_batch.max()) * len(of_batch)
    assert 1 - real / padded < 0.05


def _stand_in(context: int, others: list[int]) -> Encoded:
    """An example of so many tokens."""
    if len(others) > 1:
        return Encoded(tuple((0,) * (context + other) for other in others), context)
    return Encoded(((0,) * (context + sum(others)),), 0)


def test_the_two_orders_of_a_similarity_are_rows_of_one_length() -> None:
    batch = batch_of(similarity("the old cat", "a dog"))
    assert batch.input_ids.shape == (2, 8)
    assert (batch.input_ids != 0).all()
