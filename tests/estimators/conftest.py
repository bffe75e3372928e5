"""A small model, and sentences it can learn something from in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.estimators import Classifier
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

ANIMALS, THINGS = ("cat", "dog", "fox"), ("car", "sea", "hat")
TEXTS = [
    f"the {colour} {what} {does}"
    for colour in ("red", "old")
    for does in ("sees me", "is here")
    for what in (*ANIMALS, *THINGS)
]
KINDS = ["animal" if any(animal in text for animal in ANIMALS) else "thing" for text in TEXTS]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: equal runs are then equal to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, untrained, that knows the words of `TEXTS` and no special token."""
    tokenizer = Tokenizer.train(TEXTS, vocab_size=90)
    shape = GPTConfig(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=len(tokenizer))
    model = GPT(shape.replace(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0))
    model.reset_parameters(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("base") / "model"
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="session")
def quick(base: Path) -> dict[str, Any]:
    """Parameters with which the small model learns `TEXTS`."""
    return {"model": str(base), "max_steps": 40, "batch_size": 12, "lr": 0.03, "lm_coef": 0}


@pytest.fixture(scope="session")
def new(quick: dict[str, Any]) -> Callable[..., Classifier]:
    """Makes a classifier that learns in a second."""
    return lambda **params: Classifier(**{**quick, **params})


@pytest.fixture(scope="session")
def fitted(new: Callable[..., Classifier]) -> Classifier:
    """A classifier that knows `KINDS`; not to be changed."""
    return new().fit(TEXTS, KINDS)
