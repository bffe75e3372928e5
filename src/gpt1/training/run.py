"""The folder of a run: who may write to it, and what stands in it at the end."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from gpt1.atomic import check_destination, write_text_atomic
from gpt1.backbone import Backbone
from gpt1.checkpoint import save_model
from gpt1.config import RUN_FILE
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.locate import WEIGHTS
from gpt1.task_model import TaskModel
from gpt1.tokenizer import Tokenizer
from gpt1.training.card import model_card
from gpt1.training.curve import draw_loss_curve
from gpt1.training.distributed import current, was_restarted, whole
from gpt1.training.loop import CARD, Trainer
from gpt1.training.report_card import About, general_loss, report_card, write_report
from gpt1.training.samples import in_one_piece
from gpt1.training.state import LATEST
from gpt1.training.tracking import Watcher

log = logging.getLogger(__name__)

PACKAGES = ("gpt1", "torch", "tokenizers", "safetensors", "numpy")

FREE_SETTINGS = (
    "device",
    "micro_batch_size",
    "activation_checkpointing",
    "compile",
    "parallel",
    "skip_nonfinite",
    "log_every_steps",
    "save_every_steps",
    "states",
    "snapshot_steps",
    "sample_every_steps",
    "sample_prompts",
    "track",
)
"""Settings that may change when a run is resumed: where and how, not what it computes."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        out: Its folder.
        complete: False if it was interrupted and can be resumed.
        preempted: Whether that was by SIGTERM.
        step: Updates done.
        tokens: Targets trained on.
        elapsed_s: Seconds spent training.
        first_loss: Validation loss before the first update, nats per token, or None without
            validation data.
        best_loss: Lowest validation loss since, likewise.
        best_step: Where it was.
        curve: PNG of the loss curve, or None if it was not drawn.
    """

    out: Path
    complete: bool
    preempted: bool
    step: int
    tokens: int
    elapsed_s: float
    first_loss: float | None
    best_loss: float | None
    best_step: int
    curve: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def check_folder(out: str | Path, settings: Mapping[str, Any], *, resume: bool) -> Path:
    """See whether a run may write to a folder; writes nothing yet.

    Args:
        out: The folder; need not exist.
        settings: All of the run's, as plain data.
        resume: Whether a run in it is continued.

    Returns:
        The folder.

    Raises:
        ConfigError: If it is no folder, holds a run, a model or something else, or the run to be
            continued was started with other settings. A run that died before it had anything to
            keep does not count.
    """
    if not str(out):
        raise ConfigError("--out is empty; name a folder")
    out = Path(out)
    check_destination(out)
    if resume:
        _check_settings(out, json.loads(json.dumps(settings)))
    elif (out / WEIGHTS).exists() or begun(out):
        raise ConfigError(
            f"{out} holds a run or a model already; continue the run with --resume, or name "
            "another folder"
        )
    return out


def begun(out: str | Path) -> bool:
    """Whether a run in the folder has saved a state."""
    return (Path(out) / "state" / LATEST).exists()


def goes_on(out: str | Path, *, resume: bool, watch: Watcher) -> bool:
    """Whether to continue the run in a folder: as asked, or as ``torchrun`` started it again.

    Args:
        out: The folder.
        resume: What was asked for.
        watch: Told, where it was not asked for.
    """
    if resume or not (was_restarted() and begun(out)):
        return resume
    watch.note(f"started again after a failure; going on with the run in {out}")
    return True


def write_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder of a run and write its settings and versions to ``run.yaml``."""
    out.mkdir(parents=True, exist_ok=True)
    plain = json.loads(json.dumps(settings))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    write_text_atomic(out / RUN_FILE, _versions() + text)


def _versions() -> str:
    """Comment lines that say what the run was made with."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"# {packages}, Python {platform.python_version()}, {platform.platform()}\n"


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run with settings that would make it another run."""
    path = out / RUN_FILE
    if not path.exists():
        raise ConfigError(f"nothing to resume: {out} holds no {RUN_FILE}; drop --resume")
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    changed = [
        f"{name} was {before.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if value != before.get(name) and name not in FREE_SETTINGS
    ]
    if changed:
        raise ConfigError(
            f"the run in {out} was started with other settings: {'; '.join(changed)}. "
            "Resume it with the old ones, or start a new run in another folder"
        )


def keep_model(out: Path, model: Backbone, tokenizer: Tokenizer) -> Callable[[], None]:
    """A function that writes the model, as it then is, to the folder of its run."""
    return lambda: _write(out, model, tokenizer)


def snapshot_model(out: Path, model: Backbone, tokenizer: Tokenizer) -> Callable[[int], None]:
    """A function that writes the model, as it then is, to a folder named for the step."""
    return lambda step: _write(snapshot_folder(out, step), model, tokenizer)


def _write(folder: Path, model: Backbone, tokenizer: Tokenizer) -> None:
    """Write the model once, whole, however many processes hold it or parts of it."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        full = whole(tensor)  # all processes take part
        if current().main:
            tensors[name] = full.cpu()
    if current().main:
        save_model(folder, model, tokenizer, tensors=tensors)


def snapshot_folder(out: Path, step: int) -> Path:
    """Where a run keeps its model as it is after so many updates."""
    return out / "snapshots" / f"step-{step:08d}"


def complete_run(trainer: Trainer, tokenizer: Tokenizer, about: About) -> RunResult:
    """Train, then draw the curve and write the model card and the report.

    Args:
        trainer: Ready to train.
        tokenizer: Of the model.
        about: What the run is.

    Returns:
        What came of it.
    """
    out, state = trainer.job.out, trainer.state
    assert out is not None
    assert not isinstance(trainer.model, TaskModel)
    if state.step == 0:
        loss = general_loss(in_one_piece(trainer.model), tokenizer)
        trainer.journal.write(step=0, general_loss=loss)
    complete = trainer.fit()
    result = RunResult(
        out=out,
        complete=complete,
        preempted=trainer.stop.preempted,
        step=state.step,
        tokens=state.tokens,
        elapsed_s=state.elapsed_s,
        first_loss=state.first_loss,
        best_loss=state.best_loss,
        best_step=state.best_step,
        curve=drawn(draw_loss_curve, out) if current().main else None,
    )
    if complete and current().main:
        write_report(report_card(trainer, tokenizer, about), out)
        card = model_card(trainer, tokenizer, out.name, about.origin)
        (out / CARD).write_text(card, encoding="utf-8")
    return result


def drawn(draw: Callable[[Path, Path, str], None], out: Path) -> Path | None:
    """Draw the course of a run to ``loss.png``, where matplotlib is installed.

    Args:
        draw: Gets the metrics, the picture to write and its title.
        out: Folder of the run.

    Returns:
        The picture, or None, which is said in the log.
    """
    curve = out / "loss.png"
    try:
        draw(out / "metrics.jsonl", curve, out.name)
    except MissingExtraError as error:
        log.warning("%s", error)
        return None
    return curve
