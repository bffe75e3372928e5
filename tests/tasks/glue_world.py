"""A GLUE of three invented sentences a test set, in its official files, and models for it."""

from __future__ import annotations

from pathlib import Path

import torch

from gpt1.config import GPTConfig, HeadConfig
from gpt1.model import GPT
from gpt1.task_checkpoint import save_task_model
from gpt1.task_model import TaskModel
from gpt1.tasks.example import Example, pair, similarity, text
from gpt1.tasks.glue import TEST_SETS
from gpt1.tasks.task import get_task
from tasks.worlds import new_tokenizer

SMALL_SETS = {name: test_set._replace(rows=3) for name, test_set in TEST_SETS.items()}
FIRST = ["the old cat sees the sea", "a man likes the dog", "the small man hears a dog and a cat"]
SECOND = ["the sea", "a red dog and the man", "the man"]
INDEX = (2, 0, 1)
"""The order of the rows in the files."""

PAIRS = ("sentence1", "sentence2")
FILES: dict[str, tuple[str, ...]] = {
    "CoLA/test.tsv": ("index", "sentence"),
    "SST-2/test.tsv": ("index", "sentence"),
    "MRPC/test.tsv": ("index", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "STS-B/test.tsv": ("index", "genre", "filename", "year", "old_index", *PAIRS),
    "QQP/test.tsv": ("id", "question1", "question2"),
    "MNLI/test_matched.tsv": ("index", "promptID", "pairID", "genre", *PAIRS),
    "MNLI/test_mismatched.tsv": ("index", "promptID", "pairID", "genre", *PAIRS),
    "QNLI/test.tsv": ("index", "question", "sentence"),
    "RTE/test.tsv": ("index", *PAIRS),
    "diagnostic/diagnostic.tsv": ("index", *PAIRS),
}


def write_glue(folder: Path) -> Path:
    """The official files, each with the same rows."""
    for name, columns in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(columns), *("\t".join(_row(columns, n)) for n in INDEX)]
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


def _row(columns: tuple[str, ...], number: int) -> list[str]:
    texts = {"sentence": FIRST, "question": FIRST, "#1 String": FIRST, "#2 String": SECOND}
    texts |= {"sentence1": FIRST, "sentence2": SECOND, "question1": FIRST, "question2": SECOND}
    if "question" in columns:
        texts["sentence"] = SECOND
    return [
        str(number) if name in ("index", "id") else texts.get(name, ["x"] * 3)[number]
        for name in columns
    ]


def rows_of(task: str) -> list[Example]:
    """The examples of a test set, in the order of its index."""
    make = {"text": text, "pair": pair, "similarity": similarity}[HEADS[task].layout]
    texts = [FIRST] if make is text else [FIRST, SECOND]
    return [make(*row) for row in zip(*texts, strict=True)]


def _head(task: str) -> HeadConfig:
    layouts = {"cola": "text", "sst2": "text", "mrpc": "similarity", "qqp": "similarity"}
    if task == "stsb":
        return HeadConfig(layout="similarity", label_mean=2.5, label_std=1.5, task=task)
    layout = layouts.get(task, "pair")
    return HeadConfig(layout=layout, classes=get_task(task).classes, task=task)  # type: ignore[arg-type]


HEADS = {task: _head(task) for task in dict.fromkeys(s.task for s in TEST_SETS.values() if s.task)}


def save_models(folder: Path) -> dict[str, Path]:
    """A random model for each task."""
    tokenizer = new_tokenizer()
    shape = GPTConfig(
        vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2
    )
    for seed, (task, head) in enumerate(HEADS.items()):
        backbone = GPT(shape.replace(initializer_range=0.3))
        backbone.reset_parameters(torch.Generator().manual_seed(seed))
        model = TaskModel(backbone, head)
        model.reset_head(torch.Generator().manual_seed(seed))
        save_task_model(folder / task, model, tokenizer)
    return {task: folder / task for task in HEADS}
