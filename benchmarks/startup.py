"""Wall time of small commands, each in a fresh process, with warm file caches.

The bare interpreter and ``import torch`` are the limits: a command cannot be faster than the first,
and one that computes not faster than the second. The time of a whole command that adds one token
bounds the time to the first token from above.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.child import environment
from benchmarks.options import Options
from benchmarks.report import How, Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.locate import locate

TITLE = "wall time of commands"
ROUNDS = 11
HELP_BAR_S = 0.3
FIRST_TOKEN_BAR_S = 1.0
PROMPT = "The"

FIRST_TOKEN = """
import sys, torch
from transformers import OpenAIGPTLMHeadModel, PreTrainedTokenizerFast
folder, prompt = sys.argv[1:]
tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = OpenAIGPTLMHeadModel.from_pretrained(folder)
inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=1, do_sample=False)[0]))
"""
"""A program that prints a prompt and one token more: the shortest way to it in transformers."""


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    folder = str(locate(options.model))
    times = measure(commands(folder), options.rounds or (1 if options.quick else ROUNDS))
    return Report(
        name="startup",
        title=TITLE,
        quick=options.quick,
        rows=rows(times),
        settings={"model": options.model, "prompt": PROMPT, "command": shown(program())},
    )


def commands(folder: str) -> dict[str, list[str]]:
    """Words of every command, by name."""
    python, gpt1 = [sys.executable, "-c"], program()
    words = [PROMPT, "--max-new-tokens", "1", "--model", folder]
    return {
        "python": [*python, "pass"],
        "import gpt1": [*python, "import gpt1"],
        "gpt1 --help": [*gpt1, "--help"],
        "gpt1 generate --help": [*gpt1, "generate", "--help"],
        "import torch": [*python, "import torch"],
        "first token": [*gpt1, "generate", *words],
        "transformers": [*python, FIRST_TOKEN, folder, PROMPT],
    }


def shown(words: list[str]) -> str:
    """A command without the folder of its program, which belongs to one machine."""
    return " ".join([Path(words[0]).name, *words[1:]])


def program() -> list[str]:
    """``gpt1`` as installed beside this Python, else as a module."""
    script = Path(sys.executable).with_name("gpt1")
    return [str(script)] if script.exists() else [sys.executable, "-m", "gpt1"]


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round; a round before them fills the file caches."""
    sides = {name: partial(seconds, words) for name, words in commands.items()}
    return {name: times[1:] for name, times in interleave(sides, rounds + 1).items()}


def seconds(words: list[str]) -> float:
    """Wall time of one command.

    Raises:
        CalledProcessError: If it fails.
    """
    command = partial(
        subprocess.run, words, env=environment(), stdout=subprocess.DEVNULL, check=True
    )
    return stopwatch(command)[0]


def rows(times: dict[str, list[float]]) -> list[Row]:
    """Each command beside what limits it, and the first token beside transformers'."""

    def row(name: str, beside: str = "", how: How | None = None, bar: float | None = None) -> Row:
        other = times[beside] if beside else ()
        return Row(
            measure=name,
            unit="s",
            ours=times[name],
            beside=beside,
            other=other,
            how=how,
            bar=bar,
        )

    return [
        row("import gpt1", "python", "more"),
        row("gpt1 --help", "python", "more"),
        row("gpt1 generate --help", bar=HELP_BAR_S),
        row("first token", "import torch", "more", FIRST_TOKEN_BAR_S),
        row("first token", "transformers", "times less"),
    ]
