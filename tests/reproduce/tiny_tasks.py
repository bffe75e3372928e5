"""Invented examples of every task of the paper, a few words each, as files in its folders."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt1.reproduce.runs import Quiet

WHO, DOES = ("anna", "bob", "carl", "the dog"), ("sees", "hides", "paints", "buys")
WHAT = ("red house", "old car", "small tree", "cat")

Row = dict[str, Any]


def write_tasks(folder: Path, *, train: int = 12, other: int = 6) -> Path:
    """A folder with a folder of each task, in JSON lines."""
    draw = random.Random(0)
    for task, make in MAKERS.items():
        (folder / task).mkdir(parents=True)
        for split in SPLITS.get(task, ("train", "dev")):
            rows = [make(draw, n) for n in range(train if split == "train" else other)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / task / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def sentence(draw: random.Random) -> str:
    return f"{draw.choice(WHO)} {draw.choice(DOES)} the {draw.choice(WHAT)}"


def _one(draw: random.Random, n: int) -> Row:
    return {"sentence": sentence(draw), "label": n % 2}


def _two(draw: random.Random, n: int) -> Row:
    return {"sentence1": sentence(draw), "sentence2": sentence(draw), "label": n % 2}


def _value(draw: random.Random, n: int) -> Row:
    return {**_two(draw, n), "label": float(n % 6)}


def _inference(*classes: str, first: str = "premise", second: str = "hypothesis") -> Any:
    def make(draw: random.Random, n: int) -> Row:
        label = classes[n % len(classes)]
        return {first: sentence(draw), second: sentence(draw), "label": label}

    return make


def _race(draw: random.Random, n: int) -> Row:
    return {
        "article": sentence(draw),
        "question": "who is it ?",
        "options": draw.sample(WHO, 4),
        "answer": "ABCD"[n % 4],
        "level": ("middle", "high")[n % 2],
        "id": f"{n}.txt",
    }


def _story(draw: random.Random, n: int) -> Row:
    return {
        "context": [sentence(draw) for _ in range(4)],
        "endings": [sentence(draw), sentence(draw)],
        "label": n % 2,
    }


def _pronoun(draw: random.Random, n: int) -> Row:
    text = f"{sentence(draw)} because it {draw.choice(DOES)} the {draw.choice(WHAT)}"
    start = text.index(" it ") + 1
    return {
        "text": text,
        "pronoun": "it",
        "span": [start, start + 2],
        "options": draw.sample(WHO, 2),
        "label": n % 2,
    }


THREE = ("entailment", "neutral", "contradiction")
TWO = ("entailment", "not_entailment")

MAKERS: dict[str, Callable[[random.Random, int], Row]] = {
    "cola": _one,
    "sst2": _one,
    "mrpc": _two,
    "qqp": _two,
    "stsb": _value,
    "mnli": _inference(*THREE),
    "snli": _inference(*THREE),
    "rte": _inference(*TWO),
    "scitail": _inference(*TWO),
    "qnli": _inference(*TWO, first="question", second="sentence"),
    "race": _race,
    "storycloze": _story,
    "dprd": _pronoun,
}
SPLITS = {
    "mnli": ("train", "dev", "dev_mismatched"),
    "snli": ("train", "dev", "test"),
    "race": ("train", "dev", "test"),
    "storycloze": ("train", "dev", "test"),
    "dprd": ("train", "test"),
}


class Counting(Quiet):
    """Counts experiments; may interrupt after some."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.kept = self.run = 0
        self.interrupt_after = interrupt_after

    def plan(self, total: int, kept: int) -> None:
        self.kept += kept

    def done(self, name: str, seconds: float) -> None:
        self.run += 1
        if self.run == self.interrupt_after:
            raise KeyboardInterrupt
