"""The flags that say which model a command uses, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from gpt1.config import MODES

if TYPE_CHECKING:
    from gpt1.language_model import LanguageModel
    from gpt1.tokenizer import Tokenizer


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add ``--model``, ``--revision``, ``--device``, ``--dtype`` and ``--tokenizer-mode``."""
    parser.add_argument(
        "--model", default="mini", help="mini (comes with gpt1), a checkpoint folder or a hub id."
    )
    parser.add_argument("--revision", help="Branch, tag or commit of a hub id.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps.")
    parser.add_argument(
        "--dtype", help="float32, bfloat16 or float16; default: as stored in the checkpoint."
    )
    _add_tokenizer_mode(parser)


def add_native_arguments(parser: ArgumentParser) -> None:
    """Add the flags of what computes on a CPU, for commands that can do without PyTorch."""
    parser.add_argument(
        "--quantize", help="int8 or, on the CPU, int4: keep the matrices in so many bits."
    )
    parser.add_argument(
        "--backend",
        default="auto",
        help="What computes on the CPU: native, the C++ library, which needs no PyTorch; torch; or "
        "auto, the library where it can.",
    )


def load_model(args: Namespace) -> LanguageModel:
    """Load the model the flags name."""
    from gpt1.language_model import load

    return load(
        args.model,
        revision=args.revision,
        device=args.device,
        dtype=args.dtype,
        quantize=args.get("quantize"),
        backend=args.get("backend", "auto"),
        tokenizer_mode=args.tokenizer_mode,
    )


def add_tokenizer_arguments(parser: ArgumentParser) -> None:
    """Add ``--model`` and ``--tokenizer-mode``."""
    parser.add_argument("--model", default="mini", help="Model or folder whose tokenizer is used.")
    _add_tokenizer_mode(parser)


def load_tokenizer(args: Namespace) -> Tokenizer:
    """Load the tokenizer the flags of `add_tokenizer_arguments` name."""
    from gpt1.locate import locate
    from gpt1.tokenizer import Tokenizer

    return Tokenizer.load(locate(args.model), args.tokenizer_mode)


def _add_tokenizer_mode(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer-mode",
        choices=MODES,
        help="How text is split: as GPT-1's authors did, or as transformers does; "
        "default: as stored.",
    )
