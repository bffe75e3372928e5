"""Zero-shot scores of the snapshots of a pre-training run (GPT-1, figure 2, right)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gpt1 import __version__
from gpt1.checkpoint import load_model
from gpt1.errors import DataError
from gpt1.evaluation.zero_shot import zero_shot
from gpt1.evaluation.zero_shot_data import find_tasks, task_rows
from gpt1.evaluation.zero_shot_rules import RULES, ZeroShotConfig
from gpt1.language_model import LanguageModel
from gpt1.reproduce.digests import files_digest, model_digest
from gpt1.reproduce.runs import Outcome
from gpt1.tokenizer import Tokenizer
from gpt1.training.tracking import Watcher


class Snapshot(NamedTuple):
    """A model on its way.

    Attributes:
        step: Updates it had.
        folder: Where it is.
    """

    step: int
    folder: Path


def find_snapshots(run: str | Path) -> list[Snapshot]:
    """The snapshots of a run, the earliest first.

    Args:
        run: Folder from `gpt1 pretrain`, or its folder ``snapshots``.

    Raises:
        DataError: If there are none.
    """
    folders = [*Path(run).glob("snapshots/step-*"), *Path(run).glob("step-*")]
    found = [Snapshot(int(f.name.partition("-")[2]), f) for f in folders if f.is_dir()]
    if not found:
        raise DataError(
            f"{run} has no folder snapshots/step-N; pre-train with --snapshot-steps, for example "
            "[0,100,1000]"
        )
    return sorted(found)


@dataclass(frozen=True)
class ZeroShotReading:
    """One snapshot on one task: a `gpt1.reproduce.runs.Work`.

    Attributes:
        snapshot: The model.
        task: One of `gpt1.evaluation.zero_shot_rules.RULES`.
        data: Folder with a folder of the task.
        subset: So many rows of a file, or None: all.
        device: Where to compute.
    """

    snapshot: Snapshot
    task: str
    data: str
    subset: int | None
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Short, for people and files."""
        return f"{self.task}-zeroshot-step{self.snapshot.step}"

    def determinants(self) -> dict[str, Any]:
        """Everything the result depends on, as plain data."""
        files = find_tasks(self.data, [self.task])[self.task]
        rules = asdict(ZeroShotConfig())
        return {
            "gpt1": __version__,
            "task": self.task,
            "data": files_digest(file for file in files if file is not None),
            "subset": self.subset,
            "model": model_digest(str(self.snapshot.folder)),
            "step": self.snapshot.step,
            "rules": {name: rules[name] for name in RULES[self.task].options},
        }

    def run(self, watch: Watcher) -> Outcome:
        """Read and judge."""
        began = time.perf_counter()
        folder = self.snapshot.folder
        lm = LanguageModel(load_model(folder, device=self.device), Tokenizer.load(folder))
        files = find_tasks(self.data, [self.task])[self.task]
        fitted = files.train if RULES[self.task].threshold else None
        result = zero_shot(
            lm,
            self.task,
            task_rows(files.scored, self.task, self.subset),
            train_rows=task_rows(fitted, self.task, self.subset) if fitted else (),
        )
        details = {
            "split": files.scored.name.partition(".")[0],
            "parameters": lm.model.num_parameters(),
        }
        figures = {result.metric: result.score, "chance": result.chance}
        counts = {"scored": result.n, "cut": result.cut}
        return Outcome(figures, counts, time.perf_counter() - began, details)
