"""``gpt1 evaluate harness``: the command of lm-evaluation-harness, with our model made known to it.

All words are its own; only the defaults differ.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from jsonargparse import Namespace

from gpt1.cli.main import COMMANDS

PASSES_WORDS_ON = True
EXAMPLES = """\
gpt1 evaluate harness --tasks lambada_openai,piqa --limit 100
gpt1 evaluate harness --model_args model=my-model,device=cuda --tasks hellaswag --output_path out
gpt1 evaluate harness ls tasks
gpt1 evaluate harness run --help"""

DEFAULTS = ("--model", "gpt1", "--device", "cpu", "--batch_size", "auto")
"""Put in front of the words of a run, so that what the user gives takes precedence."""

OTHER_COMMANDS = ("ls", "validate")


def run(args: Namespace) -> int:
    """Register the model and hand over; returns the exit code."""
    _parser().parse_args(args.words[:1] if args.words[:1] in (["-h"], ["--help"]) else [])
    from gpt1.evaluation.harness import register

    register()
    from lm_eval.__main__ import cli_evaluate

    before = sys.argv
    sys.argv = ["lm_eval", *with_defaults(args.words)]
    try:
        cli_evaluate()
    finally:
        sys.argv = before
    return 0


def with_defaults(words: list[str]) -> list[str]:
    """The words as the harness gets them.

    Args:
        words: Of the user; without a command of the harness they are those of its command run.

    Returns:
        The same with `DEFAULTS`, unless they are of another command, or a file of settings is to
        decide.
    """
    if words[:1] and words[0] in OTHER_COMMANDS:
        return words
    own = words[1:] if words[:1] == ["run"] else words
    by_file = any(word.split("=")[0] in ("-C", "--config") for word in own)
    return ["run", *(() if by_file else DEFAULTS), *own]


def _parser() -> ArgumentParser:
    return ArgumentParser(
        prog="gpt1 evaluate harness",
        usage="gpt1 evaluate harness [ARGUMENTS OF lm_eval ...]",
        description=f"{COMMANDS['evaluate harness'].capitalize()}. This is its command lm_eval, "
        "with gpt1 among the models and as the default one, on the CPU.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES.splitlines()),
        formatter_class=RawDescriptionHelpFormatter,
    )
