"""Attention within the texts of a batch; `gpt1.model` calls it.

On a GPU it is PyTorch's FlexAttention. On a CPU, the scores of a few queries at a time are made,
used and dropped, in the forward pass and again in the backward pass, and next to no score above the
diagonal and none between two texts is computed: the memory is that of one block of scores. The C++
library does that, or, where it cannot, PyTorch.

Shapes: ``N`` tokens of all texts behind one another, ``S`` texts, ``H`` heads, ``K`` head size,
``Q`` queries of a block, ``P`` keys they may see.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpt1.native import gradients
from gpt1.native.gradients import Dropout

QUERIES = 128
"""Queries of a block: few enough that little is computed above the diagonal."""


def attend(qkv: Tensor, starts: Tensor, dropout: float = 0.0) -> Tensor:
    """Causal attention of each token to its own text.

    Args:
        qkv: ``(N, 3, H, K)``: queries, keys and values of each token.
        starts: ``(S + 1,)``, int64, on the CPU: where the texts begin, rising from 0, then N.
        dropout: Probability with which an attention weight is left out, in ``[0, 1)``.

    Returns:
        ``(N, H, K)``.

    Source: GPT-1 section 3.1; blocks as in FlashAttention (Dao et al., 2022).
    """
    mixed: Tensor = _attend(qkv.contiguous(), starts, dropout, draw_seed(dropout))[0]
    return mixed


def draw_seed(dropout: float) -> int:
    """Seed of what is left out, drawn from PyTorch's own generator."""
    return int(torch.randint(2**62, ())) if dropout else 0


