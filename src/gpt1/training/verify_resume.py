"""Proof that a run can be killed at any time: it is run whole, run with kills, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gpt1.config import RUN_FILE
from gpt1.data.shards import INDEX
from gpt1.errors import ConfigError, TrainingError
from gpt1.training.run import begun
from gpt1.training.tracking import LogWatcher, Watcher, read_metrics

POLL_S = 0.005
"""Seconds between two looks at how far a run is."""

_CLOCKED = ("_s", "mfu", "_bytes", "_mb")
"""Endings of figures that depend on the machine, not on the run."""


@dataclass(frozen=True)
class Proof:
    """What came of a verification.

    Attributes:
        steps: Updates of the run.
        killed_at: Updates that were logged when it was killed, each time.
        compared: Files that were compared.
        differences: One clause for each file that differs.
    """

    steps: int
    killed_at: tuple[int, ...]
    compared: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the run that was killed ended as the one that was not."""
        return not self.differences


def verify_resume(
    run: str | Path,
    *,
    steps: int = 10,
    kills: int = 3,
    seed: int = 0,
    watch: Watcher | None = None,
) -> Proof:
    """Make the first updates of a run twice: whole, and killed again and again by SIGKILL.

    Both are new processes in a temporary folder, with the settings of the run but for its length
    and for how often it saves and validates. The run itself is not touched.

    Args:
        run: Folder of a run of ``gpt1 pretrain`` or ``gpt1 finetune``.
        steps: Updates to make; 2 or more.
        kills: How often to kill; each time at a random update.
        seed: Of these updates.
        watch: Told about the progress.

    Returns:
        What was compared, and what differs.

    Raises:
        ConfigError: If there is no run in the folder, or a number is out of range.
        TrainingError: If a process fails by itself.
    """
    path = Path(run) / RUN_FILE
    if not path.is_file():
        raise ConfigError(f"{run} holds no {RUN_FILE}; name the folder of a run")
    if steps < 2 or kills < 1:
        raise ConfigError(f"steps is {steps} and kills {kills}, but at least 2 and 1 are needed")
    watch = watch or LogWatcher()
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="gpt1-verify-") as room:
        config = Path(room, "run.yaml")
        config.write_text(yaml.safe_dump(_shortened(settings, Path(run), steps)), encoding="utf-8")
        words = [*_command(settings), "--config", str(config)]
        whole, cut = Path(room, "whole"), Path(room, "cut")
        watch.note(f"running {steps} updates without a stop")
        _finish(_start(words, whole))
        rng = np.random.default_rng(seed)
        killed = []
        for target in sorted(rng.integers(1, steps, size=kills, endpoint=True).tolist()):
            killed.append(_kill_at(_start(words, cut), cut, target))
            watch.note(f"killed after update {killed[-1]}")
        _finish(_start(words, cut))
        compared = tuple(sorted(_results(whole)))
        return Proof(steps, tuple(killed), compared, tuple(_differences(whole, cut)))


def _command(settings: Mapping[str, Any]) -> list[str]:
    """Words of the command that a run with such settings was started by."""
    if "prepare" in settings:
        return ["pretrain"]
    return ["finetune", "task" if "lm_coef" in settings else "lm"]


def _shortened(settings: Mapping[str, Any], run: Path, steps: int) -> dict[str, Any]:
    """The settings for a run of a few updates that saves and validates on the way."""
    changed: dict[str, Any] = {"max_steps": steps, "log_every_steps": 1, "save_every_steps": 2}
    changed |= {"eval_every_steps": 3, "eval_batches": min(2, settings.get("eval_batches") or 2)}
    changed["snapshot_steps"] = []
    if settings.get("sample_every_steps"):
        changed["sample_every_steps"] = 2
    if (run / "data" / INDEX).is_file():
        changed["data"] = str((run / "data").resolve())
    elif not Path(settings["data"]).is_absolute() and Path(settings["data"]).exists():
        changed["data"] = str(Path(settings["data"]).resolve())
    return {**settings, **changed}


def _start(words: list[str], out: Path) -> subprocess.Popen[str]:
    """Start the run, or go on with it."""
    resume = ["--resume"] if begun(out) else []
    return subprocess.Popen(
        [sys.executable, "-m", "gpt1", *words, "--out", str(out), *resume],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate()
    if process.returncode:
        raise TrainingError(f"the run failed by itself: {told.strip()[-500:]}")


def _kill_at(process: subprocess.Popen[str], out: Path, step: int) -> int:
    """Kill the run as soon as it has logged an update; returns the last it has logged."""
    metrics = out / "metrics.jsonl"
    while process.poll() is None and _last_step(metrics) < step:
        time.sleep(POLL_S)
    process.kill()
    _, told = process.communicate()
    if process.returncode > 0:
        raise TrainingError(f"the run failed by itself: {told.strip()[-500:]}")
    return _last_step(metrics)


def _last_step(metrics: Path) -> int:
    return max((row["step"] for row in read_metrics(metrics)), default=0)


def _results(out: Path) -> dict[str, Path]:
    """Files a run leaves that do not depend on the clock, but for a few figures in them."""
    patterns = ("*.safetensors", "state/*/*.safetensors", "state/*/loop.json", "*.jsonl")
    found = [path for pattern in patterns for path in out.glob(pattern)]
    return {str(path.relative_to(out)): path for path in found}


def _differences(whole: Path, cut: Path) -> Iterator[str]:
    expected, found = _results(whole), _results(cut)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            yield f"{name} is there only {'without' if name in expected else 'with'} kills"
        elif _content(expected[name]) != _content(found[name]):
            yield f"{name} differs"


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return path.read_bytes()
    lines = [path.read_text(encoding="utf-8")] if path.suffix == ".json" else None
    rows = [json.loads(line) for line in lines or path.read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if not k.endswith(_CLOCKED)} for row in rows]
