"""Data preparation and evaluation by one process and by two, each on one thread.

``gpt1.data.prepare`` reads, cleans and tokenises the shared books, or the jokes where there are
none, from its call to the written shards. Perplexity is of texts as short as jokes, by random
weights of the 117M shape on the C++ library, in processes that have loaded it: as ``torchrun``
starts them, but without the time of starting. Both results have to be the same for any number of
processes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch.distributed as dist
from torch import multiprocessing

from benchmarks import checkpoint
from benchmarks.child import call
from benchmarks.options import SHARED_DATA, Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.config import GPTConfig, PrepareConfig
from gpt1.data.prepare import prepare
from gpt1.evaluation.processes import spread
from gpt1.language_model import load
from gpt1.tokenizer import Tokenizer

TITLE = "data preparation and evaluation by two processes, beside one"
PROCESSES = 2
LEAST = 1.7
"""Times sooner: close to linear."""

TEXTS, TOKENS = 250, 40
ROUNDS = 3
QUICK = GPTConfig(n_layer=1, n_head=2, n_embd=32, n_positions=64, vocab_size=200)


class Timed(NamedTuple):
    """Seconds, and what came out."""

    seconds: float
    result: Any


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    books = SHARED_DATA / "books"
    source = books if books.exists() and not options.quick else options.data
    with TemporaryDirectory() as temporary:
        model = Path(temporary, "model")
        checkpoint.write(model, QUICK if options.quick else GPTConfig())
        tokenizer = Tokenizer.load(model)
        prompts = checkpoint.prompts(tokenizer, 2 if options.quick else TEXTS, TOKENS)
        data = {"source": str(source), "vocabulary": str(options.vocabulary_folder())}
        jobs: dict[str, tuple[Callable[..., Timed], dict[str, Any]]] = {
            "data preparation": (prepare_data, data),
            "perplexity": (
                score,
                {"model": str(model), "texts": list(map(tokenizer.decode, prompts))},
            ),
        }

        def turn(job: str, processes: int) -> Timed:
            work, arguments = jobs[job]
            arguments = {**arguments, "processes": processes}
            return Timed(*call(work, arguments, apart=not options.quick, threads=1).result)

        sides = {
            f"{job}, {processes}": partial(turn, job, processes)
            for job in jobs
            for processes in (1, PROCESSES)
        }
        found = interleave(sides, options.rounds or (1 if options.quick else ROUNDS))
    pairs = {job: (found[f"{job}, {PROCESSES}"], found[f"{job}, 1"]) for job in jobs}
    return Report(
        name="workers",
        title=TITLE,
        quick=options.quick,
        rows=[row(job, *pair) for job, pair in pairs.items()],
        same={
            f"{job} by 1 and {PROCESSES} processes": len({x.result for x in (*many, *one)}) == 1
            for job, (many, one) in pairs.items()
        },
        settings={"source": source.name, "texts": len(prompts), "tokens_of_a_text": TOKENS},
    )


def row(job: str, many: list[Timed], one: list[Timed]) -> Row:
    """Two processes beside one."""
    return Row(
        measure=job,
        unit="s",
        ours=[timed.seconds for timed in many],
        beside="1 process",
        other=[timed.seconds for timed in one],
        how="times less",
        bar=LEAST,
    )


def prepare_data(source: str, vocabulary: str, processes: int) -> Timed:
    """Seconds of preparing data, and a hash of the shards."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "shards")
        config = PrepareConfig(tokenizer=vocabulary)
        seconds, _ = stopwatch(partial(prepare, [source], out, config, workers=processes))
        digest = hashlib.sha256()
        for file in sorted(out.rglob("*.bin")):
            digest.update(file.read_bytes())
        return Timed(seconds, digest.hexdigest())


def score(model: str, texts: list[str], processes: int) -> Timed:
    """Seconds of scoring, and the perplexity."""
    with TemporaryDirectory() as folder:
        multiprocessing.spawn(_score, (folder, model, texts, processes), nprocs=processes)
        return Timed(*json.loads(Path(folder, "0.json").read_text(encoding="utf-8")))


def _score(rank: int, folder: str, model: str, texts: list[str], processes: int) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes
    )
    lm = load(model)
    lm.perplexity(texts[:8])
    with spread():
        dist.barrier()
        seconds, found = stopwatch(partial(lm.perplexity, texts))
    Path(folder, f"{rank}.json").write_text(
        json.dumps([seconds, found.perplexity]), encoding="utf-8"
    )
    dist.barrier()
    # Taken apart in order, the threads of gloo and the interpreter sometimes wait for each other.
    os._exit(0)
