"""``torchrun -m gpt1 pretrain`` as a user runs it: one process prints, a dead one is replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpt1.cli.main import main
from gpt1.training.tracking import read_metrics

RUN = [
    *("--model.n-layer", "2", "--model.n-embd", "32", "--model.n-head", "2"),
    *("--model.n-positions", "32", "--batch-size", "6", "--max-steps", "40", "--lr", "0.003"),
    *("--eval-every-steps", "10", "--save-every-steps", "5", "--log-every-steps", "1", "--json"),
]
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = [f"the {a} {b} saw {c} birds .\n" for a in "abcde" for b in "fghij" for c in "klmno"]
    (folder / "book.txt").write_text("".join(lines * 4), encoding="utf-8")
    words = [str(folder / "book.txt"), "--out", str(folder / "shards"), "--vocab-size", "90"]
    words += ["--valid-fraction", "0.1", "--clean.max-repeated-lines", "1"]
    assert main(["data", "prepare", *words]) == 0
    return folder / "shards"


def torchrun(shards: Path, out: Path, *more: str, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    count = ["--nproc-per-node=2", f"--max-restarts={restarts}"]
    words = ["-m", "gpt1", "pretrain", "--data", str(shards), "--out", str(out), *RUN, *more]
    return subprocess.Popen(
        [*launcher, *count, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_step(run: subprocess.Popen[str], out: Path, step: int) -> None:
    """Until the run has logged an update."""
    deadline = time.monotonic() + TIMEOUT_S
    while max((row["step"] for row in read_metrics(out / "metrics.jsonl")), default=0) < step:
        assert run.poll() is None, run.stderr and run.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def figures(out: Path) -> list[dict[str, Any]]:
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: row[key] for key in row.keys() & {"step", "loss", "valid_loss"}} for row in rows]


def test_a_worker_that_is_killed_is_replaced_and_the_run_ends_as_if_it_had_lived(
    shards: Path, tmp_path: Path
) -> None:
    whole = torchrun(shards, tmp_path / "whole")
    out, err = whole.communicate(timeout=TIMEOUT_S)
    assert whole.returncode == 0, err[-3000:]
    assert json.loads(out)["step"] == 40, "one process prints the result, once"
    assert err.count("step 40: validation loss") == 1

    broken = torchrun(shards, tmp_path / "broken", restarts=1)
    wait_for_step(broken, tmp_path / "broken", 12)
    workers = psutil.Process(broken.pid).children()
    [worker] = [w for w in workers if w.environ().get("RANK") == "1"]
    worker.send_signal(signal.SIGKILL)
    out, err = broken.communicate(timeout=TIMEOUT_S)
    assert broken.returncode == 0, err[-3000:]
    assert "started again after a failure; going on with the run in" in err
    assert json.loads(out)["step"] == 40
    assert figures(tmp_path / "broken") == figures(tmp_path / "whole")
    for name in ("model.safetensors", "state/step-00000040/state.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_sigterm_saves_and_one_process_can_go_on(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = torchrun(shards, tmp_path / "run", "--max-steps", "100000", "--parallel", "fsdp")
    wait_for_step(run, tmp_path / "run", 3)
    for worker in psutil.Process(run.pid).children():
        worker.terminate()
    _, err = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, err[-3000:]
    folder = tmp_path / "run"
    [sizes] = re.findall(r"first holds ([\d,]+) of the ([\d,]+) bytes", err)
    held, of_all = (int(size.replace(",", "")) for size in sizes)
    assert held == pytest.approx(of_all / 2, rel=0.05)
    assert err.count(f"Interrupted; saved. Continue with: gpt1 pretrain --out {folder} --res") == 1
    saved = int((folder / "state" / "latest").read_text().removeprefix("step-"))
    assert saved == read_metrics(folder / "metrics.jsonl")[-1]["step"]
    # The rest is long: go on for a little, alone.
    alone = subprocess.Popen(
        [sys.executable, "-m", "gpt1", "pretrain", "--out", str(folder), "--resume"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(alone, folder, saved + 2)
    alone.terminate()
    _, err = alone.communicate(timeout=TIMEOUT_S)
    assert alone.returncode == 0, err
    assert int((folder / "state" / "latest").read_text().removeprefix("step-")) > saved
