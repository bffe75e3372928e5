"""A GPT-2 as nanoGPT has it, written anew in plain PyTorch: a peer for training.

The same as in https://github.com/karpathy/nanoGPT (``model.py``): layer norm before attention and
MLP and after the last block, PyTorch's fused attention, exact GELU, an output layer tied to the
token table, logits of all positions at once and ``cross_entropy`` over them. Dropout is off.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shape(NamedTuple):
    """Sizes, by their names in a `GPTConfig`."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int


class SelfAttention(nn.Module):
    """Causal attention over all positions of a row."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.c_attn = nn.Linear(shape.n_embd, 3 * shape.n_embd)
        self.c_proj = nn.Linear(shape.n_embd, shape.n_embd)
        self.n_head = shape.n_head

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to the same."""
        q, k, v = (
            part.unflatten(2, (self.n_head, -1)).transpose(1, 2)
            for part in self.c_attn(x).split(x.shape[2], dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.c_proj(y.transpose(1, 2).contiguous().view(x.shape))
        return mixed


class Block(nn.Module):
    """One layer, pre-norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(shape.n_embd), nn.LayerNorm(shape.n_embd)
        self.attn = SelfAttention(shape)
        self.mlp = nn.Sequential(
            nn.Linear(shape.n_embd, 4 * shape.n_embd),
            nn.GELU(),
            nn.Linear(4 * shape.n_embd, shape.n_embd),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to the same."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class NanoGPT(nn.Module):
    """The language model."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wte = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.wpe = nn.Embedding(shape.n_positions, shape.n_embd)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.ln_f = nn.LayerNorm(shape.n_embd)
        self.lm_head = nn.Linear(shape.n_embd, shape.vocab_size, bias=False)
        self.wte.weight = self.lm_head.weight
        nn.init.normal_(self.lm_head.weight, std=0.02)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of ``(B, T)`` tokens and what follows each of them."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
