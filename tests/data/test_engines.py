"""``gpt1 data prepare`` by datatrove: every engine writes the bytes of the plain path."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpt1.cli.main import main
from gpt1.config import CleaningConfig, ClusterConfig, PrepareConfig
from gpt1.data import work
from gpt1.data.engines import prepare_on
from gpt1.data.prepare import prepare
from gpt1.data.ray_connection import ray_connection
from gpt1.data.work import UNIT_BYTES
from gpt1.errors import ConfigError, DataError, MissingExtraError

CONFIG = PrepareConfig(vocab_size=60, valid_fraction=0.2)
SLURM = ClusterConfig(
    parts=2, partition="cpu", time="01:30:00", account="books", cpus_per_task=3, mem_per_cpu_gb=5
)


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a unit of work, so that there is something to spread."""
    monkeypatch.setattr(work, "UNIT_BYTES", 1)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Five files of three documents each; one document comes twice."""
    rng = np.random.default_rng(0)
    words = ["the cat", "a dog", "sat down", "ran home", "and then", "in the rain"]
    documents = [" ".join(rng.choice(words, 60)) for _ in range(14)]
    documents.append(documents[2].upper())
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(5):
        lines = (json.dumps({"text": text}) + "\n" for text in documents[number::5])
        (folder / f"{number}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder; there must be no other folder in it."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def plain(texts: Path, tmp_path: Path) -> dict[str, bytes]:
    """What the plain path writes."""
    shards = prepare([texts], tmp_path / "plain", CONFIG)
    assert shards.index["documents"] == 14
    assert shards.index["dropped"] == {"duplicate": 1}
    return contents(tmp_path / "plain")


def test_the_local_executor_writes_the_same_bytes(
    texts: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    cluster = ClusterConfig(parts=3)
    shards = prepare_on("local", [texts], tmp_path / "out", CONFIG, workers=2, cluster=cluster)
    assert shards is not None
    assert contents(tmp_path / "out") == plain


def test_a_run_that_was_stopped_goes_on(
    texts: Path, plain: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gpt1.data.engines.encode_tasks", fail)
        with pytest.raises(KeyboardInterrupt):
            prepare_on("local", [texts], tmp_path / "out", CONFIG)
    monkeypatch.setattr("gpt1.data.engines.clean_unit", fail)  # all of them are clean
    prepare_on("local", [texts], tmp_path / "out", CONFIG)
    assert contents(tmp_path / "out") == plain


# Ray

# Of how datatrove asks Ray for places.
on_ray = pytest.mark.filterwarnings("ignore:placement_group.* is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """Ray on two cores of this machine."""
    ray = pytest.importorskip("ray", reason="needs ray: pip install gpt1[cluster]")
    before = signal.getsignal(signal.SIGTERM)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    signal.signal(signal.SIGTERM, before)  # Ray keeps it


@on_ray
@pytest.mark.usefixtures("_ray")
def test_ray_writes_the_same_bytes(texts: Path, plain: dict[str, bytes], tmp_path: Path) -> None:
    import ray

    cluster = ClusterConfig(parts=2)
    prepare_on("ray", [texts], tmp_path / "out", CONFIG, workers=2, cluster=cluster)
    assert contents(tmp_path / "out") == plain
    assert ray.is_initialized()  # what was there before stays


def test_sigterm_is_as_before_once_our_ray_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    fake = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", fake)
    before = signal.getsignal(signal.SIGTERM)
    with ray_connection("this test"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingExtraError, match=r'this test needs ray: .*"gpt1\[cluster\]"'),
        ray_connection("this test"),
    ):
        pass


@pytest.mark.slow
@on_ray
@pytest.mark.usefixtures("_ray")
def test_a_part_that_fails_on_ray_is_told_with_its_reason(texts: Path, tmp_path: Path) -> None:
    config = PrepareConfig(vocab_size=60, clean=CleaningConfig(language="xx"))
    problem = r"2 of 2 parts failed, the first with: gpt1\.errors\.ConfigError: .*'xx'.*_00000\.log"
    with pytest.raises(DataError, match=problem):
        prepare_on("ray", [texts], tmp_path / "out", config, cluster=ClusterConfig(parts=2))


# Slurm

PROGRAMS = {
    "sbatch": """
        cd {record}
        number=$(( $(ls | wc -l) / 2 + 101 ))
        echo "$@" > $number.args
        for file; do :; done
        cp $file $number.sh
        echo Submitted batch job $number""",
    "srun": 'shift 3; exec "$@"',
    "scontrol": "echo localhost",
}
"""Stand-ins: jobs are written down, and programs run at once on this machine."""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that gets the script and the arguments of each job, numbered from 101."""
    programs, record = tmp_path / "bin", tmp_path / "jobs"
    programs.mkdir()
    record.mkdir()
    for name, lines in PROGRAMS.items():
        program = programs / name
        program.write_text("#!/bin/sh\n" + lines.replace("{record}", str(record)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    return record


def test_slurm_gets_four_jobs_that_wait_for_each_other(
    texts: Path, tmp_path: Path, jobs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="gpt1")
    out = tmp_path / "out"
    assert prepare_on("slurm", [texts], out, CONFIG, workers=2, cluster=SLURM) is None
    scripts = {file.stem: file.read_text() for file in sorted(jobs.glob("*.sh"))}
    names = {number: re.findall("job-name=(.*)", text)[0] for number, text in scripts.items()}
    stages = [number for number, text in scripts.items() if "launch_pickled_pipeline" in text]
    assert [names[number] for number in stages] == [
        "gpt1-clean",
        "gpt1-select",
        "gpt1-encode",
        "gpt1-write",
    ]
    for before, number in pairwise(stages):
        assert f"--dependency=afterok:{before}" in (jobs / f"{number}.args").read_text()
    directives = [re.findall("^#SBATCH (.*)", scripts[number], re.MULTILINE) for number in stages]
    for asked in directives:
        assert {
            "--partition=cpu",
            "--time=01:30:00",
            "--account=books",
            "--cpus-per-task=3",
            "--mem-per-cpu=5G",
        } <= set(asked)
        assert not any("qos" in line for line in asked)
    arrays = [line for asked in directives for line in asked if "array" in line]
    assert arrays == ["--array=0-1%2", "--array=0-0%1", "--array=0-1%2", "--array=0-0%1"]
    assert f"{out} is complete when job {stages[-1]} is done" in caplog.text
    assert not (out / "index.json").exists()


def run_jobs(jobs: Path) -> None:
    """Run what was submitted, each task of an array, in order."""
    for script in sorted(jobs.glob("*.sh")):
        text = script.read_text()
        if "launch_pickled_pipeline" in text:
            last = int(re.findall(r"array=0-(\d+)", text)[0])
            for task in range(last + 1):
                environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
                subprocess.run(["bash", script], env=environment, check=True, capture_output=True)


def test_the_jobs_of_slurm_write_the_same_bytes(
    texts: Path,
    plain: dict[str, bytes],
    tmp_path: Path,
    jobs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "UNIT_BYTES", UNIT_BYTES)  # as in the processes of the jobs
    prepare_on("slurm", [texts], tmp_path / "out", CONFIG, workers=2, cluster=SLURM)
    run_jobs(jobs)
    assert contents(tmp_path / "out") == plain


# What is refused


def test_an_unknown_engine_is_refused(texts: Path, tmp_path: Path) -> None:
    problem = "engine is 'spark' but must be one of local, slurm, ray"
    with pytest.raises(ConfigError, match=problem):
        prepare_on("spark", [texts], tmp_path / "out")


def test_no_workers_are_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is 0 but must be at least 1"):
        prepare_on("local", [texts], tmp_path / "out", workers=0)


def test_slurm_needs_a_partition(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"name one with --cluster\.partition"):
        prepare_on("slurm", [texts], tmp_path / "out")


def test_slurm_needs_sbatch(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no sbatch here; run this where jobs"):
        prepare_on("slurm", [texts], tmp_path / "out", cluster=SLURM)


@pytest.mark.parametrize(("engine", "missing"), [("local", "datatrove.executor"), ("ray", "ray")])
def test_a_missing_package_is_named(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install \"gpt1\[cluster\]\""):
        prepare_on(engine, [texts], tmp_path / "out", CONFIG)


def test_inputs_without_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" ", encoding="utf-8")
    with pytest.raises(DataError, match="there is no text in"):
        prepare_on("local", [tmp_path / "empty.txt"], tmp_path / "out", CONFIG)


# The command


def test_the_command_takes_an_engine(
    texts: Path,
    plain: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # paths may be relative
    sizes = ["--vocab-size", "60", "--valid-fraction", "0.2", "--json"]
    engine = ["--engine", "local", "--workers", "1", "--cluster.parts", "2"]
    assert main(["data", "prepare", "texts", "--out", "out", *sizes, *engine]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 14
    assert contents(tmp_path / "out")["train-00000.bin"] == plain["train-00000.bin"]


@pytest.mark.usefixtures("jobs")
def test_the_command_submits_to_slurm(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--engine", "slurm", "--cluster.partition", "cpu", "--json"]
    assert main(["data", "prepare", str(texts), "--out", str(tmp_path / "out"), *words]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "out"), "submitted": True}
