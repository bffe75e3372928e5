"""Folders of task models: they come back the same, here and in transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig, HeadConfig
from gpt1.errors import CheckpointError
from gpt1.evaluation.predicting import predict
from gpt1.model import GPT
from gpt1.task_checkpoint import load_task_model, save_task_model
from gpt1.task_model import TaskModel
from gpt1.tasks.encoding import encode_examples
from gpt1.tasks.example import Example, choice, pair, similarity, text
from tasks.worlds import new_tokenizer

TOKENIZER = new_tokenizer()
HEADS = {
    "text": HeadConfig(layout="text", classes=("a", "b", "c"), task="mine"),
    "pair": HeadConfig(layout="pair", classes=("yes", "no")),
    "similarity": HeadConfig(layout="similarity", label_mean=2.0, label_std=1.5),
    "choice": HeadConfig(layout="choice"),
}
EXAMPLES: dict[str, list[Example]] = {
    "text": [text("the old cat"), text("a dog")],
    "pair": [pair("the cat sees", "a dog"), pair("a man", "the red sea")],
    "similarity": [similarity("the cat", "a red dog"), similarity("sea", "man hears")],
    "choice": [choice("the cat", ["a dog", "the sea"]), choice("a", ["man", "red dog"])],
}


def new_model(layout: str) -> TaskModel:
    config = GPTConfig(
        vocab_size=TOKENIZER.vocab_size, n_positions=32, n_embd=16, n_layer=2, n_head=2
    )
    backbone = GPT(config.replace(initializer_range=0.3))
    backbone.reset_parameters(torch.Generator().manual_seed(0))
    model = TaskModel(backbone, HEADS[layout])
    model.reset_head(torch.Generator().manual_seed(1))
    return model.eval()


@pytest.fixture(params=sorted(HEADS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sequences(layout: str) -> list[tuple[tuple[int, ...], ...]]:
    return [e.sequences for e in encode_examples(EXAMPLES[layout], TOKENIZER, 32)[0]]


def padded(rows: list[tuple[int, ...]]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def test_a_saved_model_comes_back_the_same(layout: str, tmp_path: Path) -> None:
    model = new_model(layout)
    save_task_model(tmp_path / "m", model, TOKENIZER, files={"README.md": "text"})
    again, tokenizer = load_task_model(tmp_path / "m")
    assert again.head == model.head
    assert not again.training
    assert (tmp_path / "m" / "README.md").read_text() == "text"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    before = predict(model, TOKENIZER, EXAMPLES[layout])
    after = predict(again, tokenizer, EXAMPLES[layout])
    assert (before.logits == after.logits).all()


@pytest.mark.parametrize("layout", ["text", "pair", "similarity"])
def test_transformers_classifier_gives_the_same_logits(layout: str, tmp_path: Path) -> None:
    model = new_model(layout)
    save_task_model(tmp_path / "m", model, TOKENIZER)
    other: Any = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path / "m").eval()
    assert other.config.num_labels == model.head.n_outputs
    if model.head.classes:
        assert tuple(other.config.id2label.values()) == model.head.classes
    ours = torch.from_numpy(predict(model, TOKENIZER, EXAMPLES[layout]).logits).float()
    orders = zip(*sequences(layout), strict=True)
    with torch.no_grad():
        theirs = sum(other(padded(list(rows))).logits for rows in orders)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_transformers_double_heads_model_gives_the_same_logits(tmp_path: Path) -> None:
    model = new_model("choice")
    save_task_model(tmp_path / "m", model, TOKENIZER)
    other: Any = OpenAIGPTDoubleHeadsModel.from_pretrained(tmp_path / "m").eval()
    rows = [row for example in sequences("choice") for row in example]
    ids = padded(rows).view(2, 2, -1)
    ends = torch.tensor([len(row) - 1 for row in rows]).view(2, 2)
    with torch.no_grad():
        theirs = other(ids, mc_token_ids=ends)
        lm_logits = model.backbone(ids[0]).logits
    ours = torch.from_numpy(predict(model, TOKENIZER, EXAMPLES["choice"]).logits).float()
    torch.testing.assert_close(ours, theirs.mc_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lm_logits, theirs.logits[0], atol=1e-5, rtol=1e-5)


def test_the_language_model_in_it_can_be_loaded_alone(layout: str, tmp_path: Path) -> None:
    model = new_model(layout)
    save_task_model(tmp_path / "m", model, TOKENIZER)
    alone = load_model(tmp_path / "m")
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name]), name


def test_a_language_model_is_no_task_model(tmp_path: Path) -> None:
    save_model(tmp_path / "m", new_model("text").backbone, TOKENIZER)
    with pytest.raises(CheckpointError, match="without the head of a task; fine-tune it first"):
        load_task_model(tmp_path / "m")


def test_a_damaged_head_is_named(tmp_path: Path) -> None:
    save_task_model(tmp_path / "m", new_model("text"), TOKENIZER)
    config = tmp_path / "m" / "config.json"
    stored = json.loads(config.read_text())
    config.write_text(json.dumps({**stored, "gpt1_head": {"layout": "text", "foo": 1}}))
    with pytest.raises(CheckpointError, match=r"gpt1_head: .*foo"):
        load_task_model(tmp_path / "m")
    config.write_text(json.dumps(stored))
    weights = tmp_path / "m" / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "score.weight": torch.zeros(2, 16)}, weights)
    with pytest.raises(CheckpointError, match=r"score.weight: expected \(3, 16\), found \(2, 16\)"):
        load_task_model(tmp_path / "m")
    del tensors["score.weight"]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"score.weight: expected \(3, 16\), found none"):
        load_task_model(tmp_path / "m")
