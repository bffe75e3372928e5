"""``gpt1 reproduce seed``: the public tutorial on GPT-1, step by step, beside what it printed."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import gpt1
from gpt1.backbone import Backbone, require_gpt
from gpt1.config import GPTConfig, TrainingConfig
from gpt1.data.sources import TextSource
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.hub import EXAMPLE_ID
from gpt1.language_model import LanguageModel, load
from gpt1.locate import ASSETS, locate
from gpt1.reproduce import first_steps
from gpt1.reproduce.defects import Contest, continuations, defects, held_out_losses
from gpt1.reproduce.diagnosis import diagnosis_section, our_checkup, tutorial_checkup
from gpt1.reproduce.findings import Section, Value
from gpt1.reproduce.judge import Judge
from gpt1.reproduce.packing import measure_tutorial, packing_section
from gpt1.reproduce.published import RELEASED, SENTENCE, TOTAL_IDS, Published
from gpt1.reproduce.recipes import OurRun, Task, train_tutorial
from gpt1.reproduce.report import Report
from gpt1.reproduce.settings import SeedConfig
from gpt1.reproduce.tutorial_recipe import PACK_TOKENS
from gpt1.training.tracking import LogWatcher, Watcher

BUNDLED_JOKES = ASSETS / "jokes.csv"
HELD_OUT_EVERY = 10
HELD_OUT_AT_MOST = 500
FEWEST_JOKES = 20
SMALL_MODEL_LR = 3e-4

HOW_TO_GET = f"""\
The walk compares with the released weights. To have them here, either
  - run it once with a connection: they are kept in the cache;
  - or fetch config.json, model.safetensors and tokenizer.json from
    https://huggingface.co/{EXAMPLE_ID} elsewhere, copy them to a folder, and pass --model FOLDER;
  - or clone https://github.com/openai/finetune-transformer-lm and pass --model
    finetune-transformer-lm/model, the same weights in the authors' format.
