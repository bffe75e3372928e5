"""The tutorial's recipe, flaws and all."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from gpt1.checkpoint import load_model
from gpt1.language_model import LanguageModel
from gpt1.reproduce import tutorial_recipe as tutorial


def packs_of(lengths: list[int], limit: int) -> list[list[int]]:
    """The packs of jokes n, whose ids are 10 n, 10 n + 1, ..."""
    jokes = [torch.arange(10 * n, 10 * n + length)[None] for n, length in enumerate(lengths)]
    return [pack[0].tolist() for pack in tutorial.packs(jokes, limit)]


def test_packing_cuts_off_first_ids_and_drops_the_last_pack() -> None:
    assert packs_of([3, 2, 3, 2], limit=6) == [[0, 1, 2, 11]]


def test_packing_leaves_out_jokes_longer_than_a_pack() -> None:
    assert packs_of([3, 7, 4, 6], limit=6) == [[0, 1, 2], [20, 21, 22, 23]]


def test_the_rate_climbs_for_5000_updates_and_is_then_nothing() -> None:
    factors = [tutorial.rate_factor(done) for done in (0, 1, 4999, 5000, 6000)]
    assert factors == [0.0, 1 / 5000, 4999 / 5000, 0.0, 0.0]


def test_each_epoch_has_every_joke_in_another_order(jokes: list[str]) -> None:
    order = list(tutorial.shuffled(jokes, 2, seed=1))
    first, second = order[: len(jokes)], order[len(jokes) :]
    assert sorted(first) == sorted(second) == sorted(jokes)
    assert first != second


def test_an_update_sums_the_gradients_of_its_packs(
    folder: Path, lm: LanguageModel, jokes: list[str]
) -> None:
    model, encode = load_model(folder), tutorial.encoder(lm.tokenizer)
    run = tutorial.train(model, encode, jokes, epochs=1, limit=64, seed=0)
    first, second = islice(run, 2)
    assert (first.number, first.lr) == (1, 0.0)
    assert second.lr == pytest.approx(tutorial.LEARNING_RATE / tutorial.WARMUP_UPDATES)

    packs = list(tutorial.packs(tutorial.encoded(tutorial.shuffled(jokes, 1, 0), encode), 64))[:32]
    untouched = load_model(folder)  # the first update has rate 0
    losses = [untouched(pack, labels=pack).loss for pack in packs]
    torch.stack(losses).sum().backward()
    squares = [float((p.grad.double() ** 2).sum()) for p in untouched.parameters()]  # type: ignore[union-attr]
    assert first.grad_norm == pytest.approx(sum(squares) ** 0.5, rel=1e-4)
    assert first.loss == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-5)
    assert first.tokens == sum(pack.shape[1] for pack in packs)
