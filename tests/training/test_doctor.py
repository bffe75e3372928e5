"""The recipe doctor: each rule trips where it should and is silent where it should not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpt1.config import OptimizerConfig, TrainingConfig
from gpt1.errors import ConfigError, DataError
from gpt1.training.checkup import Checkup, Marker
from gpt1.training.doctor import RULES, Finding, consult, diagnose, lr_range
from gpt1.training.tracking import LogWatcher

GPT1_BLOCKS = 85_054_464
"""Parameters in the blocks of the paper's model: 12 blocks of 12 x 768^2 + 13 x 768."""
MINI_BLOCKS = 4_738_560

SOUND = Checkup(
    training=TrainingConfig(lr=6.25e-5, batch_size=32),
    fine_tuned=True,
    total_steps=1000,
    warmup_steps=20,
    last_moving_step=1000,
    sequences=5000,
    tokens=500_000,
    parameters=116_534_784,
    block_parameters=GPT1_BLOCKS,
    disk_bytes=10,
    free_bytes=10,
    rows=40_478,
    entries=40_478,
    fingerprint="a",
    data_fingerprint="a",
    texts=20_000,
    markers=(Marker("JOKE: ", ids=2, unknown=0, texts=20_000),),
    ends=True,
    valid_texts=1000,
)


def found(**changes: Any) -> list[tuple[str, str]]:
    return [(f.rule, f.message) for f in diagnose(replace(SOUND, **changes))]


def rules(**changes: Any) -> list[str]:
    return [rule for rule, _ in found(**changes)]


def test_a_sound_run_has_no_findings() -> None:
    assert diagnose(SOUND) == []


def test_every_finding_has_the_name_of_its_rule_and_a_remedy() -> None:
    training = TrainingConfig(lr=1.0, batch_size=6000)
    ill = replace(
        SOUND,
        training=training,
        warmup_steps=5000,
        last_moving_step=10,
        markers=(Marker("<s>", 3, 0, 1),),
        ends=False,
        cut=1,
        seen_texts=1,
        entries=50_000,
        disk_bytes=11,
    )
    findings = diagnose(ill)
    assert [f.rule for f in findings] == [rule.__name__.replace("_", "-") for rule in RULES]
    assert all(f.remedy and f.message for f in findings)


@pytest.mark.parametrize(
    ("warmup", "steps", "message"),
    [
        (
            5000,
            9,
            "the warm-up lasts 5,000 updates and the run 9, so the rate reaches 0.18% of its peak",
        ),
        (
            501,
            1000,
            "the warm-up lasts 501 updates and the run 1,000, so the rate reaches 100.00% of its "
            "peak",
        ),
    ],
)
def test_a_warm_up_of_more_than_half_the_run_is_found(
    warmup: int, steps: int, message: str
) -> None:
    assert found(warmup_steps=warmup, total_steps=steps, last_moving_step=steps) == [
        ("warm-up", message)
    ]
    assert found(warmup_steps=500) == []


def test_a_rate_of_0_before_the_end_is_found() -> None:
    message = "the learning rate is 0 in the last 400 of 1,000 updates, which then change nothing"
    assert found(last_moving_step=600) == [("zero-rate", message)]


@pytest.mark.parametrize(
    ("lr", "blocks", "fine_tuned"),
    [
        (2.5e-4, GPT1_BLOCKS, False),  # GPT-1 section 4.1
        (6.25e-5, GPT1_BLOCKS, True),
        (2e-3, 1_779_456, False),  # a trial of 4 blocks of width 192
        (1e-3, MINI_BLOCKS, True),  # recipes/jokes.yaml
        (5e-4, MINI_BLOCKS, True),  # recipes/finetune-task.yaml
        (3e-4, MINI_BLOCKS, True),  # gpt1 reproduce seed
    ],
)
def test_rates_that_are_known_to_work_are_in_range(
    lr: float, blocks: int, fine_tuned: bool
) -> None:
    training = replace(SOUND.training, lr=lr)
    assert rules(training=training, block_parameters=blocks, fine_tuned=fine_tuned) == []


@pytest.mark.parametrize(
    ("lr", "blocks", "fine_tuned"),
    [
        (3e-3, 1_779_456, False),  # a trial that stayed near the loss of single words
        (6.25e-5, MINI_BLOCKS, True),  # the paper's rate, too small for mini
        (6.25e-5, GPT1_BLOCKS, False),  # that of fine-tuning
        (1e-3, GPT1_BLOCKS, True),
    ],
)
def test_rates_that_are_known_not_to_work_are_found(
    lr: float, blocks: int, fine_tuned: bool
) -> None:
    training = replace(SOUND.training, lr=lr)
    assert rules(training=training, block_parameters=blocks, fine_tuned=fine_tuned) == [
        "learning-rate"
    ]


