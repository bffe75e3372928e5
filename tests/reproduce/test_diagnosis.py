"""The doctor finds the mistakes of the tutorial, and none in our recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpt1.config import GPTConfig
from gpt1.language_model import LanguageModel, load
from gpt1.locate import locate
from gpt1.model import GPT
from gpt1.reproduce.diagnosis import diagnosis_section, our_checkup, tutorial_checkup
from gpt1.reproduce.judge import Judge
from gpt1.reproduce.packing import TutorialPacking, measure_tutorial
from gpt1.reproduce.recipes import OurRun, Task
from gpt1.reproduce.seed import learning_rate, read_jokes, write_jokes
from gpt1.reproduce.settings import SeedConfig
from gpt1.training.checkup import Checkup
from gpt1.training.doctor import RULES, diagnose
from gpt1.training.tracking import LogWatcher

ITS_JOKES = TutorialPacking(
    jokes=5 * 231_657,
    ids=39_000_000,
    marker_ids=9_000_000,
    packs=78_400,
    packed_ids=38_000_000,
    too_long=5,
    cut=1_000_000,
    unfinished_jokes=10,
    foreign_share=0.9,
)
"""A run of its size: 2,450 updates on its 231,657 jokes; the other numbers are made up."""


@pytest.fixture(scope="module")
def mini() -> LanguageModel:
    return load("mini", tokenizer_mode="bert")


@pytest.fixture(scope="module")
def released(mini: LanguageModel) -> LanguageModel:
    """A model of the size of the released one, without weights."""
    with torch.device("meta"):
        return LanguageModel(GPT(GPTConfig()), mini.tokenizer)


def rules(run: Checkup) -> list[str]:
    return [finding.rule for finding in diagnose(run)]


def test_the_tutorial_on_its_jokes_and_its_model_trips_four_rules(
    released: LanguageModel,
) -> None:
    run = tutorial_checkup(ITS_JOKES, released)
    assert run.total_steps == 2450
    assert rules(run) == ["warm-up", "markers", "stop-token", "lost-text"]
    warm_up, markers, _, lost = [finding.message for finding in diagnose(run)]
    assert "5,000 updates and the run 2,450, so the rate reaches 49.00%" in warm_up
    assert "'<|endoftext|>' in 1,158,285 texts becomes 9 tokens" in markers
    assert "JOKE" not in markers
    assert "1,000,000 are cut and 15 are not used" in lost


def test_the_tutorial_prolonged_has_no_rate_after_its_warm_up(released: LanguageModel) -> None:
    run = tutorial_checkup(replace(ITS_JOKES, packs=32 * 12_000), released)
    assert rules(run) == ["zero-rate", "markers", "stop-token", "lost-text"]
    assert "0 in the last 7,000 of 12,000 updates" in diagnose(run)[0].message


def test_the_tutorial_trips_its_rules_on_mini_and_ours_none(
    mini: LanguageModel, tmp_path: Path
) -> None:
    settings = SeedConfig(model="mini")
    jokes = read_jokes(settings)
    packing = measure_tutorial(
        mini.tokenizer, jokes.train, epochs=settings.passes, limit=256, seed=settings.seed
    )
    tutorial = tutorial_checkup(packing, mini)
    assert rules(tutorial) == ["warm-up", "learning-rate", "markers", "stop-token", "lost-text"]

    task = Task(
        settings=settings,
        start=locate("mini"),
        jokes=jokes.train,
        judge=Judge(mini.tokenizer, jokes.held_out),
        before=0.0,
        watch=LogWatcher(),
    )
    data = write_jokes(tmp_path / "train.jsonl", jokes.train)
    lr = learning_rate(settings, mini.model)
    ours = our_checkup(OurRun(task, data, tmp_path / "model", lr))
    assert rules(ours) == []

    section = diagnosis_section(tutorial, ours)
    assert len(section.rows) == len(RULES)
    assert {row[0] for row in section.rows if row[1]} == set(rules(tutorial))
    assert [row[2] for row in section.rows] == [None] * len(RULES)
