"""``gpt1 demo``: the whole story offline, in minutes on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from rich.console import Console

    from gpt1.config import TrainingConfig
    from gpt1.language_model import LanguageModel

EXAMPLES = """\
gpt1 demo
gpt1 demo --out my-first-gpt --seed 7"""

JOKES = Path(__file__).parents[1] / "assets" / "jokes.csv"
PREFIX = "JOKE: "
PROMPTS = ("The old man looked at the sea and", '"I will never tell you," said')
JOKE_STARTS = ("", "Why did the", "What do you call a", "Knock knock.")


def add_arguments(parser: ArgumentParser) -> None:
    """Where to write, and the seed."""
    parser.add_argument("--out", default="gpt1-demo", help="Folder for the model and the plot.")
    parser.add_argument("--seed", type=int, default=1, help="Seed of samples and training.")
    parser.add_argument("--max-steps", type=int, default=None, help="Shorten the training.")


def run(arguments: Namespace) -> int:
    """Tell the story."""
    from rich.console import Console

    console = Console(highlight=False)
    training = _training(arguments)
    began = time.perf_counter()
    model = _load(console)
    _explain(console, model, PROMPTS[0])
    _generate(console, model, arguments.seed)
    folder = _finetune(console, model, Path(arguments.out), training)
    if folder is None:
        return 130
    minutes = (time.perf_counter() - began) / 60
    console.print(
        f"\nThat was all of it, in {minutes:.1f} minutes. The model is yours:\n\n"
        f'  gpt1 generate "{PREFIX}Why did the cat" --model {folder} --temperature 0.8 --n 5\n'
        f"  gpt1 finetune lm --data your-texts.csv --out my-model\n"
    )
    return 0


def _load(console: Console) -> LanguageModel:
    console.rule("[bold]1. Load the bundled model")
    from gpt1.backbone import require_gpt
    from gpt1.language_model import load

    began = time.perf_counter()
    model = load("mini")
    config = require_gpt(model.model, "the demo").config
    console.print(
        f"mini: {model.model.num_parameters():,} parameters, {config.n_layer} blocks of width "
        f"{config.n_embd}, {config.n_positions} positions, {model.tokenizer.vocab_size:,} tokens; "
        f"loaded in {time.perf_counter() - began:.2f} s"
    )
    return model


def _explain(console: Console, model: LanguageModel, prompt: str) -> None:
    console.rule("[bold]2. What it expects next")
    import torch
    from rich.table import Table

    ids = model.tokenizer.encode(prompt)
    with torch.inference_mode():
        logits = model.model(torch.tensor([ids])).logits
    probabilities, best = logits[0, -1].softmax(-1).topk(8)
    console.print(f"[bold]{prompt}[/] ...")
    table = Table(box=None, show_header=False)
    pieces = model.tokenizer.pieces(best.tolist())
    for piece, probability in zip(pieces, probabilities.tolist(), strict=True):
        bar = "█" * round(60 * probability)
        table.add_row(piece.replace("</w>", ""), f"{probability:6.1%}", f"[cyan]{bar}")
    console.print(table)


def _generate(console: Console, model: LanguageModel, seed: int) -> None:
    console.rule("[bold]3. Generate")
    from rich.markup import escape

    for prompt in PROMPTS:
        greedy = model.generate(prompt, max_new_tokens=40)
        console.print(f"[bold]greedy[/]   {escape(greedy)}")
        text = model.generate(prompt, max_new_tokens=60, temperature=0.8, top_p=0.95, seed=seed)
        console.print(f"[bold]sampled[/]  {escape(text)}\n")


def _finetune(
    console: Console, model: LanguageModel, out: Path, training: TrainingConfig
) -> Path | None:
    """Fine-tune on the bundled jokes; returns the folder, or None if interrupted."""
    console.rule("[bold]4. Fine-tune it on jokes")
    from gpt1.atomic import unused_folder
    from gpt1.cli.progress import TrainingProgress
    from gpt1.config import TextConfig
    from gpt1.language_model import load
    from gpt1.training.finetune import finetune_lm

    _jokes(console, "before", model, training.seed)
    result = finetune_lm(
        "mini",
        TextConfig(data=str(JOKES), prefix=PREFIX, valid_fraction=0.1),
        unused_folder(out),
        training,
        watch=TrainingProgress(),
    )
    if not result.complete:
        return None
    console.print(
        f"held-out loss {result.first_loss:.3f} -> {result.best_loss:.3f} nats per token, "
        f"{result.elapsed_s:.0f} s" + (f"; plot: {result.curve}" if result.curve else "")
    )
    _jokes(console, "after", load(result.out), training.seed)
    return result.out


def _training(arguments: Namespace) -> TrainingConfig:
    """Settings that suit a few hundred jokes and a small model."""
    from gpt1.config import ScheduleConfig, TrainingConfig

    return TrainingConfig(
        lr=1e-3,
        epochs=8,
        max_steps=arguments.max_steps,
        batch_size=8,
        eval_every_steps=8,
        save_every_steps=0,
        log_every_steps=1,
        seed=arguments.seed,
        schedule=ScheduleConfig(warmup_fraction=0.1),
    )


def _jokes(console: Console, when: str, model: LanguageModel, seed: int) -> None:
    """Print the continuation of each start of a joke."""
    console.print(f"[bold]jokes {when}")
    for start in JOKE_STARTS:
        text = model.generate(
            (PREFIX + start).strip(), max_new_tokens=40, temperature=0.7, top_k=40, seed=seed
        )
        console.print(f"  {text}", markup=False)
