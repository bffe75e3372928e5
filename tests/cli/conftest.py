"""A tiny model and some texts for the command tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

TEXTS = [
    f"the {a} dog {b} the {c} cat."
    for a in ["old", "big", "red"]
    for b in ("saw", "met")
    for c in ["shy", "fat", "odd"]
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model of two narrow blocks and its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train(TEXTS, vocab_size=80, min_frequency=1)
    torch.manual_seed(0)
    shape = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=len(tokenizer))
    save_model(folder / "tiny", GPT(shape), tokenizer)
    return folder / "tiny"


@pytest.fixture
def texts_csv(tmp_path: Path) -> Path:
    """Eighteen sentences in a column."""
    path = tmp_path / "my texts.csv"
    path.write_text("Text\n" + "\n".join(TEXTS) + "\n", encoding="utf-8")
    return path
