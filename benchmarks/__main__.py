"""``python -m benchmarks``: run benchmarks, show their tables and keep their figures."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import report
from benchmarks.options import ROOT, Options
from gpt1.errors import Gpt1Error

BENCHMARKS = ("decode", "tokenize", "pack", "finetune", "task", "startup", "step", "exports")
RESULTS = ROOT / "benchmarks" / "results"
WIDTH_OF_FILES = 140


def parser() -> argparse.ArgumentParser:
    """The flags; those that are not given are left out."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="gpt1 beside its peers: run benchmarks, show and keep their figures.",
        argument_default=argparse.SUPPRESS,
    )
    flags.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help=f"of {', '.join(BENCHMARKS)}"
    )
    flags.add_argument("--out", type=Path, help=f"folder of the JSON files (default: {RESULTS})")
    flags.add_argument(
        "--markdown", action="store_true", help="print the results in --out; measure nothing"
    )
    flags.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that all runs; writes no results"
    )
    flags.add_argument("--rounds", type=count, help="turns of each side")
    flags.add_argument("--data", type=Path, help="jokes: csv, jsonl or txt (pack, finetune)")
    flags.add_argument("--valid-data", type=Path, help="held-out jokes (finetune)")
    flags.add_argument("--vocabulary", type=Path, help="folder of a tokenizer (pack)")
    flags.add_argument("--model", help="to start from or to load (finetune, startup)")
    flags.add_argument("--max-texts", type=count, help="use the first so many jokes")
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
    if unknown := [name for name in names if name not in BENCHMARKS]:
        flags.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    out = given.pop("out", None if given.get("quick") else RESULTS)
    try:
        if given.pop("markdown", False):
            sys.stdout.write(report.markdown(read(out or RESULTS, names)))
            return 0
        return run(names, Options(**given), out)
    except Gpt1Error as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def run(names: Sequence[str], options: Options, out: Path | None) -> int:
    """Run benchmarks one after the other, showing and, with a folder, writing each result."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    agree = True
    for name in names:
        console.print(f"{name} ...")
        found = importlib.import_module(f"benchmarks.{name}").run(options).as_dict()
        report.show(found, console)
        if out is not None:
            console.print(f"written to {report.write(found, out)}\n")
        agree = agree and all(found["same"].values())
    return 0 if agree else 1


def read(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The results of these benchmarks in a folder; those that are not there are left out."""
    files = [folder / f"{name}.json" for name in names]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


if __name__ == "__main__":
    sys.exit(main())
