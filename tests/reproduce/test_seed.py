"""The whole walk on a tiny model."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import pytest
from huggingface_hub import constants

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.language_model import LanguageModel, load
from gpt1.model import GPT
from gpt1.reproduce.findings import Section
from gpt1.reproduce.published import Published
from gpt1.reproduce.report import Report
from gpt1.reproduce.seed import find_model, learning_rate, read_jokes, reproduce_seed
from gpt1.reproduce.settings import SeedConfig
from gpt1.training.tracking import LogWatcher

STEPS = ["Tokens", "Parameters", "Output", "Scores", "Greedy text", "A joke"]
PREPARED = ["Packing, 2 epochs", "What the doctor says before it begins"]
TRAINED = [*PREPARED, "Held-out loss", "What the tutorial does wrong", "Inference"]


def settings(folder: Path, jokes_csv: Path) -> SeedConfig:
    return SeedConfig(
        model=str(folder), data=str(jokes_csv), epochs=2, max_steps=3, batch_size=4, lr=1e-2
    )


@pytest.fixture(scope="module")
def walked(
    folder: Path, jokes: list[str], published: Published, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, Path, list[Section]]:
    """A walk of three updates: its report, its folder, and the steps as they were shown."""
    place = tmp_path_factory.mktemp("walk")
    file = place / "jokes.jsonl"
    file.write_text("".join(json.dumps({"Joke": j}) + "\n" for j in jokes), encoding="utf-8")
    shown: list[Section] = []
    out = place / "new" / "out"
    report = reproduce_seed(settings(folder, file), out, show=shown.append, published=published)
    return report, out, shown


def rows(report: Report, title: str) -> dict[str, tuple[float, float]]:
    [section] = [section for section in report.sections if section.title == title]
    return {str(row[0]): (row[1], row[2]) for row in section.rows}  # type: ignore[misc]


def test_all_steps_are_shown_as_they_end_and_reported(
    walked: tuple[Report, Path, list[Section]],
) -> None:
    report, _, shown = walked
    assert [section.title for section in shown] == STEPS + TRAINED
    assert report.sections == shown
    assert report.complete
    assert report.failed == []
    assert report.passed == 11


def test_both_recipes_start_from_the_same_loss_and_ours_learns(
    walked: tuple[Report, Path, list[Section]],
) -> None:
    losses = rows(walked[0], "Held-out loss")
    before, after = losses["before, nats per token"], losses["after, nats per token"]
    assert before[0] == before[1]
    assert after[0] == pytest.approx(before[0], abs=1e-2)  # its rate is still near 0
    assert after[1] < after[0] - 0.1
    assert losses["updates"] == (3, 3)


def test_defects_are_measured_on_the_run(walked: tuple[Report, Path, list[Section]]) -> None:
    found = rows(walked[0], "What the tutorial does wrong")
    assert found["largest learning rate that is reached"][0] == pytest.approx(3e-5 * 2 / 5000)
    assert found["largest learning rate that is reached"][1] == pytest.approx(1e-2)
    assert found["learning rate after the warm-up"][0] == 0
    summed = found["gradient norm of an update, median"][0]
    assert found["the same as a mean over its packs"][0] == pytest.approx(summed / 32)
    assert found["of 8 sampled jokes, ended by the model"][0] == 0
    assert found["ids of an end marker"] == (walked[0].sections[5].checks[3].ours, 1)
    assert found["tokens attended to that are of other jokes, %"][1] == 0
    joined, spaced = found["spaces in it"]
    assert joined == 0 < spaced


def test_the_curves_begin_with_the_start_and_end_with_the_run(
    walked: tuple[Report, Path, list[Section]],
) -> None:
    curves = walked[0].curves
    assert [[step for step, _ in curve] for curve in curves.values()] == [[0, 1, 2, 3]] * 2
    assert curves["tutorial"][0] == curves["gpt1"][0]


def test_the_folder_has_the_report_the_data_and_a_model_that_writes_jokes(
    walked: tuple[Report, Path, list[Section]], jokes: list[str]
) -> None:
    report, out, _ = walked
    names = {file.name for file in out.iterdir()}
    assert names == {
        "report.md", "report.json", "held-out-loss.png", "train.jsonl", "held-out.jsonl", "model",
    }  # fmt: skip
    texts = [
        json.loads(line)["text"]
        for name in ("train", "held-out")
        for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert sorted(texts) == sorted(jokes)
    assert load(out / "model").tokenizer.end_of_text_id is not None
    written = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(report.as_dict()))


def test_a_wrong_expected_value_is_a_finding(
    folder: Path, jokes_csv: Path, published: Published, tmp_path: Path
) -> None:
    wrong = dataclasses.replace(published, loss=published.loss + 0.01)
    report = reproduce_seed(settings(folder, jokes_csv), tmp_path / "out", published=wrong)
    assert report.failed == ["Scores: loss with labels = inputs, nats"]
    assert report.complete


class Interrupting(LogWatcher):
    """Presses Ctrl-C after an update of the n-th training."""

    def __init__(self, training: int) -> None:
        self.left = training

    def start(self, step: int, total_steps: int, unit: str) -> None:
        self.left -= 1

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        if self.left == 0 and step == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("training", "titles", "points"),
    [
        (1, [*STEPS, *TRAINED[:2]], {"tutorial": 2}),
        (2, [*STEPS, *TRAINED[:3]], {"tutorial": 4, "gpt1": 3}),
    ],
)
def test_an_interrupted_walk_keeps_what_is_done(
    folder: Path,
    jokes_csv: Path,
    tmp_path: Path,
    training: int,
    titles: list[str],
    points: dict[str, int],
) -> None:
    out = tmp_path / "out"
    report = reproduce_seed(settings(folder, jokes_csv), out, watch=Interrupting(training))
    assert not report.complete
    assert [section.title for section in report.sections] == titles
    assert {name: len(curve) for name, curve in report.curves.items()} == points
    assert "Interrupted" in (out / "report.md").read_text(encoding="utf-8")


def test_too_few_jokes_for_an_update_of_the_tutorial_train_ours_alone(
    folder: Path, jokes: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "jokes.csv"
    file.write_text("Joke\n" + "\n".join(f'"{joke}"' for joke in jokes[:25]), encoding="utf-8")
    report = reproduce_seed(settings(folder, file), tmp_path / "out")
    assert rows(report, "Held-out loss")["updates"] == (0, 3)
    found = rows(report, "What the tutorial does wrong")
    assert found["gradient norm of an update, median"][0] is None


def test_the_released_weights_that_are_out_of_reach_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = r"the hub cannot be reached(.|\n)*huggingface.co/openai-community(.|\n)*--model mini"
    with pytest.raises(CheckpointError, match=message):
        find_model("openai-community/openai-gpt")


def test_another_model_that_is_not_there_is_not_explained_at_length() -> None:
    with pytest.raises(CheckpointError, match=r"^no folder 'no-such-folder'; [^\n]*$"):
        find_model("no-such-folder")


def test_a_folder_in_use_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ConfigError, match="is there already; name a new or an empty folder"):
            reproduce_seed(SeedConfig(model=str(folder)), place)


def test_a_model_too_short_for_the_sentence_is_refused(lm: LanguageModel, tmp_path: Path) -> None:
    shape = GPTConfig(vocab_size=len(lm.tokenizer), n_layer=1, n_head=1, n_embd=4, n_positions=10)
    save_model(tmp_path / "short", GPT(shape), lm.tokenizer)
    with pytest.raises(ConfigError, match="takes 10 positions but the walk needs 20"):
        reproduce_seed(SeedConfig(model=str(tmp_path / "short")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_jokes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "jokes.csv"
    file.write_text("Joke\n" + "ha\n" * 19, encoding="utf-8")
    with pytest.raises(DataError, match="holds 19 texts but the walk needs 20"):
        read_jokes(SeedConfig(data=str(file)))


def test_every_tenth_joke_is_held_out_but_at_most_500(tmp_path: Path, jokes_csv: Path) -> None:
    few = read_jokes(SeedConfig(data=str(jokes_csv)))
    assert few.held_out == few.all[::10]
    assert len(few.train) == len(few.all) - len(few.held_out)
    file = tmp_path / "many.csv"
    file.write_text("Joke\n" + "".join(f"joke {n}\n" for n in range(9001)), encoding="utf-8")
    many = read_jokes(SeedConfig(data=str(file)))
    assert (len(many.train), len(many.held_out)) == (8527, 474)
    quick = read_jokes(SeedConfig(data=str(file), quick=True))
    assert (len(quick.all), len(quick.train), len(quick.held_out)) == (9001, 360, 40)


def test_the_rate_suits_the_width_of_the_model(lm: LanguageModel) -> None:
    assert learning_rate(SeedConfig(), lm.model) == 3e-4
    wide = GPT(GPTConfig(n_layer=1, n_embd=768, vocab_size=10, n_positions=2))
    assert learning_rate(SeedConfig(), wide) == 6.25e-5
    assert learning_rate(SeedConfig(lr=0.5), wide) == 0.5