--model mini walks the same steps without expected values."""


@dataclass(frozen=True)
class Jokes:
    """The data: all of it to look up a joke in, a part to train on, a part held out."""

    all: Sequence[str]
    train: Sequence[str]
    held_out: Sequence[str]


def reproduce_seed(
    settings: SeedConfig,
    out: str | Path,
    *,
    show: Callable[[Section], None] | None = None,
    watch: Watcher | None = None,
    published: Published = RELEASED,
) -> Report:
    """Walk through the tutorial: tokens, scores, greedy text, packing, fine-tuning, inference.

    Args:
        settings: Model, data, length.
        out: New or empty folder: gets the report, the jokes that were used and, in ``model``, the
            fine-tuned checkpoint.
        show: Told about each step as soon as it is done.
        watch: Told about the training.
        published: Expected values; they count if the model has the shape they are for.

    Returns:
        What was found; an interrupted walk has the steps up to there.

    Raises:
        CheckpointError: If the model cannot be had, or is an LSTM.
        ConfigError: If the folder is in use, or the model too short for the steps.
        DataError: If the jokes cannot be read or are too few.
    """
    out = _fresh(Path(out))
    began = time.perf_counter()
    folder = find_model(settings.model)
    lm = load(folder, device=settings.device, dtype="float32", tokenizer_mode="bert")
    shape = require_gpt(lm.model, "the tutorial").config
    _check_positions(lm)
    jokes = read_jokes(settings)
    expected = published if published.applies_to(shape) else None
    report = Report(_facts(settings, lm, jokes, expected))
    out.mkdir(parents=True, exist_ok=True)
    walk = Walk(settings, folder, lm, jokes, expected)
    try:
        for section in walk.steps(out, report, watch or LogWatcher()):
            report.sections.append(section)
            if show:
                show(section)
    except KeyboardInterrupt:
        report.complete = False
    report.facts["minutes"] = (time.perf_counter() - began) / 60
    report.write(out)
    return report


@dataclass(frozen=True)
class Walk:
    """The steps over one model and one set of jokes.

    Attributes:
        settings: Of the walk.
        folder: Of the model.
        lm: The model, with a tokenizer of mode ``bert``, as the tutorial has.
        jokes: The data.
        expected: Published values, or None.
    """

    settings: SeedConfig
    folder: Path
    lm: LanguageModel
    jokes: Jokes
    expected: Published | None

    def steps(self, out: Path, report: Report, watch: Watcher) -> Iterator[Section]:
        """Yield each step when it is done; says in the report if training was interrupted."""
        lm, expected = self.lm, self.expected
        original = lm.tokenizer.with_mode("original")
        yield first_steps.tokens(lm, original, expected)
        yield first_steps.parameters(lm, expected)
        yield first_steps.outputs(lm)
        yield first_steps.scores(lm, expected)
        yield first_steps.greedy(lm, expected)
        yield first_steps.joke(lm, original, self.jokes.all, expected)
        yield from self._training(out, report, watch)

    def _training(self, out: Path, report: Report, watch: Watcher) -> Iterator[Section]:
        """Both recipes from the same weights on the same jokes."""
        settings, model = self.settings, self.lm.model
        judge = Judge(self.lm.tokenizer, self.jokes.held_out)
        task = Task(
            settings=settings,
            start=self.folder,
            jokes=self.jokes.train,
            judge=judge,
            before=judge.loss(model),
            watch=watch,
        )
        limit = min(PACK_TOKENS, model.config.n_positions)
        packing = measure_tutorial(
            self.lm.tokenizer,
            task.jokes,
            epochs=settings.passes,
            limit=limit,
            seed=settings.seed,
        )
        write_jokes(out / "held-out.jsonl", self.jokes.held_out)
        data = write_jokes(out / "train.jsonl", task.jokes)
        run = OurRun(task, data, out / "model", learning_rate(settings, model))
        yield packing_section(packing, run.packing, epochs=settings.passes, limit=limit)
        yield diagnosis_section(tutorial_checkup(packing, self.lm), our_checkup(run))
        watch.note("training by the tutorial's recipe")
        tutorial = train_tutorial(task, packing, limit)
        report.curves["tutorial"] = tutorial.curve
        if not tutorial.complete:
            report.complete = False
            return
        watch.note("training by gpt1's recipe")
        ours = run.train()
        report.curves["gpt1"] = ours.curve
        contest = Contest(
            start=self.lm,
            tutorial=tutorial,
            ours=ours,
            packing=packing,
            run=run,
            seed=settings.seed,
        )
        report.complete = ours.complete
        yield held_out_losses(contest, len(self.jokes.held_out))
        if ours.complete:
            yield defects(contest)
            yield continuations(contest)


def find_model(model: str) -> Path:
    """The folder of a model.

    Raises:
        CheckpointError: If it cannot be had; for the released weights it says how to get them.
    """
    try:
        return locate(model)
    except CheckpointError as error:
        if model != EXAMPLE_ID:
            raise
        raise CheckpointError(f"{error}\n\n{HOW_TO_GET}") from error


def read_jokes(settings: SeedConfig) -> Jokes:
    """Read the data and hold every tenth joke out, of many jokes fewer.

    Raises:
        DataError: If they cannot be read or are too few.
    """
    texts = list(TextSource(settings.data or BUNDLED_JOKES, settings.text_column))
    used = texts[: settings.max_texts]
    if len(used) < FEWEST_JOKES:
        raise DataError(
            f"{settings.data} holds {len(used)} texts but the walk needs {FEWEST_JOKES} to train "
            "on and to hold out; give more"
        )
    every = max(HELD_OUT_EVERY, -(-len(used) // HELD_OUT_AT_MOST))
    train = [text for number, text in enumerate(used) if number % every]
    return Jokes(texts, train, used[::every])


def write_jokes(file: Path, jokes: Sequence[str]) -> Path:
    """Write jokes a line each, as JSON; returns the file."""
    lines = (json.dumps({"text": joke}, ensure_ascii=False) + "\n" for joke in jokes)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def learning_rate(settings: SeedConfig, model: Backbone) -> float:
    """Peak rate of our recipe: as asked for, or the paper's, or one for a small model."""
    is_small = model.config.n_embd < GPTConfig().n_embd
    return settings.lr or (SMALL_MODEL_LR if is_small else TrainingConfig().lr)


def _fresh(out: Path) -> Path:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ConfigError(f"{out} is there already; name a new or an empty folder for the report")
    return out


def _check_positions(lm: LanguageModel) -> None:
    needed = max(TOTAL_IDS, len(lm.tokenizer.encode(SENTENCE)) + 1)
    if lm.model.config.n_positions < needed:
        raise ConfigError(
            f"the model takes {lm.model.config.n_positions} positions but the walk needs {needed}; "
            "take a longer one"
        )


def _facts(
    settings: SeedConfig, lm: LanguageModel, jokes: Jokes, expected: Published | None
) -> dict[str, Value]:
    return {
        "model": settings.model,
        "expected_values": "of the released weights; another model of their shape fails"
        if expected
        else "none: the model does not have the shape of the released one",
        "data": settings.data or "the jokes that come with gpt1",
        "jokes_trained_on": len(jokes.train),
        "jokes_held_out": len(jokes.held_out),
        "epochs": settings.passes,
        "seed": settings.seed,
        "device": str(lm.model.device),
        "threads": torch.get_num_threads(),
        "versions": f"gpt1 {gpt1.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
    }
