"""Figures of the tutorial's packs, against its own loop on real ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpt1.data.packing import TokenTexts, pack
from gpt1.language_model import LanguageModel
from gpt1.reproduce.defects import foreign_share
from gpt1.reproduce.packing import OurPacking, measure_tutorial, packing_section
from gpt1.reproduce.tutorial_recipe import encoded, encoder, packs, shuffled


@pytest.mark.parametrize("limit", [30, 50, 64])
def test_the_figures_are_those_of_the_loop_on_real_ids(
    lm: LanguageModel, jokes: list[str], limit: int
) -> None:
    found = measure_tutorial(lm.tokenizer, jokes, epochs=2, limit=limit, seed=3)
    ids = list(encoded(shuffled(jokes, 2, 3), encoder(lm.tokenizer)))
    real = list(packs(ids, limit))
    assert found.packs == len(real)
    assert found.packed_ids == sum(pack.shape[1] for pack in real)
    assert found.ids == sum(joke.shape[1] for joke in ids)
    assert found.too_long == sum(joke.shape[1] > limit for joke in ids)
    joke_id = ids[0][0, 0]
    kept = sum(int((pack == joke_id).sum()) for pack in real)
    used = found.jokes - found.too_long - found.unfinished_jokes
    assert found.cut == used - kept


def figures(lengths: list[int], limit: int, lm: LanguageModel) -> Iterator[float]:
    """Packs, cut ids, jokes left over and foreign share of jokes with so many ids."""
    # Every word is one id; prefix and marker take the rest.
    around = len(lm.tokenizer.encode("JOKE: <|endoftext|>"))
    texts = ["the " * (length - around) for length in lengths]
    found = measure_tutorial(lm.tokenizer, texts, epochs=1, limit=limit, seed=0)
    yield from (found.packs, found.cut, found.unfinished_jokes, found.foreign_share)


def test_two_jokes_of_equal_length_see_each_other(lm: LanguageModel) -> None:
    packs, cut, left, foreign = figures([30, 30, 30], 60, lm)
    assert (packs, cut, left) == (1, 1, 1)
    # 59 tokens see 59 * 60 / 2; 30 and 29 of them are alone among 30 * 31 / 2 + 29 * 30 / 2.
    assert foreign == pytest.approx(1 - (465 + 435) / 1770)


def test_jokes_that_are_all_too_long_make_no_pack(lm: LanguageModel) -> None:
    assert list(figures([40, 40], 30, lm)) == [0, 0, 0, 0.0]


def test_our_rows_lose_nothing_and_see_no_other_joke() -> None:
    texts = TokenTexts.of([[1] * 5, [2] * 3, [3] * 9, [4] * 2])
    ours = OurPacking(texts, pack(texts, 8))
    assert ours.lost_ids == 0
    assert foreign_share(ours) == 0.0
    assert OurPacking(texts.with_end(0), ours.rows).lost_ids == 4


def test_packs_of_a_run_stand_beside_as_many_epochs_of_ours(
    lm: LanguageModel, jokes: list[str]
) -> None:
    texts = TokenTexts.of(lm.tokenizer.encode_batch(jokes))
    ours = OurPacking(texts, pack(texts, 64))
    tutorial = measure_tutorial(lm.tokenizer, jokes, epochs=3, limit=60, seed=0)
    section = packing_section(tutorial, ours, epochs=3, limit=60)
    rows = {row[0]: row[1:] for row in section.rows}
    assert section.title == "Packing, 3 epochs"
    assert rows["jokes, every epoch's counted"] == (540, 540)
    assert rows["their ids"] == (tutorial.ids, 3 * len(texts.ids))
    assert rows["packs"] == (tutorial.packs, 3 * len(ours.rows))
    assert rows["ids a pack has room for"] == (60, 64)
