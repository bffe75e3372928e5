"""What a task model makes of examples: probabilities of classes or options, or values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.backbone import evaluation_mode
from gpt1.config import HeadConfig
from gpt1.evaluation import processes
from gpt1.evaluation.shared_prefix import Advance
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import TaskBatch, collate
from gpt1.tasks.encoding import Encoded, encode_examples
from gpt1.tasks.example import Example, Label
from gpt1.tasks.metrics import compute
from gpt1.tokenizer import Tokenizer

BATCH_TOKENS = 8192
"""Tokens of one forward pass, padding included; an example that is longer goes alone."""


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for N examples.

    Attributes:
        head: What its outputs mean.
        logits: ``(N, O)``, float64: scores of the classes or options (minus infinity where an
            example has fewer), or the one standardised value.
    """

    head: HeadConfig
    logits: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.logits)

    def select(self, numbers: Sequence[int]) -> Predictions:
        """Those of the examples with these numbers."""
        return Predictions(self.head, self.logits[list(numbers)])

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """``(N, O)``: of the classes or options; rows sum to 1."""
        odds = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return shares

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """``(N,)``: predicted values, in the units of the training data."""
        return self.logits[:, 0] * self.head.label_std + self.head.label_mean

    @property
    def numbers(self) -> NDArray[np.int64]:
        """``(N,)``: of the most probable class or option."""
        best: NDArray[np.int64] = self.logits.argmax(axis=1)
        return best

    @property
    def labels(self) -> list[Label]:
        """The most probable class or number of an option, or the value, of each example."""
        if self.head.kind == "value":
            return [float(value) for value in self.values]
        if self.head.kind == "choice":
            return [int(number) for number in self.numbers]
        return [self.head.classes[number] for number in self.numbers]

    def records(self) -> Iterator[dict[str, Any]]:
        """For each example its prediction; and the probability of each class or option."""
        for number, label in enumerate(self.labels):
            record: dict[str, Any] = {"prediction": label}
            if self.head.kind == "class":
                shares = map(float, self.probabilities[number])
                record["probabilities"] = dict(zip(self.head.classes, shares, strict=True))
            elif self.head.kind == "choice":
                there = np.isfinite(self.logits[number])
                record["probabilities"] = self.probabilities[number][there].tolist()
            yield record


def predict(
    model: TaskModel,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    *,
    advance: Advance | None = None,
) -> Predictions:
    """Predict the labels of examples.

    Args:
        model: Any device.
        tokenizer: Of the model.
        examples: Of the layout the model was trained on; labels are not looked at.
        advance: Told about progress.

    Returns:
        The predictions, in the order of the examples.
    """
    encoded, _ = encode_examples(examples, tokenizer, model.config.n_positions)
    return predict_encoded(model, encoded, advance=advance)


@torch.inference_mode()
def predict_encoded(
    model: TaskModel, examples: Sequence[Encoded], *, advance: Advance | None = None
) -> Predictions:
    """Predict the labels of examples given as token ids; see `predict`."""
    most = max((len(example.sequences) for example in examples), default=1)
    width = most if model.head.kind == "choice" else model.head.n_outputs
    logits = np.full((len(examples), width), -np.inf)
    share = isinstance(model.backbone, GPT)
    done, total = 0, sum(map(_size, examples))
    with evaluation_mode(model):
        for turn, (numbers, batch) in enumerate(_batches(examples, share)):
            if processes.is_mine(turn):
                scores = model(batch.to(model.device)).logits
                logits[numbers, : scores.shape[1]] = scores.cpu().numpy()
            done += sum(_size(examples[n]) for n in numbers)
            if advance is not None:
                advance(done, total)
    return Predictions(model.head, processes.joined(logits))


def _size(example: Encoded) -> int:
    return sum(map(len, example.sequences))


def _batches(examples: Sequence[Encoded], share: bool) -> Iterator[tuple[list[int], TaskBatch]]:
    """Examples by length, as many together as `BATCH_TOKENS` allows; their numbers with each."""
    sizes = [_size(example) for example in examples]
    numbers: list[int] = []
    for number in sorted(range(len(examples)), key=sizes.__getitem__):
        if numbers and (len(numbers) + 1) * sizes[number] > BATCH_TOKENS:
            yield numbers, _collate(examples, numbers, share)
            numbers = []
        numbers.append(number)
    if numbers:
        yield numbers, _collate(examples, numbers, share)


def _collate(examples: Sequence[Encoded], numbers: list[int], share: bool) -> TaskBatch:
    labels = np.zeros(len(numbers), np.int64)
    return collate([examples[n] for n in numbers], labels, share_context=share)


def judge(
    predictions: Predictions, labels: NDArray[Any], metrics: Sequence[str]
) -> dict[str, float]:
    """Figures of merit of predictions, and their loss.

    Args:
        predictions: Of N examples.
        labels: ``(N,)``, from `encode_labels`.
        metrics: Names in `gpt1.tasks.metrics`.

    Returns:
        The metrics in their order, then ``valid_loss``: cross-entropy in nats, or the mean squared
        error in squared standard deviations of the training data.
    """
    head = predictions.head
    if head.kind == "value":
        values = labels.astype(np.float64) * head.label_std + head.label_mean
        figures = compute(metrics, values, predictions.values)
        loss = float(np.mean((predictions.logits[:, 0] - labels) ** 2))
    else:
        figures = compute(metrics, labels, predictions.numbers)
        probabilities = predictions.probabilities[np.arange(len(labels)), labels]
        loss = float(-np.log(np.maximum(probabilities, 1e-300)).mean())
    return {**figures, "valid_loss": loss}