def test_the_rate_beside_muon_is_not_judged() -> None:
    training = TrainingConfig(lr=3e-3, optimizer=OptimizerConfig(name="muon"))
    assert rules(training=training, block_parameters=1_779_456, fine_tuned=False) == []


def test_the_usual_rate_of_pre_training_is_that_of_kaplan() -> None:
    # Kaplan et al. 2020, eq. D.1, computed apart for a million parameters: ln 1e6 = 13.8155.
    assert lr_range(1_000_000, fine_tuned=False)[1] == pytest.approx(0.00131174, rel=1e-4)
    assert lr_range(85_000_000, fine_tuned=True)[1] == pytest.approx(6.25e-5)


def test_a_rate_is_said_with_its_range_and_source() -> None:
    [(_, message)] = found(training=replace(SOUND.training, lr=0.1), fine_tuned=False)
    assert message == (
        "lr is 0.1 but Adam trains a model with 85,054,464 parameters in its blocks between "
        "6.9e-05 and 1.4e-03 (from Kaplan et al. 2020, eq. D.1, and GPT-1's 2.5e-4)"
    )


def test_a_batch_larger_than_the_data_is_found() -> None:
    message = "batch_size is 32 but the data has 31 sequences, so every update reads all of them"
    assert found(sequences=31) == [("batch-size", message)]
    assert found(sequences=32) == []


def test_markers_that_are_no_tokens_are_found() -> None:
    typed = Marker("<|endoftext|>", ids=9, unknown=4, texts=488)
    [(rule, message)] = found(markers=(*SOUND.markers, typed))
    assert rule == "markers"
    assert message == (
        "not in the vocabulary: '<|endoftext|>' in 488 texts becomes 9 tokens, 4 of them unknown"
    )
    assert rules(markers=(Marker("[SEP]", 3, 0, 1),)) == ["markers"]
    assert rules(markers=(Marker("«joke» ", 3, 2, 1),)) == ["markers"]
    assert rules(markers=(Marker("<|endoftext|>", 1, 0, 1),)) == []


def test_texts_without_a_stop_token_are_found_where_one_is_asked_for() -> None:
    assert rules(ends=False) == ["stop-token"]
    assert rules(ends=None) == []


def test_lost_texts_are_counted() -> None:
    message = "of 20,000 training texts, 7 are cut and 2 are not used"
    assert found(cut=7, dropped=2) == [("lost-text", message)]


def test_validation_texts_that_are_trained_on_are_counted() -> None:
    message = (
        "3 of 1,000 validation texts are training texts as well, so the figures say less about new "
        "texts"
    )
    assert found(seen_texts=3) == [("overlap", message)]


def test_the_tokenizer_of_another_model_is_an_error() -> None:
    [finding] = diagnose(replace(SOUND, entries=40_479))
    assert (finding.rule, finding.severity) == ("tokenizer", "error")
    assert finding.message == "the tokenizer has 40,479 entries but the model knows 40,478"


def test_many_more_rows_than_entries_are_a_warning_and_a_rounded_table_is_none() -> None:
    [finding] = diagnose(replace(SOUND, rows=40_606))
    assert (finding.rule, finding.severity) == ("tokenizer", "warning")
    assert diagnose(replace(SOUND, rows=40_576)) == []  # the next multiple of 128


def test_data_of_another_tokenizer_is_an_error() -> None:
    with pytest.raises(DataError, match=r"another tokenizer \(b\) than this one \(a\); prepare"):
        consult(replace(SOUND, data_fingerprint="b"), LogWatcher())


def test_a_disk_that_is_too_small_is_an_error() -> None:
    with pytest.raises(ConfigError, match="need 11 bytes but 10 are free; free some space"):
        consult(replace(SOUND, disk_bytes=11), LogWatcher())


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(DataError, match=r"knows 40,478; .* Moreover, states"):
        consult(replace(SOUND, entries=50_000, disk_bytes=11), LogWatcher())


def test_warnings_are_told_and_do_not_stop() -> None:
    told: list[str] = []
    watch = LogWatcher()
    watch.note = told.append  # type: ignore[method-assign]
    consult(replace(SOUND, ends=False), watch)
    assert told == [str(finding) for finding in diagnose(replace(SOUND, ends=False))]
    assert told[0].startswith("warning (stop-token): no special token ends the texts")


def test_a_finding_reads_as_one_line() -> None:
    finding = Finding("disk", "error", "too small", "free some")
    assert str(finding) == "error (disk): too small; free some"
