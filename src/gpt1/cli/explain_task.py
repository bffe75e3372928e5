"""``gpt1 explain`` with a task model: which words drove its prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gpt1.config import HeadConfig
    from gpt1.tasks.example import Example, Label


def run_task(args: Namespace, folder: Path, texts: Sequence[str]) -> int:
    """Explain a prediction and print; returns the exit code.

    Args:
        args: Flags of ``gpt1 explain``.
        folder: Of the task model.
        texts: What the model is to read, in the order of its layout.

    Raises:
        ConfigError: If a flag is for language models, or there is no such label.
        DataError: If there are too few or too many texts, or no word in them.
    """
    from gpt1.cli.explain import output_console
    from gpt1.evaluation.attribution import attribute
    from gpt1.evaluation.attribution_terminal import drawing
    from gpt1.task_checkpoint import load_task_model

    for flag, value in (
        ("--lens", args.lens),
        ("--attention", args.attention),
        ("--head", args.head),
        ("--dtype", args.dtype),
    ):
        if value:
            raise ConfigError(f"{flag} is for language models, but {args.model} is a task model")
    model, tokenizer = load_task_model(folder, device=args.device)
    if args.tokenizer_mode:
        tokenizer = tokenizer.with_mode(args.tokenizer_mode)
    example = _example(model.head, texts)
    label = _label(model.head, args.label)
    found = attribute(model, tokenizer, example, label, args.method or "leave_one_out")
    if not len(found):
        raise DataError("there are no words to explain the prediction by; give at least one")
    if args.html:
        found.save_html(args.html)
    if args.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
        return 0
    output_console().print(drawing(found, args.top))
    return 0


def _example(head: HeadConfig, texts: Sequence[str]) -> Example:
    from gpt1.tasks.example import choice, pair, similarity, text

    if head.layout == "choice" and len(texts) > 2:
        return choice(texts[0], texts[1:])
    if head.layout == "text" and len(texts) == 1:
        return text(*texts)
    if head.layout in ("pair", "similarity") and len(texts) == 2:
        return (pair if head.layout == "pair" else similarity)(*texts)
    wanted = {"text": "one text", "choice": "a context and two or more options"}
    raise DataError(
        f"the model reads {wanted.get(head.layout, 'two texts')}, but there "
        f"{'is' if len(texts) == 1 else 'are'} {len(texts)}"
    )


def _label(head: HeadConfig, name: str | None) -> Label | None:
    """The label a flag names: the number of an option, or a class."""
    if name is None or head.kind != "choice":
        return name
    if not name.isdecimal():
        raise ConfigError(f"--label is {name!r} but must be the number of an option, from 0")
    return int(name)
