"""What is known of a run before it begins, and what its plan says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt1.checkpoint import load_model, save_model
from gpt1.config import (
    GPTConfig,
    OptimizerConfig,
    PrepareConfig,
    ScheduleConfig,
    StatesConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
)
from gpt1.data.prepare import prepare
from gpt1.errors import ConfigError, DataError
from gpt1.model import GPT
from gpt1.tasks.example import text
from gpt1.tasks.splits import TaskData
from gpt1.tasks.task import Task
from gpt1.tokenizer import Tokenizer
from gpt1.training.checkup import Checkup, TypedMarkers, disk_need, examine
from gpt1.training.finetune import finetune_lm, plan_finetune_lm, prepare_texts
from gpt1.training.finetune_task import finetune_task, plan_finetune_task
from gpt1.training.plan import Plan
from gpt1.training.pretrain import plan_pretrain, pretrain
from gpt1.training.tracking import LogWatcher

SHORT = TrainingConfig(lr=2e-3, max_steps=4, batch_size=4, log_every_steps=1)
SHAPE = GPTConfig(n_positions=16, n_embd=16, n_layer=1, n_head=2)


class Listening(LogWatcher):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


def write(path: Path, texts: list[str]) -> str:
    path.write_text("text\n" + "".join(f'"{line}"\n' for line in texts), encoding="utf-8")
    return str(path)


def names(plan: Plan) -> list[str]:
    return [finding.rule for finding in plan.findings]


def general(new_model: Callable[..., GPT], **training: Any) -> Checkup:
    config = replace(SHORT, **training)
    return examine(new_model(), config, sequences=40, tokens=640, fine_tuned=False)


# ---------------------------------------------------------------- facts


def test_parameters_of_blocks_are_those_without_embeddings(
    new_model: Callable[..., GPT],
) -> None:
    run = general(new_model)
    # Two blocks of width 16: 12 D^2 weights, 13 D biases and gains; 40 tokens and 16 positions.
    assert run.block_parameters == 2 * (12 * 16**2 + 13 * 16)
    assert run.parameters == run.block_parameters + (40 + 16) * 16


def test_steps_follow_from_epochs_and_batches(new_model: Callable[..., GPT]) -> None:
    schedule = ScheduleConfig(warmup_fraction=0.1)
    run = general(new_model, max_steps=None, epochs=3, batch_size=7, schedule=schedule)
    assert (run.total_steps, run.warmup_steps) == (18, 2)


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({}, 4),
        ({"schedule": ScheduleConfig(name="cosine", warmup_steps=0)}, 4),
        ({"schedule": ScheduleConfig(warmup_steps=9)}, 4),
        ({"lr": 0.0}, 0),
        ({"lr": 0.0, "optimizer": OptimizerConfig(name="muon")}, 4),
    ],
)
def test_the_last_update_that_changes_something_is_known(
    new_model: Callable[..., GPT], settings: dict[str, Any], last: int
) -> None:
    assert general(new_model, **settings).last_moving_step == last


@pytest.mark.parametrize(
    ("states", "left"),
    [
        (StatesConfig(), 2),
        (StatesConfig(keep_last=1), 1),
        (StatesConfig(keep_last=1, keep_every_steps=2), 3),
    ],
)
def test_the_disk_a_run_needs_is_what_it_leaves_and_one_more_of_what_it_replaces(
    tmp_path: Path, base_model: Path, sentences: Path, states: StatesConfig, left: int
) -> None:
    steps = (0, 2, 4, 99)
    training = replace(SHORT, max_steps=6, save_every_steps=1, snapshot_steps=steps, states=states)
    texts = TextConfig(data=str(sentences), valid_fraction=0.2)
    run = prepare_texts(base_model, texts, training).checkup
    finetune_lm(base_model, texts, tmp_path / "out", training)
    folders = {p.parent for p in (tmp_path / "out").rglob("*.safetensors")}
    assert sum(folder.parent.name == "state" for folder in folders) == left
    sizes = [p.stat().st_size for p in (tmp_path / "out").rglob("*.safetensors")]
    weights = 4 * run.parameters
    replaced = weights + 3 * weights  # the model, and a state
    assert disk_need(run.parameters, training, 6) == pytest.approx(sum(sizes) + replaced, rel=0.1)


def test_markers_in_texts_are_counted_once_a_text() -> None:
    texts = ["a <|endoftext|> b <|endoftext|>", "plain < | text", "</s> <|endoftext|>"]
    typed = TypedMarkers(texts)
    assert list(typed) == texts
    assert typed.texts_with == {"<|endoftext|>": 2, "</s>": 1}


def test_texts_are_examined(tmp_path: Path, base_model: Path) -> None:
    train = write(tmp_path / "train.csv", ["anna sees the cat", "bob sees the cat<|end|>"] * 5)
    valid = write(tmp_path / "valid.csv", ["anna sees the cat", "carl hides the old car"])
    texts = TextConfig(data=train, valid_data=valid, prefix="the cat ", end_token=None)
    run = prepare_texts(base_model, texts, SHORT).checkup
    assert (run.texts, run.valid_texts, run.seen_texts) == (10, 2, 1)
    assert (run.ends, run.fine_tuned) == (False, True)
    typed, prefix = run.markers
    assert (typed.text, typed.texts) == ("<|end|>", 5)
    assert typed.ids > 1
    assert typed.unknown > 0
    assert (prefix.text, prefix.unknown, prefix.texts) == ("the cat ", 0, 10)


def test_what_is_free_includes_what_a_resumed_run_has_written(
    base_model: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, out = TextConfig(data=str(sentences)), tmp_path / "out"
    finetune_lm(base_model, texts, out, SHORT)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    plan = plan_finetune_lm(base_model, texts, out, SHORT, resume=True)
    written = [p.stat().st_size for p in out.rglob("*.safetensors")]
    assert 1000 + sum(written) <= plan.free_bytes < 2000 + sum(written)


# ---------------------------------------------------------------- the start of a run


def test_a_run_is_told_what_is_wrong_with_it_and_trains(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    watch = Listening()
    texts = TextConfig(data=str(sentences), valid_data=str(sentences), end_token=None)
    result = finetune_lm(base_model, texts, tmp_path / "out", SHORT, watch=watch)
    assert result.complete
    rules = [line.partition(":")[0] for line in watch.told if line.startswith("warning")]
    assert rules == ["warning (stop-token)", "warning (overlap)"]


def test_a_run_without_room_on_the_disk_does_not_begin(
    base_model: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ConfigError, match=r"the model need .* bytes but 1,000 are free"):
        finetune_lm(base_model, TextConfig(data=str(sentences)), tmp_path / "out", SHORT)
    assert not (tmp_path / "out").exists()


def test_a_model_beside_the_tokenizer_of_another_does_not_begin(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    small = GPT(SHAPE.replace(vocab_size=50))
    save_model(tmp_path / "model", small, Tokenizer.train(["a b c"], merges=0))
    Tokenizer.load(base_model).save(tmp_path / "model")
    with pytest.raises(DataError, match=r"entries but the model knows 50; use the tokenizer"):
        finetune_lm(tmp_path / "model", TextConfig(data=str(sentences)), tmp_path / "out", SHORT)


def labelled(texts: list[str]) -> list[Any]:
    return [text(words, label=n % 2) for n, words in enumerate(texts)]


def test_examples_of_a_task_are_examined(base_model: Path, tmp_path: Path) -> None:
    long = "anna sees the cat " * 20
    examples = labelled(["the cat", "the dog", "red house", "old car", long, long])
    task = Task(name="own", transform=lambda row: row)
    data = TaskData(task=task, train=examples, valid=examples[:1])
    watch = Listening()
    finetune_task(
        base_model, data, tmp_path / "out", TaskConfig(), replace(SHORT, lr=2e-3), watch=watch
    )
    told = [line for line in watch.told if line.startswith("warning")]
    assert told[0].startswith("warning (lost-text): of 6 training texts, 2 are cut and 0")
    assert told[1].startswith("warning (overlap): 1 of 1 validation texts")
    plan = plan_finetune_task(base_model, data, tmp_path / "new", TaskConfig(), SHORT)
    assert names(plan) == ["lost-text", "overlap"]
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- plans


def test_the_plan_of_a_fine_tuning_is_what_it_then_does(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    training = replace(SHORT, max_steps=None, epochs=2)
    texts = TextConfig(data=str(sentences), valid_fraction=0.2)
    plan = plan_finetune_lm(base_model, texts, tmp_path / "out", training)
    assert not (tmp_path / "out").exists()
    result = finetune_lm(base_model, texts, tmp_path / "out", training)
    assert (plan.steps, plan.epochs) == (result.step, 2)
    tokens = result.tokens / 2 + (len(sentences.read_text().splitlines()) - 1) * 0.8
    assert plan.tokens == pytest.approx(tokens, abs=1)  # the first token of a text is no target


def test_a_plan_for_a_folder_in_use_is_refused_as_the_run_would_be(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    texts = TextConfig(data=str(sentences))
    finetune_lm(base_model, texts, tmp_path / "out", SHORT)
    with pytest.raises(ConfigError, match="holds a run or a model already"):
        plan_finetune_lm(base_model, texts, tmp_path / "out", SHORT)


def test_the_plan_of_a_pre_training_prepares_texts_elsewhere(tmp_path: Path) -> None:
    book, out = tmp_path / "book.txt", tmp_path / "out"
    book.write_text("the cat sat and the dog ran home " * 100, encoding="utf-8")
    preparation = PrepareConfig(vocab_size=60, valid_fraction=0.2)
    plan = plan_pretrain(book, out, SHORT, SHAPE, preparation)
    assert list(tmp_path.iterdir()) == [book]
    result = pretrain(book, out, SHORT, SHAPE, preparation)
    assert plan.steps == result.step == 4
    assert plan.parameters == sum(p.numel() for p in load_model(out).parameters())
    assert names(plan) == []


def test_the_plan_of_shards_with_another_tokenizer_says_so(tmp_path: Path) -> None:
    book, shards = tmp_path / "book.txt", tmp_path / "shards"
    book.write_text("the cat sat and the dog ran home " * 100, encoding="utf-8")
    prepare([book], shards, PrepareConfig(vocab_size=60, valid_fraction=0.2))
    Tokenizer.train(["something else"], merges=2).save(shards)
    plan = plan_pretrain(shards, tmp_path / "out", SHORT, SHAPE)
    assert names(plan) == ["tokenizer"]
    assert not plan.works
    assert plan.memory_bytes is None
