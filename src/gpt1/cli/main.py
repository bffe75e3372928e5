"""The command ``gpt1``: finds the command's module, parses its flags, turns errors into exit codes.

Exit codes: 0 success, 1 a bug, 2 a user's mistake, 130 interrupted.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from gpt1.errors import Gpt1Error

COMMANDS = {
    "demo": "the whole story offline: load, explain, generate, fine-tune on jokes",
    "generate": "continue a prompt",
    "explain": "show what the model expected in each place of a text",
    "finetune lm": "fine-tune a language model on your own texts",
    "finetune task": "fine-tune a model on labelled examples",
    "pretrain": "train a language model from scratch",
    "evaluate perplexity": "how well a model predicts a text",
    "evaluate zero-shot": "tasks, or any classification, without training on them",
    "evaluate task": "what a task model predicts, and how often it is right",
    "evaluate harness": "run the benchmarks of lm-evaluation-harness",
    "submit glue": "predictions for the leaderboard of GLUE",
    "tokenizer train": "learn a vocabulary from texts",
    "tokenizer encode": "text to token ids",
    "tokenizer decode": "token ids to text",
    "tokenizer diff": "what the two ways of splitting text change",
    "data prepare": "texts to token shards for pre-training",
    "data verify": "check every file of token shards",
    "reproduce seed": "walk through the public tutorial, beside what it printed",
    "reproduce table2": "fine-tune on natural language inference, beside the paper",
    "reproduce table3": "fine-tune on question answering, beside the paper",
    "reproduce table4": "fine-tune on classification and similarity, beside the paper",
    "reproduce table5": "ablations: without pre-training, without auxiliary loss, an LSTM",
    "reproduce figure2": "transfer of the first blocks; zero-shot scores along pre-training",
    "reproduce paper": "tables 2 to 5 and figure 2 in one report",
    "runs list": "the runs in a folder: steps, loss, time",
    "runs compare": "what runs differ in, and what came of it",
    "runs verify-resume": "prove that a run can be killed and resumed without a trace",
    "serve": "serve models over the network",
    "estimate": "time, memory and price of a training run, before it is started",
    "convert": "change the format of a checkpoint",
    "export": "write a model for another runtime: ONNX, CTranslate2",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Words after ``gpt1``; default: of this process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except Gpt1Error as error:
        print(f"gpt1: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gpt1: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without permission
        print(f"gpt1: {error.strerror or error}: {error.filename or 'a file'}", file=sys.stderr)
        return 2


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from gpt1 import __version__

        print(f"gpt1 {__version__}")
        return 0
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS and len(words) >= length:
            return _run(name, words[length:])
    return _help(words)


def _run(name: str, words: list[str]) -> int:
    import logging

    from gpt1.cli.parsing import parse

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    # Of the processes torchrun starts, the first tells what all of them do.
    first = os.environ.get("RANK", "0") == "0"
    logging.getLogger("gpt1").setLevel(logging.INFO if first else logging.ERROR)
    module = importlib.import_module("gpt1.cli." + name.replace(" ", "_").replace("-", "_"))
    return int(module.run(parse(name, module, words)))


def _help(words: list[str]) -> int:
    """Print the commands, or those of a family; an unknown one is a mistake."""
    family = [w for w in words[:1] if any(name.startswith(w + " ") for name in COMMANDS)]
    names = [name for name in COMMANDS if not family or name.startswith(family[0] + " ")]
    rest = words[len(family) :]
    if rest and rest[0] not in ("-h", "--help"):
        wrong = " ".join([*family, rest[0]])
        near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
        hint = f"; did you mean: gpt1 {near[0]}" if near else ""
        raise Gpt1Error(f"there is no command {wrong!r}{hint}; see gpt1 --help")
    width = max(map(len, names)) + 2
    lines = [f"  {name:<{width}}{COMMANDS[name]}" for name in names]
    title = "The complete GPT-1: load, generate, pre-train, fine-tune, score."
    usage = f"usage: gpt1 {' '.join(family)}{' ' if family else ''}COMMAND ... [--help]"
    print("\n".join([usage, "", title, "", "commands:", *lines, "", _FOOTER]))
    return 0 if rest else 2


_FOOTER = "gpt1 COMMAND --help shows a command's flags and examples; gpt1 --version the version."
