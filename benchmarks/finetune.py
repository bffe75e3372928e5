"""Fine-tuning on jokes: held-out loss, time and memory of our recipe beside the tutorial's.

Both start from the same model and pass over the same jokes as often. gpt1 is the command a user
types, with ``recipes/jokes.yaml``: it holds out a share of these jokes itself to pick its best
weights. The tutorial is `gpt1.reproduce.tutorial_recipe`, over our module or over transformers'.

The judge is the same for both, on jokes neither has seen: each joke alone behind the prefix, mean
nats over the joke's own tokens. The end marker, which the two write differently, is not counted,
but whatever probability a model gives it in the middle of a joke costs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import yaml

from benchmarks.child import call
from benchmarks.options import ROOT, Options, Peer
from benchmarks.report import How, Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import load_model, save_model
from gpt1.cli.main import main as gpt1_command
from gpt1.data.sources import TextSource
from gpt1.locate import locate
from gpt1.reproduce import tutorial_recipe as tutorial
from gpt1.reproduce.judge import Judge
from gpt1.tokenizer import Tokenizer

TITLE = "fine-tune on jokes, beside the tutorial's recipe"
RECIPE = ROOT / "recipes" / "jokes.yaml"
QUICK_TEXTS = 200

Train: TypeAlias = Callable[..., dict[str, float]]
"""Trains, writes the model and returns seconds and updates."""

Loaded: TypeAlias = tuple[Any, tutorial.Encode, Callable[[str], None]]
"""A model, its tokenizer, and a function that writes the model to a folder."""


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    texts, held_out = options.split()
    if options.quick:
        texts, held_out = texts[:QUICK_TEXTS], held_out[:QUICK_TEXTS]
    start = str(locate(options.model))
    judge = Judge(Tokenizer.load(start), held_out)
    epochs = 1 if options.quick else recipe["epochs"]
    with TemporaryDirectory() as folder:
        job = {"start": start, "data": write_texts(texts, folder), "epochs": epochs}

        def turn(train: Train, seeds: Iterator[int], **more: str) -> dict[str, float]:
            seed = next(seeds)
            out = str(Path(folder, f"{train.__name__}-{seed}"))
            arguments = {**job, **more, "out": out, "seed": seed}
            done = call(train, arguments, apart=not options.quick)
            return {**done.result, "peak_mb": done.peak_mb, "loss": loss(judge, out)}

        sides = {
            "gpt1": partial(turn, train_ours, count(recipe["seed"])),
            "tutorial": partial(turn, train_tutorial, count(recipe["seed"]), peer=options.peer),
        }
        results = interleave(sides, options.rounds or 1)
    return Report(
        name="finetune",
        title=TITLE,
        quick=options.quick,
        rows=rows(loss(judge, start), results),
        settings={
            "model": options.model,
            "recipe": RECIPE.name,
            "tutorial_model": options.peer,
            "jokes": len(texts),
            "held_out_jokes": len(held_out),
            "held_out_tokens": judge.tokens,
            "epochs": epochs,
            "updates": int(results["gpt1"][0]["updates"]),
            "tutorial_updates": int(results["tutorial"][0]["updates"]),
        },
    )


def loss(judge: Judge, folder: str) -> float:
    """Held-out loss of a checkpoint, nats per token."""
    return judge.loss(load_model(folder, dtype="float32"))


def rows(before: float, results: dict[str, list[dict[str, float]]]) -> list[Row]:
    """Loss before and after, time and memory."""

    def beside(measure: str, unit: str, key: str, how: How) -> Row:
        ours, other = ([result[key] for result in results[side]] for side in results)
        return Row(measure=measure, unit=unit, ours=ours, beside="tutorial", other=other, how=how)

    return [
        Row(measure="held-out loss before training", unit="nats/token", ours=[before]),
        beside("held-out loss after training", "nats/token", "loss", "more"),
        beside("time of the whole run", "s", "seconds", "times less"),
        beside("peak memory of training", "MB", "peak_mb", "times less"),
    ]


def write_texts(texts: Sequence[str], folder: str) -> str:
    """Write the jokes both sides read; returns the file."""
    file = Path(folder, "jokes.jsonl")
    lines = (json.dumps({"text": text}) + "\n" for text in texts)
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


def train_ours(
    start: str, data: str, epochs: int, out: str, seed: int, more: Sequence[str] = ()
) -> dict[str, float]:
    """``gpt1 finetune lm`` with the recipe, from reading the jokes to the written model."""
    flags = {"config": RECIPE, "model": start, "data": data, "out": out}
    numbers = {"epochs": epochs, "seed": seed}
    words = [*(f"--{name}={value}" for name, value in (flags | numbers).items()), *more]
    with redirect_stdout(StringIO()) as output:
        seconds, code = stopwatch(partial(gpt1_command, ["finetune", "lm", *words, "--json"]))
    if code:
        raise RuntimeError(f"gpt1 finetune lm ended with {code}; its message is above")
    return {"seconds": seconds, "updates": json.loads(output.getvalue())["step"]}


def train_tutorial(
    start: str, data: str, epochs: int, out: str, seed: int, peer: Peer
) -> dict[str, float]:
    """The tutorial, from reading the jokes to the written model."""

    def work() -> int:
        model, encode, save = LOADERS[peer](start)
        limit = min(tutorial.PACK_TOKENS, model.config.n_positions)
        jokes = list(TextSource(data))
        updates = tutorial.train(model, encode, jokes, epochs=epochs, limit=limit, seed=seed)
        done = sum(1 for _ in updates)
        save(out)
        return done

    seconds, updates = stopwatch(work)
    return {"seconds": seconds, "updates": updates}


def load_ours(start: str) -> Loaded:
    """Our module and tokenizer, for the tutorial."""
    model, tokenizer = load_model(start, dtype="float32"), Tokenizer.load(start)
    return model, tutorial.encoder(tokenizer), partial(save_model, model=model, tokenizer=tokenizer)


def load_theirs(start: str) -> Loaded:
    """The module of transformers and its tokenizer, for the tutorial."""
    from benchmarks import peer

    model = peer.load_model(start)
    tokenizer = peer.load_tokenizer(start)
    return model, partial(tokenizer.encode, return_tensors="pt"), model.save_pretrained


LOADERS: dict[Peer, Callable[[str], Loaded]] = {"gpt1": load_ours, "transformers": load_theirs}
