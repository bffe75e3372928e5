"""One of the processes of ``test_distributed``: trains every case and writes what came of it.

Also run alone, without ``torchrun``, to see what a single process makes of the same cases.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from gpt1.config import GPTConfig, OptimizerConfig, StatesConfig, TrainingConfig
from gpt1.data.batches import PackedRows
from gpt1.data.packing import pack
from gpt1.model import GPT, IGNORED
from gpt1.training.distributed import current, join, local_bytes, whole
from gpt1.training.loop import Job, Trainer
from gpt1.training.objectives import LanguageModeling
from gpt1.training.tracking import LogWatcher, Silent

SHAPE = GPTConfig(
    vocab_size=40,
    n_positions=16,
    n_embd=16,
    n_layer=2,
    n_head=2,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    resid_pdrop=0.0,
)
# Where a gradient is nearly zero, Adam divides rounding errors by each other but for epsilon.
ADAMW = OptimizerConfig(epsilon=1e-3)
CASES: dict[str, dict[str, Any]] = {
    "ddp": {"optimizer": ADAMW},
    "parts": {"optimizer": ADAMW, "micro_batch_size": 1},
    "fsdp": {"optimizer": ADAMW, "parallel": "fsdp"},
    "fsdp-parts": {"optimizer": ADAMW, "parallel": "fsdp", "micro_batch_size": 2},
    "fsdp-again": {
        "optimizer": ADAMW,
        "parallel": "fsdp",
        "activation_checkpointing": True,
        "batch_size": 3,
    },
    "muon": {"optimizer": OptimizerConfig(name="muon", epsilon=1e-3)},
    "fsdp-muon": {"optimizer": OptimizerConfig(name="muon", epsilon=1e-3), "parallel": "fsdp"},
    "fsdp-openai": {"optimizer": OptimizerConfig(name="openai", epsilon=1e-3), "parallel": "fsdp"},
}
ROUNDED: dict[str, dict[str, Any]] = {
    "ddp-bf16": {"precision": "bf16"},
    "fsdp-bf16": {"precision": "bf16", "parallel": "fsdp"},
}
"""Cases whose sums are rounded differently in every number of processes."""


def rows(texts: int, seed: int) -> PackedRows:
    """Texts that count upwards; rows have unequal numbers of targets, and some have none."""
    rng = np.random.default_rng(seed)
    drawn = zip(rng.integers(40, size=texts), rng.integers(2, 17, size=texts), strict=True)
    ids = [((start + np.arange(length)) % 40).tolist() for start, length in drawn]
    packed = pack(ids, 16, seed=seed)
    for row, labels in enumerate(packed.labels):
        labels[: 3 * (row % 7)] = IGNORED
    return PackedRows(packed)


def train(case: str, out: Path) -> None:
    """One run; the main process writes its weights and what this process held in memory."""
    out.mkdir(parents=True, exist_ok=True)
    model = GPT(SHAPE)
    model.reset_parameters(torch.Generator().manual_seed(0))
    config = TrainingConfig(
        **{
            "lr": 0.01,
            "max_steps": 6,
            "batch_size": 5,
            "log_every_steps": 1,
            "eval_every_steps": 3,
            "save_every_steps": 2,
            "states": StatesConfig(keep_every_steps=2),
            "track": (),
            **{**CASES, **ROUNDED}[case],
        }
    )
    job = Job(
        train=rows(40, seed=0),
        valid=rows(13, seed=1),
        objective=LanguageModeling(),
        out=out,
        keep=lambda: None,
    )
    watch = LogWatcher() if current().main else Silent()
    trainer = Trainer(model, config, job, watch=watch, resume=(out / "state").exists())
    assert trainer.fit()
    weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    moments = [t for o in trainer.optimizers for s in o.state.values() for t in s.values()]
    held = local_bytes([*model.parameters(), *moments])
    (out / f"bytes-{current().rank}.json").write_text(json.dumps(held))
    if current().main:
        save_file(weights, out / "weights.safetensors")


def main(out: Path, cases: list[str]) -> None:
    """Train the cases, going on where a state of the run is there."""
    torch.set_num_threads(1)
    with join("cpu"):
        for case in cases:
            train(case, out / case)
        gc.collect()
        left = [o for o in gc.get_objects() if isinstance(o, DistributedDataParallel)]
        assert not left, "a replica that outlives the group of processes can hang"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
