"""A tiny model with transformers' twin, and short texts that stand for jokes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig, LSTMConfig
from gpt1.language_model import LanguageModel, load
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.published import JOKE_END, JOKE_START, SENTENCE, TOTAL_IDS, Published
from gpt1.tokenizer import Tokenizer
from reproduce.tiny_tasks import sentence, write_tasks

JOKES = [
    f"Why did the {who} cross the {what}? To {do} the {where}!"
    for who in ("hen", "old dog", "cat", "judge")
    for what in ("road", "river", "town")
    for do in ("see", "paint", "buy")
    for where in ("moon", "other side", "inn", "sea", "farm")
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model without dropout, and its tokenizer."""
    tokenizer = Tokenizer.train(["joke : endoftext < | >", SENTENCE, *JOKES], vocab_size=160)
    shape = GPTConfig(
        vocab_size=len(tokenizer),
        n_layer=2,
        n_head=2,
        n_embd=16,
        n_positions=64,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        initializer_range=0.2,  # scores that differ enough to choose the same tokens anywhere
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("reproduce") / "tiny"
    save_model(folder, GPT(shape), tokenizer)
    return folder


@pytest.fixture(scope="session")
def lm(folder: Path) -> LanguageModel:
    """The model of the folder, to be left as it is."""
    return load(folder, tokenizer_mode="bert")


@pytest.fixture(scope="session")
def theirs(folder: Path) -> Any:
    """The same model by transformers."""
    return transformers.OpenAIGPTLMHeadModel.from_pretrained(folder).eval()


@pytest.fixture(scope="session")
def jokes() -> list[str]:
    """180 of them."""
    return JOKES


@pytest.fixture
def jokes_csv(tmp_path: Path) -> Path:
    """The same in a file."""
    path = tmp_path / "jokes.csv"
    path.write_text("\n".join(["ID,Joke", *(f'1,"{joke}"' for joke in JOKES)]), encoding="utf-8")
    return path


KNOWN_JOKE = f"{JOKE_START} The hen. {JOKE_END}"
"""Begins and ends as the tutorial's."""


@pytest.fixture(scope="session")
def published(folder: Path, theirs: Any) -> Published:
    """What the tutorial would have printed for this model: everything by transformers."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids = tokenizer.encode(SENTENCE)
    with torch.inference_mode():
        output = theirs(torch.tensor([ids]), labels=torch.tensor([ids]))
        greedy: list[int] = []
        while len(ids) + len(greedy) < TOTAL_IDS:
            logits = theirs(torch.tensor([[*ids, *greedy]])).logits
            greedy.append(int(logits[0, -1].argmax()))
    logits = output.logits[0]
    return Published(
        config=load_model(folder).config,
        parameters=theirs.num_parameters(),
        sentence_ids=ids,
        first_logits=logits[0, :3].tolist(),
        last_logits=logits[-1, :3].tolist(),
        first_probability=float(logits[-1].softmax(-1).max()),
        greedy_ids=greedy,
        loss=float(output.loss),
        joke_ids=len(tokenizer.encode(f"JOKE: {KNOWN_JOKE}<|endoftext|>")),
        marker_ids=len(tokenizer.encode("<|endoftext|>")),
    )


@pytest.fixture(scope="session")
def known_joke() -> str:
    """A text the walk takes for the tutorial's joke."""
    return KNOWN_JOKE


@pytest.fixture(scope="session")
def task_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of invented tasks."""
    return write_tasks(tmp_path_factory.mktemp("tasks") / "tasks")


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models that know the words of the tasks: gpt, lstm, and a run of each."""
    out = tmp_path_factory.mktemp("models")
    draw = random.Random(1)
    texts = [sentence(draw) for _ in range(200)] + [
        "who is it ? because positive negative very"
    ] * 3
    tokenizer = Tokenizer.train(texts, vocab_size=200)
    size = len(tokenizer)
    gpt = GPTConfig(vocab_size=size, n_layer=2, n_head=2, n_embd=16, n_positions=64)
    lstm = LSTMConfig(vocab_size=size, n_embd=16, n_units=24, n_positions=64)
    for step in (0, 10, 100):
        torch.manual_seed(step)
        name = f"snapshots/step-{step:08d}"
        save_model(out / "gpt-run" / name, GPT(gpt.replace(initializer_range=0.3)), tokenizer)
        save_model(out / "lstm-run" / name, LSTM(lstm.replace(initializer_range=0.3)), tokenizer)
    save_model(out / "gpt", GPT(gpt), tokenizer)
    save_model(out / "lstm", LSTM(lstm), tokenizer)
    return out


@pytest.fixture(scope="session")
def config(task_data: Path, small_models: Path) -> ReproduceConfig:
    """A reproduction of seconds."""
    return ReproduceConfig(
        data=str(task_data),
        model=str(small_models / "gpt"),
        lstm=str(small_models / "lstm"),
        checkpoints=str(small_models / "gpt-run"),
        lstm_checkpoints=str(small_models / "lstm-run"),
        epochs=1,
        seeds=2,
        lr=0.01,
    )