def packed_blocks(segment_ids: Tensor) -> Any:
    """Which blocks of scores packed texts need, for `attend_blocks`.

    Args:
        segment_ids: ``(B, T)``, int64: which text of its row a token belongs to.

    Returns:
        A ``BlockMask``: the same segment, and not later.
    """
    from torch.nn.attention.flex_attention import create_block_mask  # not above: it takes long

    def visible(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (segment_ids[row, key] == segment_ids[row, query])

    rows, length = segment_ids.shape
    return create_block_mask(visible, rows, None, length, length, device=str(segment_ids.device))


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Tensor:
    """Attention by PyTorch's FlexAttention, which is fast where ``torch.compile`` compiles it.

    Args:
        q: ``(B, H, T, K)``.
        k: ``(B, H, T, K)``.
        v: ``(B, H, T, K)``.
        mask: From `packed_blocks`.

    Returns:
        ``(B, H, T, K)``.
    """
    from torch.nn.attention.flex_attention import flex_attention

    mixed: Tensor = flex_attention(q, k, v, block_mask=mask)
    return mixed


class _Block(NamedTuple):
    """Queries of one text and the keys they may see, as ranges of tokens."""

    queries: slice
    keys: slice


def _blocks(starts: Tensor) -> Iterator[_Block]:
    bounds = starts.tolist()
    for start, end in itertools.pairwise(bounds):
        for first in range(start, end, QUERIES):
            last = min(first + QUERIES, end)
            yield _Block(slice(first, last), slice(start, last))


class _Weights:
    """Attention weights, a block at a time, in memory that every block uses again.

    Args:
        qkv: ``(N, 3, H, K)``.
        starts: ``(S + 1,)``.
        dropout: Probability of leaving a weight out.
        seed: Of the weights left out: with the same one, the same are.
    """

    def __init__(self, qkv: Tensor, starts: Tensor, dropout: float, seed: int) -> None:
        self.q, self.k, self.v = _heads(qkv)
        self.scale = 1 / math.sqrt(qkv.shape[-1])
        self.dropout = dropout
        self.random = torch.Generator().manual_seed(seed) if dropout else None
        longest = int(starts.diff().max()) if len(starts) > 1 else 0
        self.size = qkv.shape[2] * min(QUERIES, longest) * longest
        self.scores = qkv.new_empty(self.size)
        self.later = qkv.new_full((QUERIES, QUERIES), float("-inf")).triu_(1)

    def scored(self, block: _Block) -> Tensor:
        """``(H, Q, P)``, minus infinity where a key is later; overwritten by the next block."""
        q, k = self.q[:, block.queries], self.k[:, block.keys]
        scores = room(self.scores, len(q), q.shape[1], k.shape[1])
        torch.baddbmm(scores, q, k.mT, beta=0, alpha=self.scale, out=scores)
        queries = q.shape[1]
        scores[:, :, -queries:] += self.later[:queries, :queries]
        return scores

    def kept(self, weights: Tensor) -> Tensor | None:
        """Factor of each weight: 0 where it is left out; None: all are kept."""
        if self.random is None:
            return None
        keep = 1 - self.dropout
        return torch.empty_like(weights).bernoulli_(keep, generator=self.random).div_(keep)


def room(memory: Tensor, *shape: int) -> Tensor:
    """A tensor of some shape at the beginning of flat memory that is large enough."""
    return memory[: math.prod(shape)].view(shape)


def _heads(qkv: Tensor) -> tuple[Tensor, ...]:
    """Three views ``(H, N, K)``."""
    return qkv.permute(1, 2, 0, 3).unbind(0)


@torch.library.custom_op("gpt1::attend", mutates_args=())
def _attend(qkv: Tensor, starts: Tensor, dropout: float, seed: int) -> tuple[Tensor, Tensor]:
    """What is mixed, and the logarithm of the sum of each query's exponentials, ``(N, H)``."""
    if qkv.dtype == torch.float32 and gradients.available():
        return gradients.attend(qkv, starts, Dropout(dropout, seed))
    mixed, log_sums = qkv.new_empty(qkv[:, 0].shape), qkv.new_empty(qkv.shape[0], qkv.shape[2])
    of_heads = mixed.transpose(0, 1)
    weights = _Weights(qkv, starts, dropout, seed)
    for block in _blocks(starts):
        scores = weights.scored(block)
        log_sums[block.queries] = scores.logsumexp(-1).T
        p = torch.softmax(scores, -1, out=scores)
        if (kept := weights.kept(p)) is not None:
            p.mul_(kept)
        torch.bmm(p, weights.v[:, block.keys], out=of_heads[:, block.queries])
    return mixed, log_sums


@torch.library.custom_op("gpt1::attend_backward", mutates_args=())
def _attend_backward(
    grad: Tensor,
    qkv: Tensor,
    mixed: Tensor,
    log_sums: Tensor,
    starts: Tensor,
    dropout: float,
    seed: int,
) -> Tensor:
    if qkv.dtype == torch.float32 and gradients.available():
        settings = Dropout(dropout, seed)
        return gradients.attend_backward(grad, qkv, mixed, log_sums, starts, settings)
    grad_qkv = torch.zeros_like(qkv)
    grad_q, grad_k, grad_v = _heads(grad_qkv)
    grad_of_heads = grad.transpose(0, 1)  # (H, N, K)
    # Of a softmax: what all scores of a query share, sum over its keys of weight times gradient.
    shared = (grad * mixed).sum(-1).T[:, :, None]  # (H, N, 1)
    weights = _Weights(qkv, starts, dropout, seed)
    memory = torch.empty_like(weights.scores)
    for block in _blocks(starts):
        queries, keys = block
        p = weights.scored(block).sub_(log_sums[queries].T[:, :, None]).exp_()
        kept = weights.kept(p)
        g = grad_of_heads[:, queries]
        grad_p = torch.bmm(g, weights.v[:, keys].mT, out=room(memory, *p.shape))
        used = p
        if kept is not None:
            grad_p.mul_(kept)
            used = kept.mul_(p)
        grad_v[:, keys].baddbmm_(used.mT, g)
        grad_scores = grad_p.sub_(shared[:, queries]).mul_(p)
        grad_q[:, queries].baddbmm_(grad_scores, weights.k[:, keys], alpha=weights.scale)
        grad_k[:, keys].baddbmm_(grad_scores.mT, weights.q[:, queries], alpha=weights.scale)
    return grad_qkv


@_attend.register_fake
def _(qkv: Tensor, starts: Tensor, dropout: float, seed: int) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv[:, 0].shape), qkv.new_empty(qkv.shape[0], qkv.shape[2])


@_attend_backward.register_fake
def _(
    grad: Tensor,
    qkv: Tensor,
    mixed: Tensor,
    log_sums: Tensor,
    starts: Tensor,
    dropout: float,
    seed: int,
) -> Tensor:
    return torch.empty_like(qkv)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, float, int], output: list[Tensor]) -> None:
    qkv, starts, ctx.dropout, ctx.seed = inputs
    ctx.save_for_backward(qkv, *output, starts)


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
    grad_qkv = _attend_backward(grad.contiguous(), *ctx.saved_tensors, ctx.dropout, ctx.seed)
    return grad_qkv, None, None, None


_attend.register_autograd(_gradients, setup_context=_save)
