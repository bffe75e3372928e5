"""A small world to train in: count upwards, in texts of every length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig, LSTMConfig
from gpt1.data.batches import PackedRows
from gpt1.data.packing import pack
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

MODEL = GPTConfig(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)
SENTENCES = [
    f"{who} {does} the {what}"
    for who in ("anna", "bob", "carl", "the dog")
    for does in ("sees", "hides", "paints", "buys")
    for what in ("red house", "old car", "small tree", "cat")
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: equal runs are then equal to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_model() -> Callable[..., GPT]:
    """Makes a small model; equal settings and seeds give equal weights."""

    def make(seed: int = 0, **settings: Any) -> GPT:
        model = GPT(MODEL.replace(**settings))
        model.reset_parameters(torch.Generator().manual_seed(seed))
        return model

    return make


@pytest.fixture
def counting() -> Callable[..., PackedRows]:
    """Makes packed texts that count upwards by a step."""

    def make(texts: int, by: int = 1, seed: int = 0) -> PackedRows:
        rng = np.random.default_rng(seed)
        drawn = zip(rng.integers(40, size=texts), rng.integers(2, 17, size=texts), strict=True)
        ids = [((start + by * np.arange(length)) % 40).tolist() for start, length in drawn]
        return PackedRows(pack(ids, 16, seed=seed))

    return make


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, untrained, that knows the words of `SENTENCES` and has no end token."""
    tokenizer = Tokenizer.train(SENTENCES, vocab_size=90)
    model = GPT(MODEL.replace(vocab_size=tokenizer.vocab_size, n_embd=32, n_positions=24))
    model.reset_parameters(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("base") / "model"
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="session")
def base_lstm(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved LSTM, untrained, with the tokenizer of `base_model`."""
    tokenizer = Tokenizer.load(base_model)
    shape = LSTMConfig(vocab_size=tokenizer.vocab_size, n_positions=24, n_embd=32, n_units=48)
    model = LSTM(shape)
    model.reset_parameters(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("base") / "lstm"
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """A csv file of short texts."""
    path = tmp_path / "sentences.csv"
    lines = [f"{number},{text}" for number, text in enumerate(SENTENCES)]
    path.write_text("\n".join(["id,text", *lines, ""]), encoding="utf-8")
    return path
