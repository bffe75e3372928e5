"""What all estimators share: training, predicting, features, explanations, saving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt1.checkpoint import load_model
from gpt1.config import ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.errors import ConfigError
from gpt1.estimators.inputs import Data, labels
from gpt1.estimators.scikit_learn import BaseEstimator, check_is_fitted
from gpt1.estimators.storage import FILE, Stored, read, written
from gpt1.estimators.targets import (
    Classes,
    Kind,
    class_names,
    decode,
    encode,
    find_classes,
    labelled,
    named_weights,
)
from gpt1.evaluation.attribution import Attribution, Method, attribute
from gpt1.evaluation.features import Pooling, example_features
from gpt1.evaluation.predicting import Predictions, predict
from gpt1.locate import locate
from gpt1.task_checkpoint import load_task_model, save_task_model
from gpt1.task_model import TaskModel
from gpt1.tasks.example import Example, Layout
from gpt1.tasks.labels import infer_head
from gpt1.tasks.reading import Examples
from gpt1.tasks.splits import TaskData
from gpt1.tasks.splitting import split_examples
from gpt1.tasks.task import Row, Task
from gpt1.tokenizer import Tokenizer
from gpt1.training.continue_task import continue_task
from gpt1.training.finetune_task import PAPER, TaskRun, new_task_model, suited_training
from gpt1.training.tracking import Watcher

Self = TypeVar("Self", bound="TaskEstimator")


class TaskEstimator(BaseEstimator):  # type: ignore[misc]
    """A GPT-1 fine-tuned on labelled examples (GPT-1 sections 3.2 and 3.3).

    Args:
        model: What to fine-tune: "mini", a folder or a hub id.
        epochs: Passes over the examples.
        batch_size: Examples of an update.
        lr: Peak learning rate; None: 6.25e-5, as in the paper, and 5e-4 for a model narrower than
            the paper's, such as mini.
        seed: Of the order, of dropout and of new weights; equal seeds give equal models.
        lm_coef: Weight of the language-model loss beside that of the task.
        device: Where to train and predict: "cpu", "cuda", "cuda:1", "mps".
        precision: Arithmetic of training, "fp32" or "bf16".
        warmup_fraction: Share of the updates over which the rate rises; None: 0.002, as in the
            paper, and 0.1 for a narrower model.
        validation_fraction: Share of the examples held out, each class in proportion, to keep the
            best epoch; 0: train on all, to the end.
        max_steps: Updates, in place of ``epochs``.
        micro_batch_size: Examples of a forward pass: fewer need less memory, same update.
        verbose: Show the progress.

    Attributes:
        model_: The fine-tuned model, a torch module.
        tokenizer_: Its tokenizer.
        result_: What came of `fit`, a `gpt1.training.finetune_task.TaskResult`.
    """

    layout: ClassVar[Layout]
    kind: ClassVar[Kind]

    def __init__(  # noqa: PLR0913 (scikit-learn reads the parameters from here)
        self,
        model: str | Path = "mini",
        *,
        epochs: float = PAPER.epochs,
        batch_size: int = PAPER.batch_size,
        lr: float | None = None,
        seed: int = PAPER.seed,
        lm_coef: float = TaskConfig.lm_coef,
        device: str = PAPER.device,
        precision: Literal["fp32", "bf16"] = PAPER.precision,
        warmup_fraction: float | None = None,
        validation_fraction: float = 0.0,
        max_steps: int | None = None,
        micro_batch_size: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.lm_coef = lm_coef
        self.device = device
        self.precision = precision
        self.warmup_fraction = warmup_fraction
        self.validation_fraction = validation_fraction
        self.max_steps = max_steps
        self.micro_batch_size = micro_batch_size
        self.verbose = verbose

    # What the estimators differ in

    def _examples(self, x: Data) -> list[Example]:
        """The rows of X as examples without a label."""
        raise NotImplementedError

    def _kind(self, known: Sequence[Any]) -> Kind:
        """What labels are."""
        return self.kind

    # Training

    def fit(self: Self, X: Data, y: Data) -> Self:
        """Fine-tune the model on examples, from its pre-trained weights.

        Args:
            X: Rows: a list, an array, a column or a frame of pandas or polars.
            y: A label for each.

        Returns:
            The estimator.

        Raises:
            DataError: If X or y cannot be used.
            ConfigError: If a parameter is out of range.
            TrainingError: If the loss stops being finite.
        """
        unlabelled = self._examples(X)
        known = labels(y, len(unlabelled))
        kind = self._kind(known)
        classes = find_classes(known) if kind == "class" else None
        config, training = self._task_config(classes), self._training()
        data = self._data(labelled(unlabelled, encode(known, kind, classes)), classes)
        run = TaskRun(self.model, data, config, training)
        result = run.fit(watch=self._watch())
        if not result.complete:
            raise KeyboardInterrupt
        self._set_fitted(run.model, run.tokenizer, classes)
        self.result_ = result
        return self

    def partial_fit(
        self: Self,
        X: Data,
        y: Data,
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Go on training with more examples: one pass over them, at the rate ``lr`` throughout.

        The weights go on from where `fit` or the last call left them, and from one call to the
        next the moments of the optimizer as well (not through saving or pickling). The first call
        without a `fit` starts from the pre-trained model.

        Args:
            X: Rows.
            y: A label for each. The mean and spread of values are those of the first call.
            classes: All classes there will be; needed where classes are not known yet.

        Returns:
            The estimator.

        Raises:
            DataError: If X or y cannot be used, or y has a class that is not known.
            ConfigError: If ``classes`` is needed, or is not what it was.
        """
        unlabelled = self._examples(X)
        known = labels(y, len(unlabelled))
        first = not hasattr(self, "model_")
        kind = self._kind(known) if first else self.model_.head.kind
        all_classes = self._all_classes(kind, classes)
        config = self._task_config(all_classes)
        training = self._training(None if first else self.model_)
        if config.class_weights == "balanced":
            raise ConfigError(
                "class_weight 'balanced' needs all examples at once; give partial_fit a weight "
                "for each class"
            )
        examples = labelled(unlabelled, encode(known, kind, all_classes))
        if first:
            head = infer_head(examples, classes=class_names(all_classes))
            tokenizer, model = new_task_model(self.model, head, config, training)
            self._set_fitted(model, tokenizer, all_classes)
        calls = getattr(self, "partial_fits_", 0)
        self._optimizers = continue_task(
            self.model_,
            self.tokenizer_,
            examples,
            config,
            replace(training, seed=(training.seed + calls) % 2**32),  # another order each time
            optimizers=getattr(self, "_optimizers", None),
            watch=self._watch(),
        )
        self.partial_fits_ = calls + 1
        return self

    def _all_classes(self, kind: Kind, classes: Sequence[Any] | None) -> Classes:
        """The classes there are, given those the user names."""
        if kind != "class":
            return None
        named = None if classes is None else find_classes(labels(classes, len(classes)))
        before: Classes = getattr(self, "classes_", None)
        if before is None and named is None:
            raise ConfigError(
                "classes is None, but the first call of partial_fit needs all classes there will "
                "be: partial_fit(X, y, classes=[...])"
            )
        if before is not None and named is not None and before.tolist() != named.tolist():
            raise ConfigError(
                f"classes is {named.tolist()} but was {before.tolist()}; call fit to begin anew"
            )
        return before if before is not None else named

    def _data(self, examples: Sequence[Example], classes: Classes) -> TaskData:
        """The examples, with a part set aside if one was asked for."""
        task = Task(name="", transform=_no_rows, classes=class_names(classes))
        if not self.validation_fraction:
            return TaskData(task=task, train=examples)
        every = Examples("train", examples, [""] * len(examples))
        train, valid = split_examples(every, self.validation_fraction, self.seed)
        return TaskData(task=task, train=train.examples, valid=valid.examples)

    def _task_config(self, classes: Classes) -> TaskConfig:
        weights = named_weights(getattr(self, "class_weight", None), classes)
        return TaskConfig(
            lm_coef=self.lm_coef, class_weights=weights, valid_fraction=self.validation_fraction
        )

    def _training(self, model: TaskModel | None = None) -> TrainingConfig:
        """How to train a fitted model on, or the one of the parameters from its beginning."""
        suited = PAPER
        if self.lr is None or self.warmup_fraction is None:
            backbone = model.backbone if model else load_model(locate(self.model))
            suited = suited_training(backbone.config.n_embd)
        warmup = self.warmup_fraction
        if warmup is None:
            warmup = suited.schedule.warmup_fraction
        return replace(
            PAPER,
            lr=suited.lr if self.lr is None else self.lr,
            epochs=self.epochs,
            max_steps=_plain(self.max_steps),
            batch_size=_plain(self.batch_size),
            micro_batch_size=_plain(self.micro_batch_size),
            seed=_plain(self.seed),
            device=self.device,
            precision=self.precision,
            schedule=ScheduleConfig(warmup_fraction=warmup),
        )

    def _watch(self) -> Watcher | None:
        if not self.verbose:
            return None
        from gpt1.cli.progress import TrainingProgress

        return TrainingProgress()

    def _set_fitted(self, model: TaskModel, tokenizer: Tokenizer, classes: Classes) -> None:
        for name in ("classes_", "result_", "partial_fits_", "_optimizers"):
            if hasattr(self, name):
                delattr(self, name)
        self.model_, self.tokenizer_ = model, tokenizer
        if classes is not None:
            self.classes_ = classes

    # Predicting

    def predict(self, X: Data) -> NDArray[Any]:
        """The label of each row, of the type the labels had in training.

        Args:
            X: Rows, as in `fit`.

        Returns:
            ``(N,)``.

        Raises:
            DataError: If X cannot be used.
        """
        return decode(self._predictions(X), getattr(self, "classes_", None))

    def _predictions(self, x: Data) -> Predictions:
        check_is_fitted(self, "model_")
        return predict(self.model_, self.tokenizer_, self._examples(x))

    def features(self, X: Data, pooling: Pooling = "last") -> NDArray[np.float32]:
        """A vector for each row, for a fast model of another kind; nothing is trained.

        Before `fit` these are vectors of the pre-trained model, after it of the fine-tuned one.
        `gpt1.Features` is the same as a step of a pipeline.

        Args:
            X: Rows, as in `fit`.
            pooling: "last": the state of the last token of the text; "mean": the mean over its
                tokens; "extract", after `fit`: what the head reads.

        Returns:
            ``(N, D)``.

        Raises:
            ConfigError: If there is no such pooling, or the rows are choices.
        """
        if pooling == "extract":
            check_is_fitted(self, "model_")
        examples = self._examples(X)
        if hasattr(self, "model_"):
            return example_features(self.model_.backbone, self.tokenizer_, examples, pooling)
        folder = locate(self.model)
        backbone = load_model(folder, device=self.device, dtype="float32")
        return example_features(backbone, Tokenizer.load(folder), examples, pooling)

    def explain(self, x: Any, label: Any = None, method: Method = "leave_one_out") -> Attribution:
        """What each word of one row did to its prediction.

        Args:
            x: One row of X: a text, a pair, or a choice.
            label: The class, or number of the option, to explain; default: the one predicted.
            method: "leave_one_out" predicts without each word; "gradient" is faster and rougher.

        Returns:
            The words with their scores; ``rich.print`` shows it, ``save_html`` writes a page.

        Raises:
            DataError: If the row cannot be used.
            ConfigError: If there is no such label or method.
        """
        check_is_fitted(self, "model_")
        [example] = self._examples([x])
        classes: Classes = getattr(self, "classes_", None)
        if self.model_.head.kind != "class" or classes is None:
            return attribute(self.model_, self.tokenizer_, example, label, method)
        known = classes.tolist()
        if label is not None and label not in known:
            raise ConfigError(f"label is {label!r} but must be one of {known}")
        name = None if label is None else class_names(classes)[known.index(label)]
        found = attribute(self.model_, self.tokenizer_, example, name, method)
        of_name = dict(zip(class_names(classes), known, strict=True))
        return replace(found, prediction=of_name[found.prediction], label=of_name[found.label])

    # Folders

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load`, ``gpt1 evaluate task`` and transformers read; no pickles.

        Args:
            folder: New, empty, or a checkpoint to replace.

        Raises:
            ConfigError: If the folder holds something else.
            CheckpointError: If writing fails.
        """
        check_is_fitted(self, "model_")
        stored = Stored(type(self).__name__, self.get_params(), getattr(self, "classes_", None))
        save_task_model(folder, self.model_, self.tokenizer_, files={FILE: written(stored)})

    @classmethod
    def load(cls: type[Self], folder: str | Path, *, device: str = "cpu") -> Self:
        """Read what `save`, or ``gpt1 finetune task``, wrote.

        Args:
            folder: A folder or a hub id. Of a folder of the command line the parameters are the
                defaults, and classes that are whole numbers become integers.
            device: Where the weights go.

        Returns:
            A fitted estimator.

        Raises:
            CheckpointError: If a file is missing or damaged, or the model is for another estimator.
        """
        folder = locate(folder)
        model, tokenizer = load_task_model(folder, device=device)
        stored = read(folder, model.head, cls.__name__)
        estimator = cls(**{**stored.params, "device": device})
        estimator._set_fitted(model, tokenizer, stored.classes)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        """All but the moments of the optimizer."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_optimizers"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


def _no_rows(row: Row) -> Example:
    raise NotImplementedError("the examples of an estimator are not read from rows")


def _plain(value: Any) -> Any:
    """Python's number for NumPy's, as a grid of parameters may hold."""
    return value.item() if isinstance(value, np.generic) else value
