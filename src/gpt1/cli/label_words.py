"""``gpt1 evaluate zero-shot --labels``: any texts, classified by the word expected behind them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gpt1.cli.loading import load_model
from gpt1.cli.processes import scoring_together
from gpt1.cli.progress import say
from gpt1.errors import ConfigError, DataError

LABEL_COLUMNS = ("label", "class", "category", "target", "sentiment")
"""Names a column of classes usually has, best first."""


def run(args: Namespace) -> int:
    """Classify, print what came of it, write the predictions; returns the exit code."""
    from gpt1.cli.records import write_records
    from gpt1.cli.report import print_facts
    from gpt1.cli.scoring_progress import scoring_progress
    from gpt1.evaluation.label_words import classify_by_words

    labels = parse_labels(args.labels)
    texts, classes = _read(args, labels)
    with scoring_together(args.device) as main, scoring_progress("classifying") as advance:
        found = classify_by_words(
            load_model(args),
            texts,
            labels,
            template=args.template,
            reduction=args.reduction,
            calibrate=args.calibrate,
            advance=advance,
        )
    if not main:
        return 0
    facts: dict[str, Any] = {"texts": len(texts), "cut": found.cut}
    facts |= {f"predicted {name}": count for name, count in Counter(found.labels).items()}
    if classes is not None:
        facts["accuracy"] = sum(map(str.__eq__, found.labels, classes)) / len(classes)
    print_facts(facts, as_json=args.json)
    if args.predictions:
        given = [{} for _ in texts] if classes is None else [{"label": name} for name in classes]
        rows = zip(texts, given, found.labels, found.probabilities, strict=True)
        write_records(
            args.predictions,
            (
                {"text": text, **label, "prediction": best, "probabilities": shares}
                for text, label, best, shares in rows
            ),
        )
    return 0


def parse_labels(text: str) -> dict[str, str]:
    """Words, or ``class=word``, with commas between, as classes and their words.

    Raises:
        ConfigError: If a class or a word is empty, or a class is named twice.
    """
    pairs = [part.strip().partition("=") for part in text.split(",")]
    labels = {name.strip(): word.strip() if sign else name.strip() for name, sign, word in pairs}
    if len(labels) < len(pairs) or not all([*labels, *labels.values()]):
        raise ConfigError(
            f"--labels is {text!r} but must be different words, or class=word, with commas between"
        )
    return labels


def _read(args: Namespace, labels: dict[str, str]) -> tuple[list[str], list[str] | None]:
    """Texts and, where a column has them, their classes."""
    from gpt1.data.columns import choose_column
    from gpt1.data.rows import good_rows

    file = Path(args.data)
    rows = [row for _, row in good_rows(file)]
    if args.subset is not None and args.subset < len(rows):
        rows = [rows[i * len(rows) // args.subset] for i in range(args.subset)]
    if not rows:
        raise DataError(f"{file} has no rows; there is nothing to classify")
    column = choose_column(rows[:100], args.text_column, file).name
    texts = [str(row.get(column) or "") for row in rows]
    named = args.label_column
    if named is not None and named not in rows[0]:
        raise DataError(f"{file} has no column {named!r}; its columns are {list(rows[0])}")
    found = named or next((name for name in LABEL_COLUMNS if name in rows[0]), None)
    if found is None:
        return texts, None
    classes = [str(row.get(found)) for row in rows]
    unknown = sorted(set(classes) - set(labels))
    if not unknown:
        return texts, classes
    problem = (
        f"{file}: column {found!r} holds the class {unknown[0]!r}, but --labels names "
        f"{', '.join(labels)}; write --labels {unknown[0]}=word,..."
    )
    if named is not None:
        raise DataError(problem)
    say(f"{problem} to have the predictions compared with it")
    return texts, None
