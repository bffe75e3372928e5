"""The flags that say which model a command uses, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from gpt1.language_model import LanguageModel


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add ``--model``, ``--revision``, ``--device`` and ``--dtype``."""
    parser.add_argument(
        "--model", default="mini", help="mini (comes with gpt1), a checkpoint folder or a hub id."
    )
    parser.add_argument("--revision", help="Branch, tag or commit of a hub id.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps.")
    parser.add_argument(
        "--dtype", help="float32, bfloat16 or float16; default: as stored in the checkpoint."
    )


def load_model(args: Namespace) -> LanguageModel:
    """Load the model the flags of `add_model_arguments` name."""
    from gpt1.language_model import load

    return load(args.model, revision=args.revision, device=args.device, dtype=args.dtype)
