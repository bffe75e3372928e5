"""docs/scaling.md shows what the functions say; its files for clusters do what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from benchmarks import scaling

REPOSITORY = Path(__file__).resolve().parents[1]
SLURM = REPOSITORY / "recipes" / "slurm.sh"

STANDINS = {
    "scontrol": 'echo "scontrol $*" >> "$CALLS"\n'
    'if [[ $1 == show ]]; then printf "node7\\nnode8\\n"; fi\n',
    "srun": 'shift\nSLURM_PROCID=3 SLURM_LOCALID=1 "$@"\n',
    "gpt1": 'echo "$RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR gpt1 $*" >> "$CALLS"\n'
    'mkdir -p "$3"\ntouch "$3/run.yaml"\nif [[ -n $ENDS_WITH ]]; then "$ENDS_WITH" "$3"; fi\n',
    "completes": 'touch "$1/README.md"\n',
    "fails": "exit 1\n",
}
"""Commands of a cluster, and a run that writes its folder."""


def test_the_tables_are_what_the_functions_say() -> None:
    text = scaling.PAGE.read_text(encoding="utf-8")
    assert len(scaling.MARKS.findall(text)) == len(scaling.TABLES)
    assert scaling.page(text) == text, "write it anew: python -m benchmarks.scaling"


def test_the_drawing_is_made(tmp_path: Path) -> None:
    scaling.draw(tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_the_curves_start_at_their_ideal_lines_and_stay_below() -> None:
    for _, gpus, speed, ideal in scaling.curves():
        assert speed[0] == ideal[0]
        assert gpus[-1] == 1024
        assert speed[-1] < ideal[-1]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with stand-ins for the commands of a cluster."""
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    for name, text in STANDINS.items():
        (tmp_path / name).write_text("#!/usr/bin/env bash\n" + text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def submit(cluster: Path, *flags: str, ends_with: str = "") -> tuple[int, list[str]]:
    """Run the Slurm script; its exit code and the commands it called."""
    calls = cluster / "calls"
    calls.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(cluster), os.environ["PATH"]]),
        "CALLS": str(calls),
        "ENDS_WITH": ends_with,
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NTASKS": "16",
        "SLURM_JOB_ID": "42",
    }
    done = subprocess.run(
        ["bash", str(SLURM), str(cluster / "run"), *flags], env=environment, check=False
    )
    return done.returncode, calls.read_text(encoding="utf-8").splitlines()


def test_the_slurm_script_starts_a_process_of_a_new_run_on_each_gpu(cluster: Path) -> None:
    status, calls = submit(cluster, "--data", "two words", ends_with="completes")
    assert status == 0
    assert calls[1:] == [f"3/16 1 node7 gpt1 pretrain --out {cluster}/run --data two words"]


def test_the_slurm_script_queues_again_what_was_stopped_and_then_resumes(cluster: Path) -> None:
    assert submit(cluster, "--data", "x")[1][-1] == "scontrol requeue 42"
    status, calls = submit(cluster, "--data", "x", ends_with="completes")
    assert status == 0
    assert calls[1:] == [f"3/16 1 node7 gpt1 pretrain --out {cluster}/run --resume"]


def test_the_slurm_script_does_not_queue_a_failure_again(cluster: Path) -> None:
    status, calls = submit(cluster, "--data", "x", ends_with="fails")
    assert status == 1
    assert not any("requeue" in call for call in calls)


def test_the_slurm_script_asks_for_sigterm_and_for_being_queued_again() -> None:
    lines = SLURM.read_text(encoding="utf-8").splitlines()
    assert {"#SBATCH --signal=TERM@120", "#SBATCH --requeue"} <= set(lines)


def test_the_kubernetes_file_is_an_indexed_job_whose_pods_find_each_other() -> None:
    text = (REPOSITORY / "recipes" / "kubernetes.yaml").read_text(encoding="utf-8")
    service, job = yaml.safe_load_all(text)
    pods = job["spec"]["template"]["spec"]
    [script] = pods["containers"][0]["args"]
    assert (service["kind"], service["spec"]["clusterIP"]) == ("Service", "None")
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pods["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert f"--nnodes {job['spec']['completions']} " in script
    first = f"{job['metadata']['name']}-0.{pods['subdomain']}"
    assert f"--rdzv-endpoint {first}:" in script
    subprocess.run(["bash", "-n", "-c", script], check=True)
