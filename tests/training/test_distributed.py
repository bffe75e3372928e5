"""Many processes make the run one process makes, and take it over from each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.distributed_worker import CASES, ROUNDED

from gpt1.errors import ConfigError
from gpt1.training.distributed import join, refuse_many
from gpt1.training.tracking import read_metrics

TESTS = Path(__file__).parents[1]
MACHINE = ("elapsed_s", "tokens_per_s", "mfu", "peak_memory_bytes")


def launch(processes: int, *words: str) -> None:
    """Run the worker in so many processes."""
    script = str(Path(__file__).with_name("distributed_worker.py"))
    launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone"]
    count = [] if processes == 1 else [f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *launcher, *count, script, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Every case, on 1, 2 and 4 processes."""
    folder = tmp_path_factory.mktemp("distributed")
    for processes in (1, 2, 4):
        launch(processes, str(folder / str(processes)), *CASES, *ROUNDED)
    return {processes: folder / str(processes) for processes in (1, 2, 4)}


def figures(run: Path) -> list[dict[str, Any]]:
    rows = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in MACHINE} for row in rows]


def assert_same_run(run: Path, other: Path, tolerance: float, after_step: int = -1) -> None:
    later = [row for row in figures(other) if row["step"] > after_step]
    for row, expected in zip(figures(run), later, strict=True):
        assert row == pytest.approx(expected, rel=tolerance)
    torch.testing.assert_close(
        load_file(run / "weights.safetensors"),
        load_file(other / "weights.safetensors"),
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_many_processes_make_the_updates_of_one(
    runs: dict[int, Path], processes: int, case: str
) -> None:
    assert_same_run(runs[processes] / case, runs[1] / case, 1e-5)


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("case", ROUNDED)
def test_in_bfloat16_they_make_those_of_one_but_for_rounding(
    runs: dict[int, Path], processes: int, case: str
) -> None:
    found, expected = figures(runs[processes] / case), figures(runs[1] / case)
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        key = "loss" if "loss" in row else "valid_loss"
        assert row[key] == pytest.approx(other[key], rel=0.01)


def test_under_fsdp_a_process_holds_its_share_of_weights_and_moments(
    runs: dict[int, Path],
) -> None:
    def held(processes: int, case: str) -> list[int]:
        folder = runs[processes] / case
        return [json.loads((folder / f"bytes-{i}.json").read_text()) for i in range(processes)]

    [all_of_it] = held(1, "fsdp")
    assert held(4, "ddp") == [all_of_it] * 4
    for processes in (2, 4):
        # Rows are dealt out whole: a table of 40 has 10 for each, a bias of 16 has 4.
        assert max(held(processes, "fsdp")) < 1.05 * all_of_it / processes


@pytest.mark.parametrize(("before", "after"), [(4, 2), (4, 1), (1, 4)])
def test_a_run_goes_on_with_another_number_of_processes(
    runs: dict[int, Path], tmp_path: Path, before: int, after: int
) -> None:
    cases = ["ddp", "fsdp", "fsdp-muon"]
    for case in cases:
        state = Path(case, "state", "step-00000002")
        shutil.copytree(runs[before] / state, tmp_path / state)
    launch(after, str(tmp_path), *cases)
    for case in cases:
        assert_same_run(tmp_path / case, runs[1] / case, 1e-5, after_step=2)


def test_states_of_shards_are_files_of_safetensors_and_json_alone(runs: dict[int, Path]) -> None:
    state = runs[4] / "fsdp" / "state" / "step-00000006"
    names = sorted(path.name for path in state.iterdir())
    assert names[:2] == ["checksums.json", "loop.json"]
    assert [name[:12] for name in names[2:]] == [f"shard-0000{i}-" for i in range(1, 5)]
    assert all(name.endswith(".safetensors") for name in names[2:])


def test_one_process_of_many_cannot_be_told_a_certain_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ConfigError, match="device is 'cuda:1' but there are 2 processes; name 'cu"),
        join("cuda:1"),
    ):
        pass
    with pytest.raises(ConfigError, match="a task runs in one process but there are 2; use no to"):
        refuse_many("a task")
