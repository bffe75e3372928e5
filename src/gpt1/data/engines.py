"""``gpt1 data prepare`` as datatrove pipelines: on this machine, on Slurm, on Ray.

The stages are those of `gpt1.data.prepare`. Each leaves its results in the folder of the work,
which all machines have to see, and takes those of others from there; the last one finds everything
done and joins it. So an engine decides who does the work and cannot change what comes of it.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gpt1.atomic import check_destination, write_text_atomic
from gpt1.config import ClusterConfig, PrepareConfig
from gpt1.data.prepare import Job, encode_tasks, given_tokenizer, prepare
from gpt1.data.ray_connection import ray_connection
from gpt1.data.selection import Selected
from gpt1.data.shards import Shards
from gpt1.data.stages import Chunk, Unit, clean_unit, encode_chunk
from gpt1.data.work import fetched, forget_copies, open_work
from gpt1.data.workers import Workers
from gpt1.errors import ConfigError, DataError, MissingExtraError

ENGINES = ("local", "slurm", "ray")
SELECTED = "selected.json"
"""Between the stages: the texts that become tokens, in the folder of the work."""

_log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """What every stage has to know.

    Attributes:
        inputs: As of `gpt1.data.prepare.prepare`.
        out: Folder of the shards.
        config: Cleaning, tokenizer and split.
        work: Folder of the work.
        units: Files that are read together.
    """

    inputs: tuple[str, ...]
    out: Path
    config: PrepareConfig
    work: Path
    units: tuple[Unit, ...]


def clean(plan: Plan, rank: int, parts: int) -> None:
    """Read and clean the documents of one part of the files."""
    for unit in plan.units[rank::parts]:
        if not unit.record.exists():
            clean_unit(fetched(unit))
            forget_copies(unit)


def select(plan: Plan, rank: int, parts: int) -> None:
    """Leave out duplicates, and train the tokenizer unless there is one."""
    job = Job(plan.work, list(plan.units), plan.config, Workers(1))
    selection = job.clean()
    found: dict[str, Any] = {"documents": selection.documents, "fingerprint": "", "selected": []}
    if selection.documents:  # with none, the last stage says so
        tokenizer = job.tokenizer(given_tokenizer(plan.config), selection)
        found["fingerprint"] = tokenizer.fingerprint
        found["selected"] = [
            [chunk.unit, chunk.number, kept.hex(), first]
            for chunk, kept, first in selection.selected
        ]
    write_text_atomic(plan.work / SELECTED, json.dumps(found))


def encode(plan: Plan, rank: int, parts: int) -> None:
    """Tokenise one part of the texts."""
    found = json.loads((plan.work / SELECTED).read_text(encoding="utf-8"))
    selected = [
        Selected(Chunk(plan.work, unit, number), bytes.fromhex(kept), first)
        for unit, number, kept, first in found["selected"][rank::parts]
    ]
    for task in encode_tasks(
        plan.work, selected, found["documents"], plan.config, found["fingerprint"]
    ):
        encode_chunk(task)


def write(plan: Plan, rank: int, parts: int) -> None:
    """Join the tokens."""
    prepare(plan.inputs, plan.out, plan.config)


STAGES: tuple[tuple[Callable[[Plan, int, int], None], bool], ...] = (
    (clean, True),
    (select, False),
    (encode, True),
    (write, False),
)
"""In their order, and whether there are many parts of it."""


@dataclass(frozen=True, repr=False)
class Step:
    """A stage as a step of a datatrove pipeline.

    Args:
        stage: One of `STAGES`.
        plan: What it has to know.
        folder: Where the command was given; paths may be relative to it.
    """

    stage: Callable[[Plan, int, int], None]
    plan: Plan
    folder: str

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Do a part of the stage; nothing goes on to another step."""
        os.chdir(self.folder)
        self.stage(self.plan, rank, world_size)

    def __repr__(self) -> str:
        return f"gpt1: {self.stage.__name__}"


