"""Fine-tuning on jokes as the well-known tutorial does it, flaws and all, in plain PyTorch.

Jokes are tokenised one at a time, the end marker as plain text; they are joined up to 500 ids, each
but the first without its first id, and see each other; the summed gradients of 32 packs make an
update; the rate climbs for 5000 updates, more than the run has; nothing is clipped, nothing
validated, and what does not fill the last pack or the last update is dropped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from benchmarks.options import END_TOKEN, PREFIX

PACK_TOKENS = 500
PACKS_PER_UPDATE = 32
LEARNING_RATE = 3e-5
WARMUP_UPDATES = 5000

Encode = Callable[[str], Tensor]
"""A text to its ids ``(1, T)``."""


def packs(jokes: Iterable[Tensor], limit: int = PACK_TOKENS) -> Iterator[Tensor]:
    """Join ids ``(1, T)`` of jokes to packs ``(1, T')`` of at most ``limit`` ids.

    A joke that is too long is left out, and so is the last pack.
    """
    work = None
    for joke in jokes:
        if joke.shape[1] > limit:
            continue
        if work is None:
            work = joke
        elif work.shape[1] + joke.shape[1] > limit:
            yield work
            work = joke
        else:
            work = torch.cat([work, joke[:, 1:]], dim=1)


def encoded(jokes: Iterable[str], encode: Encode) -> Iterator[Tensor]:
    """Ids of each joke between the prefix and the end marker, one joke at a time."""
    for joke in jokes:
        yield encode(PREFIX + joke + END_TOKEN)


def train(
    model: nn.Module, encode: Encode, jokes: Sequence[str], *, epochs: int, limit: int, seed: int
) -> int:
    """Fine-tune a model in place.

    Args:
        model: Called as ``model(ids, labels=ids).loss``.
        encode: Its tokenizer.
        jokes: Shuffled anew in every epoch.
        epochs: Passes over the jokes.
        limit: Ids of a pack at most.
        seed: Of the order and of dropout.

    Returns:
        Updates done.
    """
    torch.manual_seed(seed)
    # No weight decay: the default of the AdamW that transformers had.
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)
    order = random.Random(seed)
    shuffled = (joke for _ in range(epochs) for joke in order.sample(jokes, len(jokes)))
    updates = 0
    model.train()
    for number, pack in enumerate(packs(encoded(shuffled, encode), limit), start=1):
        model(pack, labels=pack).loss.backward()
        if number % PACKS_PER_UPDATE == 0:
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            updates += 1
    return updates


def rate_factor(updates: int) -> float:
    """Share of the peak rate after so many updates: up to 1 in the warm-up, and 0 after it."""
    return updates / WARMUP_UPDATES if updates < WARMUP_UPDATES else 0.0
