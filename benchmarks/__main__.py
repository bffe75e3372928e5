"""``python -m benchmarks``: run benchmarks, show their tables and keep their figures."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import history, page, report
from benchmarks.options import ROOT, Options
from benchmarks.peers import PRECISIONS
from gpt1.errors import Gpt1Error

BENCHMARKS = (
    "decode",
    "tokenize",
    "pack",
    "finetune",
    "task",
    "startup",
    "step",
    "exports",
    "train",
    "speculative",
    "serve",
    "workers",
)
APART = ("gpu", "soak", "alternatives")
"""Run when named."""
HISTORY = ROOT / "benchmarks" / "history.jsonl"
WIDTH_OF_FILES = 200


def parser() -> argparse.ArgumentParser:
    """The flags; those that are not given are left out."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="gpt1 beside its peers: run benchmarks, show and keep their figures.",
        argument_default=argparse.SUPPRESS,
    )
    names = f"of {', '.join(BENCHMARKS)}, which are run by default, and {', '.join(APART)}"
    flags.add_argument("names", nargs="*", default=[], metavar="NAME", help=names)
    flags.add_argument(
        "--history", type=Path, help=f"each run becomes a line of this file (default: {HISTORY})"
    )
    flags.add_argument(
        "--markdown",
        type=Path,
        nargs="?",
        const=page.PAGE,
        metavar="PAGE",
        help="put the newest results of the history between the marks of a page "
        f"(default: {page.PAGE}) and draw them; measure nothing",
    )
    flags.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that all runs; no history"
    )
    flags.add_argument("--precisions", nargs="+", choices=PRECISIONS, help="only these (decode)")
    flags.add_argument(
        "--batches",
        nargs="+",
        type=count,
        help="only these sizes (decode), sequences at a time (train), numbers of clients (serve)",
    )
    flags.add_argument(
        "--prompts", nargs="+", type=count, help="only prompts of so many tokens (decode)"
    )
    flags.add_argument("--rounds", type=count, help="turns of each side")
    flags.add_argument("--data", type=Path, help="jokes: csv, jsonl or txt (pack, finetune)")
    flags.add_argument("--valid-data", type=Path, help="held-out jokes (finetune)")
    flags.add_argument("--vocabulary", type=Path, help="folder of a tokenizer (pack)")
    flags.add_argument("--model", help="to start from or to load (finetune, startup)")
    flags.add_argument("--max-texts", type=count, help="use the first so many jokes")
    flags.add_argument("--seconds", type=float, help="of load (soak)")
    flags.add_argument(
        "--peer", choices=("gpt1", "transformers"), help="whose module the tutorial trains"
    )
    return flags


def count(text: str) -> int:
    """A whole number from 1, as argparse reads it."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run or print.

    Args:
        argv: Words of the command; default: of this process.

    Returns:
        Exit code: 1 if sides that should agree do not, 2 on a user's mistake.
    """
    flags = parser()
    given = vars(flags.parse_args(argv))
    names = given.pop("names") or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS + APART]:
        known = ", ".join(BENCHMARKS + APART)
        flags.error(f"no benchmark {unknown[0]!r}; there are {known}")
    file = given.pop("history", None if given.get("quick") else HISTORY)
    shown = given.pop("markdown", None)
    try:
        if shown is not None:
            page.fill(shown, history.latest(file or HISTORY, names))
            return 0
        return run(names, Options(**given), file)
    except Gpt1Error as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def run(names: Sequence[str], options: Options, file: Path | None) -> int:
    """Run benchmarks one after the other, show each result and add it to the history, if given."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    agree = True
    for name in names:
        console.print(f"{name} ...")
        found = importlib.import_module(f"benchmarks.{name}").run(options).as_dict()
        report.show(found, console)
        if file is not None and report.was_run(found):
            history.append(found, file)
        agree = agree and all(found["same"].values())
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