def prepare_on(
    engine: str,
    inputs: Sequence[str | Path],
    out: str | Path,
    config: PrepareConfig | None = None,
    *,
    workers: int = 1,
    cluster: ClusterConfig | None = None,
) -> Shards | None:
    """Do the work of `gpt1.data.prepare.prepare` by a datatrove executor; the result is the same.

    Logs are written to a folder beside ``out``, with ``-logs`` behind its name. Called again after
    it was stopped, it goes on where it was.

    Args:
        engine: "local" (processes of this machine), "slurm" (jobs, from a machine with ``sbatch``)
            or "ray" (the cluster this program is connected to, else the one ``RAY_ADDRESS`` names,
            else this machine).
        inputs: Files, folders, URLs or data sets of the hub, see `TextSource`.
        out: Folder to write, which all machines see under this name.
        config: Cleaning, tokenizer and split.
        workers: Parts that are worked on at the same time.
        cluster: What is asked of the cluster.

    Returns:
        The shards; on Slurm None, once the jobs are submitted.

    Raises:
        ConfigError: If the engine is unknown or cannot be used here, or as for `prepare`.
        DataError: If a part failed, or as for `prepare`.
        MissingExtraError: If datatrove or ray is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r} but must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise ConfigError(f"workers is {workers} but must be at least 1")
    cluster, config, out = cluster or ClusterConfig(), config or PrepareConfig(), Path(out)
    executor = _executor(engine, cluster)
    check_destination(out)
    given = given_tokenizer(config)
    work, units = open_work(out, inputs, config, given.fingerprint if given else None)
    plan = Plan(tuple(map(str, inputs)), out, config, work, tuple(units))
    parts = cluster.parts or 4 * workers
    if engine == "slurm":
        _submit(executor, _pipelines(plan, parts, workers), out)
        return None
    with ray_connection("the engine 'ray'") if engine == "ray" else nullcontext():
        for pipeline, (stage, many) in zip(_pipelines(plan, parts, workers), STAGES, strict=True):
            if many:
                _run(executor(**pipeline))
            else:
                stage(plan, 0, 1)
    return Shards(out)


def _executor(engine: str, cluster: ClusterConfig) -> Callable[..., Any]:
    """An executor of datatrove that asks for what the settings say."""
    try:
        from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
        from datatrove.executor.ray import RayPipelineExecutor
    except ImportError:
        raise MissingExtraError(
            f'the engine {engine!r} needs datatrove: pip install "gpt1[cluster]"'
        ) from None
    size = {"cpus_per_task": cluster.cpus_per_task, "mem_per_cpu_gb": cluster.mem_per_cpu_gb}
    if engine == "local":
        return partial(LocalPipelineExecutor)
    if engine == "ray":
        return partial(RayPipelineExecutor, **size)
    if cluster.partition is None:
        raise ConfigError("Slurm needs a partition; name one with --cluster.partition")
    if not shutil.which("sbatch"):
        raise ConfigError(
            "there is no sbatch here; run this where jobs of Slurm are submitted, or take another "
            "engine"
        )
    return partial(
        SlurmPipelineExecutor,
        **size,
        partition=cluster.partition,
        time=cluster.time,
        qos=None,
        sbatch_args={"account": cluster.account} if cluster.account else {},
        # The programs of this environment, whether it is activated or not.
        env_command=f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
    )


def _pipelines(plan: Plan, parts: int, workers: int) -> Iterator[dict[str, Any]]:
    """The arguments of an executor for each stage."""
    logs = plan.out.with_name(f"{plan.out.name}-logs").resolve()
    shutil.rmtree(logs, ignore_errors=True)
    for number, (stage, many) in enumerate(STAGES, start=1):
        yield {
            "pipeline": [Step(stage, plan, os.getcwd())],
            "tasks": parts if many else 1,
            "workers": workers if many else 1,
            "logging_dir": str(logs / f"{number}-{stage.__name__}"),
        }


def _run(executor: Any) -> None:
    """Run a stage to its end."""
    executor.run()
    failed = executor.get_incomplete_ranks(skip_completed=True)
    if failed:
        log = Path(executor.logging_dir.resolve_paths(f"logs/task_{failed[0]:05d}.log"))
        lines = log.read_text(encoding="utf-8").split("\n") if log.exists() else [""]
        raise DataError(
            f"{len(failed)} of {executor.tasks} parts failed, the first with: "
            f"{next(filter(None, reversed(lines)), 'no message')} (see {log}); run the command "
            "again to go on where it was"
        )


def _submit(executor: Callable[..., Any], pipelines: Iterator[dict[str, Any]], out: Path) -> None:
    """Submit all stages to Slurm, each to begin when the one before is done."""
    last = None
    for pipeline, (stage, _) in zip(pipelines, STAGES, strict=True):
        last = executor(**pipeline, depends=last, job_name=f"gpt1-{stage.__name__}")
    assert last is not None
    last.run()
    _log.info("submitted; %s is complete when job %s is done", out, last.job_id)
