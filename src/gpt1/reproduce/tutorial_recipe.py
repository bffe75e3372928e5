"""Fine-tuning on jokes as the well-known tutorial does it, flaws and all, in plain PyTorch.

Jokes are tokenised one at a time, the end marker as plain text; they are joined up to 500 ids, each
but the first without its first id, and see each other; the summed gradients of 32 packs make an
update; the rate climbs for 5000 updates, more than the run has; nothing is clipped, nothing
validated, and what does not fill the last pack or the last update is dropped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gpt1.tokenizer import Tokenizer

PREFIX = "JOKE: "
END_MARKER = "<|endoftext|>"
PACK_TOKENS = 500
PACKS_PER_UPDATE = 32
LEARNING_RATE = 3e-5
WARMUP_UPDATES = 5000

Encode = Callable[[str], Tensor]
"""A text to its ids ``(1, T)``."""


class Update(NamedTuple):
    """One update.

    Attributes:
        number: From 1.
        lr: Learning rate it used.
        loss: Mean of the losses of its packs, nats per token.
        grad_norm: Global norm of the summed gradients.
        tokens: Ids of its packs.
    """

    number: int
    lr: float
    loss: float
    grad_norm: float
    tokens: int


def encoder(tokenizer: Tokenizer, device: torch.device | str = "cpu") -> Encode:
    """The tokenizer as the recipe calls it: one text, a tensor on the device."""
    return lambda text: torch.tensor([tokenizer.encode(text)], device=device)


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


def marked(joke: str) -> str:
    """The joke between the prefix and the end marker."""
    return PREFIX + joke + END_MARKER


def encoded(jokes: Iterable[str], encode: Encode) -> Iterator[Tensor]:
    """Ids of each joke between the prefix and the end marker, one joke at a time."""
    return (encode(marked(joke)) for joke in jokes)


def shuffled(jokes: Sequence[str], epochs: int, seed: int) -> Iterator[str]:
    """All jokes once an epoch, in another order each time."""
    order = random.Random(seed)
    return (joke for _ in range(epochs) for joke in order.sample(jokes, len(jokes)))


def train(
    model: nn.Module, encode: Encode, jokes: Sequence[str], *, epochs: int, limit: int, seed: int
) -> Iterator[Update]:
    """Fine-tune a model in place, as far as the updates are asked for.

    Args:
        model: Called as ``model(ids, labels=ids).loss``.
        encode: Its tokenizer.
        jokes: Shuffled anew in every epoch.
        epochs: Passes over the jokes.
        limit: Ids of a pack at most.
        seed: Of the order and of dropout.

    Yields:
        Each update, once it is done.
    """
    torch.manual_seed(seed)
    # No weight decay: the default of the AdamW that transformers had.
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)
    losses: list[float] = []
    tokens = number = 0
    model.train()
    for pack in packs(encoded(shuffled(jokes, epochs, seed), encode), limit):
        loss = model(pack, labels=pack).loss
        loss.backward()
        losses.append(float(loss.detach()))
        tokens += pack.shape[1]
        if len(losses) == PACKS_PER_UPDATE:
            number += 1
            lr, norm = schedule.get_last_lr()[0], gradient_norm(model)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield Update(number, float(lr), sum(losses) / len(losses), norm, tokens)
            losses, tokens = [], 0


def gradient_norm(model: nn.Module) -> float:
    """Global norm of the gradients."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def rate_factor(updates: int) -> float:
    """Share of the peak rate after so many updates: up to 1 in the warm-up, and 0 after it."""
    return updates / WARMUP_UPDATES if updates < WARMUP_UPDATES else 0.0
