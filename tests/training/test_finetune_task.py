"""Fine-tuning on labelled examples: it learns, keeps the best, resumes, and starts as asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt1.config import ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.evaluation.predicting import predict
from gpt1.model import Attention
from gpt1.task_checkpoint import load_task_model
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.tasks.splits import TaskData, subset
from gpt1.tasks.task import Task
from gpt1.training.finetune_task import PAPER, TaskRun, finetune_task
from gpt1.training.tracking import read_metrics

WHO, WHAT = ("anna", "bob", "carl", "the dog"), ("red house", "old car", "small tree", "cat")
DOES = ("sees", "hides", "paints", "buys")
QUICK = TrainingConfig(
    lr=0.01,
    epochs=6,
    batch_size=8,
    eval_every_steps=0,
    log_every_steps=1,
    schedule=ScheduleConfig(warmup_fraction=0.1),
)
SENTENCES = [f"{who} {does} the {what}" for who in WHO for does in DOES for what in WHAT]
Make = Callable[[], list[Example]]


def texts() -> list[Example]:
    return [text(s, "animal" if s.endswith("cat") else "thing") for s in SENTENCES]


def pairs() -> list[Example]:
    return [
        pair(s, f"{who} is there", "yes" if who in ("anna", "bob") else "no")
        for s in SENTENCES[::4]
        for who in WHO
    ]


def similarities() -> list[Example]:
    return [
        similarity(a, b, float(a.endswith("cat")) + float(b.endswith("cat")))
        for a in SENTENCES[::5]
        for b in SENTENCES[::7]
    ]


def choices() -> list[Example]:
    return [
        choice(s, [f"the {w}" for w in WHAT], WHAT.index(s.split("the ")[-1])) for s in SENTENCES
    ]


def data_of(examples: list[Example], **settings: Any) -> TaskData:
    order = np.random.default_rng(0).permutation(len(examples))
    shuffled = [examples[i] for i in order]
    cut = len(examples) // 4
    task = Task(name="mine", transform=lambda row: text(row["text"], row["label"]), **settings)
    return TaskData(task=task, train=shuffled[cut:], valid=shuffled[:cut], source={"data": "here"})


def same(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(torch.equal(a, b) for (_, a), (_, b) in pairs)


@pytest.mark.parametrize(
    ("make", "metric", "least"),
    [
        (texts, "accuracy", 0.9),
        (pairs, "accuracy", 0.9),
        (similarities, "pearson", 0.9),
        (choices, "accuracy", 0.9),
    ],
)
def test_every_layout_learns_what_its_words_say(
    make: Make, metric: str, least: float, base_model: Path
) -> None:
    training = replace(QUICK, epochs=20, eval_every_steps=20, seed=0)
    result = TaskRun(base_model, data_of(make()), TaskConfig(pdrop=0), training).fit()
    assert next(iter(result.metrics)) == metric
    assert result.metrics[metric] > least


@pytest.mark.parametrize(("make", "metric"), [(texts, "accuracy"), (pairs, "accuracy")])
def test_an_lstm_learns_them_too(make: Make, metric: str, base_lstm: Path) -> None:
    training = replace(QUICK, epochs=20, eval_every_steps=20)
    run = TaskRun(base_lstm, data_of(make()), TaskConfig(pdrop=0), training)
    assert run.model.config.embd_pdrop == run.model.config.resid_pdrop == 0
    assert {m.p for m in run.model.backbone.modules() if isinstance(m, torch.nn.Dropout)} == {0}
    assert run.fit().metrics[metric] > 0.9


def test_an_lstm_has_no_blocks_to_transfer(base_lstm: Path) -> None:
    with pytest.raises(CheckpointError, match="transfer_layers needs a Transformer, and this"):
        TaskRun(base_lstm, data_of(texts()), TaskConfig(transfer_layers=1), QUICK)


def test_snapshots_of_a_task_run_have_its_head(base_model: Path, tmp_path: Path) -> None:
    training = replace(QUICK, max_steps=2, snapshot_steps=(0, 2))
    finetune_task(base_model, data_of(texts()), tmp_path / "run", training=training)
    for name in ("step-00000000", "step-00000002"):
        model, _ = load_task_model(tmp_path / "run" / "snapshots" / name)
        assert model.head.classes == ("animal", "thing")


def test_the_best_epoch_is_kept_and_the_result_is_its(base_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    data = data_of(texts())
    result = finetune_task(base_model, data, out, training=replace(QUICK, lr=0.05))
    rows = [row for row in read_metrics(out / "metrics.jsonl") if "accuracy" in row]
    assert [row["step"] for row in rows] == [6, 12, 18, 24, 30, 36]
    best = max(rows, key=lambda row: row["accuracy"])
    assert result.metrics["accuracy"] == pytest.approx(best["accuracy"])
    assert result.best_step == best["step"]
    model, tokenizer = load_task_model(out)
    predicted = predict(model, tokenizer, data.valid).labels
    hits = [p == e.label for p, e in zip(predicted, data.valid, strict=True)]
    assert np.mean(hits) == pytest.approx(best["accuracy"])


def test_a_run_leaves_all_that_is_needed_to_know_and_to_use_it(
    base_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = finetune_task(base_model, data_of(texts()), out, TaskConfig(lm_coef=0.25), QUICK)
    stored = json.loads((out / "result.json").read_text())
    assert stored["metrics"] == result.metrics
    assert stored["truncation"]["examples"] == stored["train_examples"] == 48
    assert "lm_coef: 0.25" in (out / "run.yaml").read_text()
    card = (out / "README.md").read_text()
    assert "| predicts | one of animal, thing |" in card
    assert (out / "loss.png").stat().st_size > 10_000
    first = read_metrics(out / "metrics.jsonl")[0]
    assert first["examples"] == 8
    assert "examples_per_s" in first


def test_a_resumed_run_ends_like_one_that_never_stopped(base_model: Path, tmp_path: Path) -> None:
    config, data = TaskConfig(pdrop=0.1), data_of(choices())
    training = replace(QUICK, max_steps=8, save_every_steps=3, eval_every_steps=4)
    whole = finetune_task(base_model, data, tmp_path / "whole", config, training)

    class Stop(Exception):
        pass

    class Interrupting:
        def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
            if step == 5:
                raise Stop

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args: None

    watch: Any = Interrupting()
    with pytest.raises(Stop):
        finetune_task(base_model, data, tmp_path / "cut", config, training, watch=watch)
    again = finetune_task(base_model, data, tmp_path / "cut", config, training, resume=True)
    assert again.metrics == whole.metrics
    one, _ = load_task_model(tmp_path / "whole")
    other, _ = load_task_model(tmp_path / "cut")
    assert same(one, other)


def test_equal_seeds_give_equal_models_and_others_do_not(base_model: Path) -> None:
    models = []
    for seed in (1, 1, 2):
        run = TaskRun(
            base_model, data_of(texts()), TaskConfig(), replace(QUICK, max_steps=3, seed=seed)
        )
        run.fit()
        models.append(run.model)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_an_update_does_not_depend_on_the_micro_batch_size(base_model: Path) -> None:
    models = []
    for size in (None, 3):
        training = replace(QUICK, max_steps=1, micro_batch_size=size)
        config = TaskConfig(clf_pdrop=0, pdrop=0)
        run = TaskRun(base_model, data_of(choices()), config, training)
        run.fit()
        models.append(run.model)
    for (name, a), b in zip(
        models[0].state_dict().items(), models[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=0, msg=name)


# What is transferred


def test_blocks_that_are_not_kept_are_drawn_anew(base_model: Path) -> None:
    full = TaskRun(base_model, data_of(texts()), TaskConfig(), QUICK).model.backbone
    for layers, kept in (
        (-1, set()),
        (0, {"tokens", "positions"}),
        (1, {"tokens", "positions", 0}),
    ):
        config = TaskConfig(transfer_layers=layers)
        model = TaskRun(base_model, data_of(texts()), config, QUICK).model.backbone
        same_as_before = {
            name
            for name, one, other in (
                ("tokens", model.tokens_embed.weight[:80], full.tokens_embed.weight[:80]),
                ("positions", model.positions_embed.weight, full.positions_embed.weight),
                (0, model.h[0].mlp.c_fc.weight, full.h[0].mlp.c_fc.weight),
                (1, model.h[1].mlp.c_fc.weight, full.h[1].mlp.c_fc.weight),
            )
            if torch.equal(one, other)
        }
        assert same_as_before == kept


def test_more_blocks_than_there_are_cannot_be_kept(base_model: Path) -> None:
    with pytest.raises(ConfigError, match="transfer_layers is 3 but the model has 2 blocks"):
        TaskRun(base_model, data_of(texts()), TaskConfig(transfer_layers=3), QUICK)


def test_dropout_can_be_set_for_the_run(base_model: Path) -> None:
    backbone = TaskRun(base_model, data_of(texts()), TaskConfig(pdrop=0.3), QUICK).model.backbone
    assert backbone.config.embd_pdrop == backbone.config.resid_pdrop == 0.3
    rates = {m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.3}
    assert {m.attn_pdrop for m in backbone.modules() if isinstance(m, Attention)} == {0.3}


def test_examples_are_not_packed_to_a_length(base_model: Path) -> None:
    with pytest.raises(ConfigError, match="seq_len is 8 but examples are not packed"):
        TaskRun(base_model, data_of(texts()), TaskConfig(), replace(QUICK, seq_len=8))


def test_the_paper_fine_tunes_with_these_settings() -> None:
    assert (PAPER.lr, PAPER.epochs, PAPER.batch_size) == (6.25e-5, 3, 32)
    assert (PAPER.schedule.name, PAPER.schedule.warmup_fraction) == ("linear", 0.002)
    assert (PAPER.optimizer.weight_decay, PAPER.optimizer.clip_norm) == (0.01, 1.0)
    assert (TaskConfig().lm_coef, TaskConfig().clf_pdrop) == (0.5, 0.1)


# Labels and metrics


def test_balanced_classes_weigh_the_same_in_the_loss(base_model: Path) -> None:
    run = TaskRun(base_model, data_of(texts()), TaskConfig(class_weights="balanced"), QUICK)
    weights = run.objective.class_weights
    assert weights is not None
    counts = np.bincount(run.labels)
    assert (weights.numpy() * counts).tolist() == pytest.approx([len(run.labels) / 2] * 2)


def test_values_have_no_classes_to_balance(base_model: Path) -> None:
    config = TaskConfig(class_weights="balanced")
    with pytest.raises(ConfigError, match="class_weights is 'balanced' but this task has no"):
        TaskRun(base_model, data_of(similarities()), config, QUICK)


def test_a_class_without_examples_cannot_be_balanced(base_model: Path) -> None:
    data = data_of(texts(), classes=("animal", "plant", "thing"))
    with pytest.raises(DataError, match="every class, but 'plant' has none"):
        TaskRun(base_model, data, TaskConfig(class_weights="balanced"), QUICK)


def test_classes_weigh_what_is_said_and_1_otherwise(base_model: Path) -> None:
    run = TaskRun(base_model, data_of(texts()), TaskConfig(class_weights={"thing": 3}), QUICK)
    assert run.objective.class_weights is not None
    assert run.objective.class_weights.tolist() == [1.0, 3.0]


def test_a_class_that_is_weighed_must_be_there(base_model: Path) -> None:
    config = TaskConfig(class_weights={"plant": 3})
    with pytest.raises(ConfigError, match="names 'plant', which is none of the classes animal, th"):
        TaskRun(base_model, data_of(texts()), config, QUICK)


def test_a_subset_is_the_same_each_time_and_in_order() -> None:
    examples = texts()
    some = subset(examples, 10)
    assert some == subset(examples, 10)
    assert len(some) == 10
    assert [examples.index(e) for e in some] == sorted(examples.index(e) for e in some)
    assert subset(examples, None) is subset(examples, 1000) is examples
