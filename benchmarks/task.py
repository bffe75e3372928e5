"""One update on a choice of four options: its context read once, beside once for every option.

The same batch three times, loss of the options plus half of that of the texts, forward, backward
and AdamW: by gpt1, by gpt1 with every option in a row of its own, and by transformers'
``OpenAIGPTDoubleHeadsModel``, which has a row for every option, too. All three start from the same
weights, and their first losses of the options must agree. Contexts and options are invented words,
as long as those of RACE at the model's number of positions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import load_model
from gpt1.config import HeadConfig
from gpt1.locate import locate
from gpt1.task_checkpoint import save_task_model
from gpt1.task_model import TaskModel, task_loss
from gpt1.tasks.batches import TaskBatch, collate
from gpt1.tasks.encoding import SPECIAL_TOKENS, Encoded
from gpt1.tokenizer import Tokenizer

TITLE = "one update on choices of four options"
EXAMPLES, OPTIONS, OPTION_TOKENS, ROUNDS = 8, 4, 12, 5
LM_COEF = 0.5
Update = Callable[[], float]
"""Does an update and returns the loss of the options before it."""


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sides, tokens = _sides(options)
    first = {name: side() for name, side in sides.items()}  # also warms up
    timed = {name: partial(_seconds, side) for name, side in sides.items()}
    seconds = interleave(timed, 1 if options.quick else options.rounds or ROUNDS)
    rates = {name: [EXAMPLES / s for s in values] for name, values in seconds.items()}
    rows = [
        Row(
            measure="examples a second",
            unit="1/s",
            ours=rates["gpt1"],
            beside=other,
            other=rates[other],
            how="times",
        )
        for other in ("gpt1, a row for every option", "transformers")
    ]
    agree = max(first.values()) - min(first.values()) < 1e-3
    return Report(
        name="task",
        title=TITLE,
        quick=options.quick,
        rows=rows,
        same={"loss of the options at the start": agree},
        settings={
            "model": options.model,
            "examples": EXAMPLES,
            "options": OPTIONS,
            "tokens_of_a_sequence": tokens,
        },
    )


def _seconds(update: Update) -> float:
    return stopwatch(update)[0]


def _sides(options: Options) -> tuple[dict[str, Update], int]:
    """The three sides, and the tokens of a sequence."""
    folder = locate(options.model)
    backbone, tokenizer = load_model(folder, dtype="float32"), Tokenizer.load(folder)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    backbone.grow_vocabulary(tokenizer.vocab_size)
    model = TaskModel(backbone, HeadConfig(layout="choice")).eval()  # no dropout: equal losses
    tokens = model.config.n_positions
    examples = _examples(model.config.vocab_size, tokens)
    labels = np.arange(EXAMPLES) % OPTIONS
    with TemporaryDirectory() as folder:
        save_task_model(Path(folder, "model"), model, tokenizer)
        theirs = _transformers(str(Path(folder, "model")))
    plain = collate(examples, labels, share_context=False)
    return {
        "gpt1": _ours(model, collate(examples, labels, share_context=True)),
        "gpt1, a row for every option": _ours(copy.deepcopy(model), plain),
        "transformers": _theirs(theirs, plain),
    }, tokens


def _examples(vocab_size: int, tokens: int) -> list[Encoded]:
    rng = np.random.default_rng(0)
    shared = tokens - OPTION_TOKENS
    found = []
    for _ in range(EXAMPLES):
        context = rng.integers(vocab_size, size=shared).tolist()
        ends = rng.integers(vocab_size, size=(OPTIONS, OPTION_TOKENS)).tolist()
        found.append(Encoded(tuple((*context, *end) for end in ends), shared))
    return found


def _ours(model: Any, batch: TaskBatch) -> Update:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def update() -> float:
        logits, lm_loss = model(batch, need_lm_loss=True)
        clf_loss = task_loss(logits, batch.labels, model.head)
        (clf_loss + LM_COEF * lm_loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(clf_loss.detach())

    return update


def _transformers(folder: str) -> Any:
    from benchmarks import peer

    return peer.transformers.OpenAIGPTDoubleHeadsModel.from_pretrained(folder)


def _theirs(model: Any, batch: TaskBatch) -> Update:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = batch.input_ids.view(EXAMPLES, OPTIONS, -1)
    ends = batch.extract - torch.arange(EXAMPLES * OPTIONS).view(EXAMPLES, -1) * ids.shape[-1]

    def update() -> float:
        output = model(ids, mc_token_ids=ends, labels=ids, mc_labels=batch.labels)
        (output.mc_loss + LM_COEF * output.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(output.mc_loss.detach())

    return update
