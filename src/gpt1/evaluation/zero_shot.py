"""Zero-shot scores of a language model on the four tasks of GPT-1's figure 2 (right).

The model is not trained on the tasks; `gpt1.evaluation.zero_shot_rules` says what it is asked.
Scores are fractions, not per cent.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.label_words import Scorer, reduced
from gpt1.evaluation.shared_prefix import Advance, LogProbs, continuation_log_probs, cut_prompts
from gpt1.evaluation.threshold import fit_threshold, matthews_of
from gpt1.evaluation.zero_shot_rules import RULES, Row, Rule, ZeroShotConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ZeroShotResult:
    """What a model scores on a task it was not trained on.

    Attributes:
        task: Its name.
        metric: "accuracy", or "matthews" (correlation) for cola.
        score: A fraction.
        chance: What guessing scores.
        normalised: 0 at chance, 1 at the best single model; None where that one is not known.
        n: Number of examples.
        cut: Number of contexts that lost their beginning because they were too long.
        options: The fields of `ZeroShotConfig` that make a difference to this task.
        threshold: cola: sentences that score above it are called acceptable.
        labels: The right answers.
        predictions: The model's.
        scores: For each example, of each candidate, in nats; for cola of the sentence.
    """

    task: str
    metric: str
    score: float
    chance: float
    normalised: float | None
    n: int
    cut: int
    options: dict[str, Any]
    threshold: float | None
    labels: list[int]
    predictions: list[int]
    scores: list[list[float]]

    def summary(self) -> dict[str, Any]:
        """All but what there is for each example."""
        facts = dataclasses.asdict(self)
        return {k: v for k, v in facts.items() if k not in ("labels", "predictions", "scores")}

    def examples(self) -> Iterator[dict[str, Any]]:
        """A record for each example."""
        for label, prediction, scores in zip(
            self.labels, self.predictions, self.scores, strict=True
        ):
            yield {"label": label, "prediction": prediction, "scores": scores}


def zero_shot(
    lm: Scorer,
    task: str,
    rows: Sequence[Row],
    *,
    train_rows: Sequence[Row] = (),
    config: ZeroShotConfig | None = None,
    advance: Advance | None = None,
) -> ZeroShotResult:
    """Score a model on a task as the paper does.

    Args:
        lm: Model and tokenizer.
        task: One of `RULES`.
        rows: Examples, with the columns the rule names.
        train_rows: cola: labelled sentences the threshold is fitted on.
        config: Options; default: the paper's rules.
        advance: Told about progress.

    Returns:
        The score, and every prediction.

    Raises:
        ConfigError: If there is no such task, or an option does not fit.
        DataError: If a row cannot be used, or there are none.
    """
    [result] = _results(lm, task, (rows, train_rows), [config or ZeroShotConfig()], advance)
    return result


def compare_options(
    lm: Scorer,
    task: str,
    rows: Sequence[Row],
    *,
    train_rows: Sequence[Row] = (),
    config: ZeroShotConfig | None = None,
    advance: Advance | None = None,
) -> list[ZeroShotResult]:
    """Score a model on a task under each of the rule's variants, the given options first.

    Arguments and errors are those of `zero_shot`. A variant that needs a token the vocabulary has
    not is left out, which the log says.
    """
    first = config or ZeroShotConfig()
    variants = [dataclasses.replace(first, **change) for change in _rule(task).variants]
    return list(_results(lm, task, (rows, train_rows), [first, *variants], advance))


def normalised(score: float, chance: float, best_single_model: float) -> float:
    """A score on the scale of figure 2: 0 at chance, 1 at the best single model."""
    return (score - chance) / (best_single_model - chance)


def _rule(task: str) -> Rule:
    if task not in RULES:
        raise ConfigError(f"there is no zero-shot task {task!r}; there are {', '.join(RULES)}")
    return RULES[task]


def _results(
    lm: Scorer,
    task: str,
    rows: tuple[Sequence[Row], Sequence[Row]],
    configs: list[ZeroShotConfig],
    advance: Advance | None,
) -> Iterator[ZeroShotResult]:
    """A result for each configuration; those that differ in the reduction alone share a reading."""
    rule = _rule(task)
    tested, fitted = rows[0], rows[1] if rule.threshold else ()
    _check(task, rule, tested, fitted)
    read: dict[ZeroShotConfig, tuple[list[list[LogProbs]], int] | None] = {}
    for config in dict.fromkeys(configs):
        key = dataclasses.replace(config, reduction="mean")
        if key not in read:
            try:
                read[key] = _read(lm, rule, [*tested, *fitted], config, advance)
            except ConfigError as error:
                if config == configs[0]:
                    raise
                log.warning("%s: left out: %s", task, error)
                read[key] = None
        if (found := read[key]) is not None:
            yield _judged(task, rule, (tested, fitted), config, *found)


def _check(task: str, rule: Rule, tested: Sequence[Row], fitted: Sequence[Row]) -> None:
    if not tested:
        raise DataError(f"there are no rows of {task} to score; check the file")
    if rule.threshold and not fitted:
        raise DataError(
            f"{task} needs labelled training rows to fit its threshold on; "
            "put its train file beside the other"
        )
    for number, row in enumerate(chain(tested, fitted)):
        rule.check(row, f"{task}, row {number}")


def _read(
    lm: Scorer, rule: Rule, rows: Sequence[Row], config: ZeroShotConfig, advance: Advance | None
) -> tuple[list[list[LogProbs]], int]:
    """Log-probabilities of the candidates of each row, and the number of contexts cut."""
    queries = rule.queries(lm.tokenizer, rows, config)
    _, cut = cut_prompts(*queries, lm.model.config.n_positions)
    found = continuation_log_probs(lm.model, *queries, advance=advance)
    if "options" not in rule.columns:
        return found, cut
    flat = chain.from_iterable(found)
    return [list(islice(flat, len(row["options"]))) for row in rows], cut


def _judged(
    task: str,
    rule: Rule,
    rows: tuple[Sequence[Row], Sequence[Row]],
    config: ZeroShotConfig,
    log_probs: list[list[LogProbs]],
    cut: int,
) -> ZeroShotResult:
    scores = [[reduced(values, config.reduction) for values in row] for row in log_probs]
    tested, fitted = (list(map(rule.label, part)) for part in rows)
    ours, theirs = scores[: len(tested)], scores[len(tested) :]
    threshold, chance = None, 0.0
    if rule.threshold:
        threshold = fit_threshold([row[0] for row in theirs], fitted).value
        predictions = [int(row[0] > threshold) for row in ours]
        score = matthews_of(predictions, tested)
    else:
        predictions = [int(np.argmax(row)) for row in ours]
        chance = sum(1 / len(row) for row in ours) / len(ours)
        score = sum(map(int.__eq__, predictions, tested)) / len(tested)
    return ZeroShotResult(
        task=task,
        metric="matthews" if rule.threshold else "accuracy",
        score=score,
        chance=chance,
        normalised=None if rule.best is None else normalised(score, chance, rule.best),
        n=len(tested),
        cut=cut,
        options={name: getattr(config, name) for name in rule.options},
        threshold=threshold,
        labels=tested,
        predictions=predictions,
        scores=ours,
    )
