"""The recipes that come with the project, before the doctor, on data that suits them."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import pytest
import torch

from gpt1.cli import pretrain
from gpt1.cli.arguments import collect
from gpt1.cli.main import main
from gpt1.cli.parsing import parse
from gpt1.config import GPTConfig, TrainingConfig
from gpt1.data.shards import write_index
from gpt1.locate import ASSETS, locate
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.checkup import examine
from gpt1.training.doctor import diagnose

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
COLA_EXAMPLES = 8551


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 25 million tokens, and reviews."""
    folder = tmp_path_factory.mktemp("data")
    shards = folder / "shards"
    shards.mkdir()
    tokenizer = Tokenizer.load(locate("mini"))
    tokenizer.save(shards)
    splits = {}
    for split, tokens in (("train", 25_000_000), ("valid", 250_000)):
        with (shards / f"{split}-00000.bin").open("wb") as file:
            file.truncate(2 * tokens)  # takes no space on most disks
        entry = {"file": f"{split}-00000.bin", "tokens": tokens, "sha256": ""}
        splits[split] = [entry]
    write_index(shards, splits, tokenizer.fingerprint)
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars"])
        writer.writerows([f"I saw film number {n}.", n % 3] for n in range(400))
    return folder


COMMANDS = {
    "jokes": ("finetune lm", ["--data", str(ASSETS / "jokes.csv")]),
    "finetune-task": ("finetune task", ["--data", "reviews.csv"]),
    "mini": ("pretrain", ["--data", "shards", "--precision", "fp32"]),
    "lstm": ("pretrain", ["--data", "shards", "--seq-len", "64"]),
}
"""Who runs which recipe, with what data. What no rule reads is set so that a plan is quick."""


def test_every_recipe_is_seen_by_the_doctor() -> None:
    assert {path.stem for path in RECIPES.rglob("*.yaml")} == {
        *COMMANDS,
        *("paper-task", "pretrain-books", "pretrain-modern", "kubernetes"),
    }


@pytest.mark.parametrize(
    ("recipe", "steps"), [("pretrain-books", 3_662_200), ("pretrain-modern", 36_622)]
)
def test_the_recipes_of_pre_training_trip_no_rule_on_as_many_tokens_as_the_paper(
    recipe: str, steps: int
) -> None:
    words = ["--config", str(RECIPES / f"{recipe}.yaml"), "--data", "shards", "--out", "o"]
    values = parse("pretrain", pretrain, words)
    training = collect(TrainingConfig, values)
    with torch.device("meta"):  # a GPU is not at hand
        network = GPT(pretrain.model_shape(values))
    assert network.num_parameters() == 116_534_784
    tokens = 1_200_000_000
    sequences = tokens // 512
    run = examine(network, training, sequences=sequences, tokens=tokens, fine_tuned=False)
    assert run.total_steps == steps
    assert diagnose(run) == []


@pytest.mark.parametrize("recipe", COMMANDS)
def test_a_recipe_trips_no_rule(
    recipe: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(data)
    command, more = COMMANDS[recipe]
    words = [*command.split(), "--config", str(RECIPES / f"{recipe}.yaml"), *more]
    assert main([*words, "--out", "out", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["findings"] == []
    assert plan["steps"] > 0


def test_the_papers_recipe_trips_no_rule_on_a_task_of_the_paper() -> None:
    words = ["--config", str(RECIPES / "paper-task.yaml"), "cola", "--data", "GLUE", "--out", "o"]
    module = importlib.import_module("gpt1.cli.finetune_task")
    training = collect(TrainingConfig, parse("finetune task", module, words))
    with torch.device("meta"):  # the released model is not at hand
        network = GPT(GPTConfig())
    run = examine(network, training, sequences=COLA_EXAMPLES, tokens=100_000, fine_tuned=True)
    assert run.total_steps == 804
    assert diagnose(run) == []
