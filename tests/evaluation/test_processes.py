"""Batches spread over processes: each score is there once, and is that of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

import gpt1
from gpt1.config import GPTConfig, HeadConfig
from gpt1.evaluation import processes
from gpt1.evaluation.predicting import predict
from gpt1.evaluation.scoring import score_ids
from gpt1.evaluation.shared_prefix import continuation_scores
from gpt1.language_model import LanguageModel
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.example import text
from lively import lively_model, small_tokenizer
from tasks.worlds import new_tokenizer

T = TypeVar("T")
MODEL = lively_model()
RANDOM = np.random.default_rng(0)
WORLD = 3


class Handed(Exception):
    """What a process would hand to the others."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values


def shared(work: Callable[[], T], patch: pytest.MonkeyPatch) -> T:
    """What work returns in each of several processes, played one after the other."""
    shares = []
    for rank in range(WORLD):

        def hand(values: NDArray[np.float64]) -> NDArray[np.float64]:
            raise Handed(values)

        patch.setattr(processes, "is_mine", lambda number, rank=rank: number % WORLD == rank)
        patch.setattr(processes, "joined", hand)
        with pytest.raises(Handed) as ended:
            work()
        shares.append(ended.value.values)
    computed = sum(np.isfinite(share).astype(int) for share in shares)
    assert np.max(computed) == 1, "no two processes compute the same"
    assert sum(np.isfinite(share).any() for share in shares) == WORLD, "all have work"
    patch.setattr(processes, "joined", lambda _: np.maximum.reduce(shares))
    return work()


def ids(longest: int) -> list[int]:
    return RANDOM.integers(0, 80, RANDOM.integers(0, longest)).tolist()  # type: ignore[no-any-return]


def test_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [ids(60) for _ in range(40)]
    told: list[int] = []
    monkeypatch.setattr("gpt1.evaluation.scoring.BATCH_TOKENS", 64)
    whole = score_ids(MODEL, texts)
    assert shared(lambda: score_ids(MODEL, texts, advance=told.append), monkeypatch) == whole
    assert sum(told) == (WORLD + 1) * sum(score.num_tokens for score in whole)


def test_continuations(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [[1, *ids(12)] for _ in range(40)]
    candidates = [[ids(4) for _ in range(RANDOM.integers(0, 4))] for _ in prompts]
    monkeypatch.setattr("gpt1.evaluation.shared_prefix.BATCH_TOKENS", 64)
    monkeypatch.setattr("gpt1.evaluation.shared_prefix.PROMPTS_AT_ONCE", 13)

    def work() -> list[list[tuple[list[float], list[bool]]]]:
        found = continuation_scores(MODEL, prompts, candidates)
        return [[(s.log_probs.tolist(), s.likeliest.tolist()) for s in row] for row in found]

    whole = work()
    assert shared(work, monkeypatch) == whole
    assert [[len(log_probs) for log_probs, _ in row] for row in whole] == [
        [len(candidate) for candidate in row] for row in candidates
    ]


def test_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = new_tokenizer()
    shape = GPTConfig(
        vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2
    )
    model = TaskModel(GPT(shape), HeadConfig(layout="text", classes=("a", "b", "c")))
    examples = [text("a b c " * n) for n in range(1, 13)]
    monkeypatch.setattr("gpt1.evaluation.predicting.BATCH_TOKENS", 32)

    def work() -> list[list[float]]:
        return predict(model, tokenizer, examples).logits.tolist()  # type: ignore[no-any-return]

    whole = work()
    assert shared(work, monkeypatch) == whole


def test_batches_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.fair_size(10_000, 4096) == 4096
    monkeypatch.setattr(processes, "world", lambda: 2)
    assert processes.fair_size(10_000, 4096) == 2500  # four batches, two each
    assert processes.fair_size(8192, 4096) == 4096
    assert processes.fair_size(100, 4096) == 50
    assert processes.fair_size(0, 4096) == 1


def run(count: int, *words: str) -> tuple[Any, str]:
    """The JSON a command prints, and what it tells, in one process or several."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    program = [sys.executable, *(launcher if count > 1 else []), "-m", "gpt1"]
    done = subprocess.run(
        [*program, *words, "--json"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_perplexity_of_two_processes_is_that_of_one(tmp_path: Path, backend: str) -> None:
    tokenizer = small_tokenizer()
    LanguageModel(lively_model(tokenizer.vocab_size), tokenizer).save(tmp_path / "model")
    data = tmp_path / "two words.txt"
    data.write_text("the quick brown fox jumps over the lazy dog's nose\n" * 500, encoding="utf-8")
    words = ["evaluate", "perplexity", "--model", str(tmp_path / "model"), "--data", str(data)]
    words += ["--backend", backend, "--documents"]
    (alone, _), (both, told) = (
        run(count, *words, str(tmp_path / f"{count}.jsonl")) for count in (1, 2)
    )
    if backend == "auto":  # the library's bits do not depend on the batch
        assert alone == both
        assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "2.jsonl").read_text()
    assert both["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-6)
    assert both["tokens"] == alone["tokens"]
    assert told.count("scoring ...") == 1, "one process shows progress"


def test_zero_shot_of_two_processes_writes_one_file(tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    rows = [f"it was {word} .,{word}\n" for word in ("good", "bad") * 20]
    data.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    words = ["evaluate", "zero-shot", "--labels", "good,bad", "--data", str(data)]
    (alone, _), (both, _) = (
        run(count, *words, "--predictions", str(tmp_path / f"{count}.jsonl")) for count in (1, 2)
    )
    assert alone == both
    lines = [(tmp_path / f"{count}.jsonl").read_text().splitlines() for count in (1, 2)]
    assert len(lines[0]) == len(lines[1]) == 40


def test_without_a_group_nothing_is_shared() -> None:
    lm = gpt1.load("mini")
    with processes.spread():
        assert processes.world() == 1
        assert lm.score("It was late.").sum < 0
