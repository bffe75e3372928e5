"""One experiment: what it trains from, on how much, and what it is known by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpt1.errors import ConfigError
from gpt1.reproduce.experiments import Experiment, count_of_words, plan, read_splits
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Quiet
from gpt1.tasks.example import pair, similarity, text
from gpt1.tasks.reading import Examples


def test_seeds_come_one_after_the_other_and_baselines_once(config: ReproduceConfig) -> None:
    found = plan(["cola", "rte"], ["full", "majority"], config, {("cola", "full"): 0.1})
    names = [experiment.name for experiment in found]
    assert names == [
        "cola-full-lr0.1-seed42",
        "cola-majority",
        "rte-full-lr0-seed42",
        "rte-majority",
        "cola-full-lr0.1-seed43",
        "rte-full-lr0-seed43",
    ]


def test_a_subset_by_words_counts_both_orders_of_two_texts() -> None:
    ones = Examples("train", [text("one two three four", "a")] * 10, list("0123456789"))
    assert count_of_words(ones, 20) == 5
    pairs = Examples("train", [pair("one two", "three four", "a")] * 10, list("0123456789"))
    assert count_of_words(pairs, 20) == 5
    both = Examples("train", [similarity("one two", "three four", "a")] * 10, list("0123456789"))
    assert count_of_words(both, 20) == 2
    assert count_of_words(both, 1) == 1


def test_an_equal_experiment_has_equal_figures(config: ReproduceConfig) -> None:
    experiment = Experiment("cola", "full", 1, 0.01, replace(config, dev_subset=4, subset_words=20))
    one, other = experiment.run(Quiet()), experiment.run(Quiet())
    assert one.figures == other.figures
    assert one.counts == {"train": 4, "dev": 4}
    assert one.details["updates"] == 1


def test_the_variants_differ(config: ReproduceConfig) -> None:
    losses = {
        variant: Experiment("rte", variant, 1, 0.01, config).run(Quiet()).figures["dev:valid_loss"]
        for variant in ("full", "scratch", "no_lm", "lstm", "transfer-0", "transfer-1")
    }
    assert len(set(losses.values())) == len(losses)
    whole = Experiment("rte", "transfer-2", 1, 0.01, config).run(Quiet())
    # Drawing blocks that are then not used moves the random numbers of the head, no more.
    assert whole.figures["dev:valid_loss"] == pytest.approx(losses["full"], abs=0.05)


def test_an_experiment_without_its_lstm_says_what_to_do(config: ReproduceConfig) -> None:
    without = Experiment("rte", "lstm", 1, 0.01, replace(config, lstm=None))
    with pytest.raises(ConfigError, match="has to be pre-trained first: gpt1 pretrain"):
        without.determinants()


def test_unlabelled_examples_are_left_out(config: ReproduceConfig) -> None:
    splits = read_splits("race", config.data)
    assert list(splits) == ["train", "dev", "test"]
    assert all(e.label is not None for split in splits.values() for e in split.examples)
