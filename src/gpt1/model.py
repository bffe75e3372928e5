"""GPT-1 in one file: attention, block, decoder, tied output layer and its loss.

Follows "Improving Language Understanding by Generative Pre-Training" (2018), section 3.1 and figure
1. Parameter names and layout are those of the `openai-gpt` checkpoints, so files load with nothing
renamed or transposed: matrices are stored input-major, ``y = x W + b``.

Where a GPT-2 reader would trip: layer norm comes *after* each residual sum, there is none after the
last block, and the activation is the tanh approximation of GELU.

Shapes: ``B`` batch, ``T`` tokens, ``S`` tokens a query may see, ``D`` n_embd, ``H`` heads,
``K`` head size, ``V`` vocabulary, ``N`` positions scored by the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from gpt1.config import GPTConfig
from gpt1.fused import attention, layers
from gpt1.native import gradients
from gpt1.native.products import product

IGNORED = -100
"""Label of a position that is not a target."""

LOSS_CHUNK_BYTES = {"cpu": 160 * 2**20, "cuda": 256 * 2**20}
"""Size of the largest block of logits the loss holds at once, by device (any other: as a GPU).

Each chunk reads the whole token table three times, which a GPU feels more. On a CPU, it has room
for all tokens that are read at once (`gpt1.training.parts`), with the paper's vocabulary.
"""

LONG_TEXT = 256
"""Tokens of a text from which `attention.attend` beats PyTorch's kernel for whole batches."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


class GPTOutput(NamedTuple):
    """What a forward pass returns; a field that was not asked for is None.

    Attributes:
        logits: ``(B, T, V)``; position t scores token t + 1. None when labels were given.
        loss: Mean of the next-token loss over all targets, in nats. Only with labels.
        hidden_states: ``n_layer + 1`` tensors ``(B, T, D)``: the embeddings, then each block's
            output.
        attentions: ``n_layer`` tensors ``(B, H, T, S)``: attention weights, rows sum to 1.
    """

    logits: Tensor | None
    loss: Tensor | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


class KVCache:
    """Keys and values of the tokens seen so far, in memory set aside once.

    Rows of a batch may be of different length: row b holds ``lengths[b]`` tokens, and the next
    forward pass writes behind them. Tokens count only once `advance` is called, so padding behind a
    short row is overwritten and never attended to.

    Args:
        config: Of the model the cache is for.
        batch_size: Rows.
        capacity: Tokens a row can hold; at most ``config.n_positions``.
        device: Where the model is.
        dtype: Of the model's weights.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        capacity: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.n_layer, 2, batch_size, config.n_head, capacity, config.head_size)
        self.data = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.longest = 0
        self.shortest = 0

    @property
    def capacity(self) -> int:
        """Tokens a row can hold."""
        return self.data.shape[4]

    def advance(self, counts: Tensor | int) -> None:
        """Count the tokens of the last forward pass as seen.

        Args:
            counts: ``(B,)`` real tokens of each row, or one number for all.
        """
        self.lengths = self.lengths + counts
        self.longest, self.shortest = int(self.lengths.max()), int(self.lengths.min())

    def select(self, rows: Tensor) -> None:
        """Keep only the given rows, in the given order; a row may be named more than once.

        Args:
            rows: ``(B',)``, int64, row numbers.
        """
        self.data = self.data[:, :, rows]
        self.lengths = self.lengths[rows]
        self.advance(0)

    @torch.no_grad()
    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a layer and return all of it, new ones included.

        No gradient flows through the cache.

        Args:
            layer: Block number.
            k: ``(B, H, T, K)``.
            v: ``(B, H, T, K)``.

        Returns:
            Two views ``(B, H, S, K)`` with ``S = longest + T``.
        """
        keys, values = self.data[layer]
        end = self.longest + k.shape[2]
        if self.longest == self.shortest:
            keys[:, :, self.longest : end] = k
            values[:, :, self.longest : end] = v
        else:
            index = self.lengths[:, None] + torch.arange(k.shape[2], device=k.device)  # (B, T)
            index = index[:, None, :, None].expand_as(k)
            keys.scatter_(2, index, k)
            values.scatter_(2, index, v)
        return keys[:, :, :end], values[:, :, :end]


class Texts(NamedTuple):
    """Which tokens of a batch belong together: each sees those of its own text up to itself.

    Attributes:
        starts: ``(S + 1,)``, int64, on the CPU: where the texts begin, counted through all rows of
            the batch, then ``B * T``. A text does not go on in the next row.
    """

    starts: Tensor


class Blocks(NamedTuple):
    """The same for a GPU: which blocks of scores are needed, and what of them.

    Attributes:
        mask: A ``BlockMask`` of PyTorch's FlexAttention.
    """

    mask: Any


Visible: TypeAlias = Tensor | Texts | Blocks | None
"""What queries may see: a mask ``(B or 1, 1, T, S)``, True where a query may see a key, or numbers
to add to the scores, in the format of the weights; or what stands for it; None: all before them."""


class Conv1D(nn.Module):
    """A linear layer that stores its matrix input-major, as the released weights do.

    Args:
        n_in: Width of the input.
        n_out: Width of the output.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., n_in)`` to ``(..., n_out)``."""
        return layers.linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Causal multi-head self-attention with one fused projection for queries, keys and values."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.n_head = config.n_head
        self.attn_pdrop = config.attn_pdrop

    def forward(
        self,
        x: Tensor,
        mask: Visible,
        cache: tuple[KVCache, int] | None,
        need_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix each token with the tokens it may see.

        Args:
            x: ``(B, T, D)``.
            mask: What each token may see.
            cache: Where to keep keys and values, and under which block number.
            need_weights: Also return the attention weights (slower: they are built in full).

        Returns:
            ``(B, T, D)`` and the weights ``(B, H, T, S)`` or None.
        """
        heads = self.c_attn(x).unflatten(2, (3, self.n_head, -1))  # (B, T, 3, H, K)
        dropout = self.attn_pdrop if self.training else 0.0
        if isinstance(mask, Texts):
            y = attention.attend(heads.flatten(0, 1), mask.starts, dropout)  # (B * T, H, K)
            return self.c_proj(y.view(x.shape)), None
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, K)
        if cache is not None:
            k, v = cache[0].write(cache[1], k, v)
        causal = mask is None and q.shape[2] > 1
        weights = None
        if isinstance(mask, Blocks):
            y = attention.attend_blocks(q, k, v, mask.mask)
            return self.c_proj(y.transpose(1, 2).flatten(2)), None
        # On a CPU the fused kernel takes two to three times as long as plain products in bfloat16.
        if need_weights or (q.dtype == torch.bfloat16 and q.device.type == "cpu"):
            weights = attention_weights(q, k, mask, causal)
            y = F.dropout(weights, dropout) @ v
        else:
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout
            )
        return self.c_proj(y.transpose(1, 2).flatten(2)), weights if need_weights else None


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Softmax of the scaled, masked scores, written out (GPT-1 section 3.1; scale 1/sqrt(K)).

    Args:
        q: ``(B, H, T, K)``.
        k: ``(B, H, S, K)``.
        mask: ``(B or 1, 1, T, S)``, True where a query may see a key, or what to add to the scores,
            or None.
        causal: Without a mask: each query sees the keys up to its own position.

    Returns:
        ``(B, H, T, S)``, rows sum to 1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if causal:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.is_floating_point():
        scores = scores + mask
    elif mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)


class MLP(nn.Module):
    """Position-wise feed-forward layer, four times as wide inside."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)
        self.act = ACTIVATIONS[config.afn]
        self.gelu = config.afn == "gelu"

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to ``(B, T, D)``."""
        if self.gelu:
            return layers.mlp(x, self.c_fc, self.c_proj)
        return self.c_proj(self.act(self.c_fc(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One Transformer layer, post-norm as in the paper's figure 1."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.drop = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Tensor,
        mask: Visible,
        cache: tuple[KVCache, int] | None,
        need_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """``(B, T, D)`` to the same, and attention weights on request; see `Attention`."""
        attended, weights = self.attn(x, mask, cache, need_weights)
        dropout = self.drop.p if self.training else 0.0
        n = layers.add_norm(x, attended, self.ln_1, dropout)
        return layers.add_norm(n, self.mlp(n), self.ln_2, dropout), weights


def empty_table(rows: int, width: int) -> nn.Embedding:
    """An embedding that is not drawn yet: ``reset_parameters`` does that, for all weights."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class GPT(nn.Module):
    """The GPT-1 language model: a decoder whose output layer is its token table.

    Args:
        config: Shape of the network; the default is the paper's.
    """

    def __init__(self, config: GPTConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GPTConfig()
        self.tokens_embed = empty_table(config.vocab_size, config.n_embd)
        self.positions_embed = empty_table(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.activation_checkpointing = False
        self.attends_in_blocks = False
        if self.device.type != "meta":
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew: N(0, 0.02) for matrices and tables, 0 for biases, 1 for gains.

        Source: GPT-1 section 4.1.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, self.config.initializer_range, generator=generator)
            else:
                parameter.fill_(1.0 if ".ln_" in name and name.endswith("weight") else 0.0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.positions_embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.positions_embed.weight.dtype

    def num_parameters(self) -> int:
        """Number of trained numbers; the tied output layer counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def new_cache(self, batch_size: int, capacity: int | None = None) -> KVCache:
        """An empty cache for ``capacity`` tokens a row (default: n_positions)."""
        capacity = capacity or self.config.n_positions
        return KVCache(self.config, batch_size, capacity, device=self.device, dtype=self.dtype)

    def grow_vocabulary(self, vocab_size: int, generator: torch.Generator | None = None) -> None:
        """Append N(0, 0.02) rows to the token table for new tokens; old rows stay as they are.

        Args:
            vocab_size: New number of rows; at least the present one.
            generator: Source of the random numbers.

        Raises:
            ValueError: If ``vocab_size`` is smaller than the present one.

        Source: the special tokens of GPT-1 section 3.3.
        """
        spread = self.config.initializer_range
        self.tokens_embed = grown_table(self.tokens_embed, vocab_size, spread, generator)
        self.config = self.config.replace(vocab_size=vocab_size)

    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        segment_ids: Tensor | None = None,
        cache: KVCache | None = None,
        logits_at: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> GPTOutput:
        """Score the next token at every position, or, with labels, compute the loss.

        Args:
            input_ids: ``(B, T)``, int64, each in ``[0, V)``.
            labels: ``(B, T)``, usually ``input_ids``; position t is the target of position t - 1,
                and -100 marks what is not a target. The logits then never exist as a whole.
            segment_ids: ``(B, T)``, int64, non-decreasing along a row: which text of a packed row a
                token belongs to. Texts do not see each other, positions restart with each, and a
                text's first token is not a target.
            cache: Keys and values of earlier tokens; the new ones are added, and count as seen
                after `KVCache.advance`. Not together with segment_ids.
            logits_at: ``(B,)``, int64: score only this position of each row; logits are ``(B, 1,
                V)``.
            output_hidden_states: Return the embeddings and each block's output.
            output_attentions: Return each block's attention weights.

        Returns:
            `GPTOutput` with what was asked for.

        Raises:
            ValueError: If the sequence is longer than ``n_positions``, the cache is full, or
                segment_ids and cache are both given.
        """
        hidden: list[Tensor] = []
        attentions: list[Tensor] = []
        positions, mask = self._positions_and_mask(
            input_ids, segment_ids, cache, plain=output_attentions
        )
        for x, weights in self._layers(input_ids, positions, mask, cache, output_attentions):
            if output_hidden_states:
                hidden.append(x)
            if weights is not None:
                attentions.append(weights)
        loss = None
        if labels is not None:
            loss = mean_lm_loss(x, self.tokens_embed.weight, labels, segment_ids)
        if logits_at is not None:
            x = x[torch.arange(len(x), device=x.device), logits_at][:, None]
        return GPTOutput(
            logits=self.lm_head(x) if labels is None else None,
            loss=loss,
            hidden_states=tuple(hidden) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )

    def hidden(
        self,
        input_ids: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Output of the last block: what `lm_head` scores.

        Args:
            input_ids: ``(B, T)``, int64.
            positions: ``(B, T)``, int64, each below ``n_positions``, in place of 0 to T - 1; T may
                then be larger than ``n_positions``.
            mask: ``(B or 1, 1, T, S)``, True where a query may see a key, or what to add to the
                scores; None: each token sees all before it. S is T, or what the cache shows.
            cache: Keys and values of earlier tokens; the new ones are added. It needs positions and
                a mask.

        Returns:
            ``(B, T, D)``.

        Raises:
            ValueError: If the sequence is longer than ``n_positions`` and has no positions.
        """
        visible = self._visible(input_ids, None) if mask is None else mask
        if positions is None:
            positions, _ = self._positions_and_mask(input_ids, None, None, plain=True)
        for x, _ in self._layers(input_ids, positions, visible, cache, False):
            states = x
        return states

    def _visible(self, input_ids: Tensor, segment_ids: Tensor | None) -> Visible:
        """What tokens see of texts that begin in this pass, in the form that is fastest here."""
        packed = segment_ids is not None
        float32 = self.dtype == torch.float32 and not torch.is_autocast_enabled(self.device.type)
        if self.device.type == "cpu" and float32 and (packed or input_ids.shape[1] >= LONG_TEXT):
            return texts_of_rows(input_ids) if segment_ids is None else packed_texts(segment_ids)
        if segment_ids is None:
            return None
        dropout = self.training and self.config.attn_pdrop > 0  # which FlexAttention lacks
        if self.attends_in_blocks and not dropout:
            return Blocks(attention.packed_blocks(segment_ids))
        return packed_mask(segment_ids)

    def _layers(
        self,
        input_ids: Tensor,
        positions: Tensor,
        mask: Visible,
        cache: KVCache | None,
        need_weights: bool,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The embeddings ``(B, T, D)``, then each block's output and its attention weights."""
        tokens = layers.look_up(self.tokens_embed, input_ids)
        x = self.drop(tokens + self.positions_embed(positions))
        yield x, None
        for layer, block in enumerate(self.h):
            x, weights = self._run_block(
                block, x, mask, (cache, layer) if cache else None, need_weights
            )
            yield x, weights

    def _run_block(self, block: nn.Module, *args: Any) -> tuple[Tensor, Tensor | None]:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False)  # type: ignore[no-any-return]
        return block(*args)  # type: ignore[no-any-return]

    def _positions_and_mask(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None,
        cache: KVCache | None,
        *,
        plain: bool,
    ) -> tuple[Tensor, Visible]:
        """Position of every token, ``(B or 1, T)``, and what it may see; ``plain``: by a mask."""
        seq_len, limit = input_ids.shape[1], self.config.n_positions
        if segment_ids is not None and cache is not None:
            raise ValueError("segment_ids and cache cannot be combined; pass one of them")
        seen = cache.longest if cache is not None else 0
        if cache is not None:
            limit = min(limit, cache.capacity)
        check_room(seen + seq_len, limit)
        steps = torch.arange(seq_len, device=input_ids.device)
        if segment_ids is not None:
            mask = packed_mask(segment_ids) if plain else self._visible(input_ids, segment_ids)
            return packed_positions(segment_ids), mask
        if cache is None or seen == 0:
            plain = plain or cache is not None
            return steps[None], None if plain else self._visible(input_ids, None)
        positions = cache.lengths[:, None] + steps  # (B, T)
        if seq_len == 1 and cache.shortest == seen:
            return positions, None
        keys = torch.arange(seen + seq_len, device=input_ids.device)
        return positions, (keys <= positions[:, :, None])[:, None]  # (B, 1, T, S)

    def lm_head(self, hidden: Tensor) -> Tensor:
        """Logits ``(..., V)`` of hidden states ``(..., D)``, by the token table (GPT-1 eq. 2)."""
        return F.linear(hidden, self.tokens_embed.weight)


def check_room(tokens: int, limit: int) -> None:
    """Refuse a sequence of more tokens than a model can read.

    Raises:
        ValueError: If it has more than ``limit``.
    """
    if tokens > limit:
        raise ValueError(
            f"the sequence has {tokens} tokens but there is room for {limit}; "
            "shorten the text or keep its last tokens only"
        )


@torch.no_grad()
def grown_table(
    table: nn.Embedding, vocab_size: int, spread: float, generator: torch.Generator | None = None
) -> nn.Embedding:
    """A token table with more rows: the old ones, then new ones from N(0, spread).

    Args:
        table: The old one.
        vocab_size: Rows of the new one.
        spread: Standard deviation of the new rows.
        generator: Source of the random numbers.

    Raises:
        ValueError: If ``vocab_size`` is smaller than the present one.
    """
    old = table.weight
    if vocab_size < len(old):
        raise ValueError(
            f"vocab_size is {vocab_size} but the model has {len(old)} tokens; it can only grow"
        )
    grown = old.new_empty(vocab_size, old.shape[1])
    grown[: len(old)] = old
    grown[len(old) :].normal_(0.0, spread, generator=generator)
    return nn.Embedding(vocab_size, old.shape[1], _weight=grown)


def shift_labels(labels: Tensor, segment_ids: Tensor | None = None) -> Tensor:
    """The target of every position but the last.

    Args:
        labels: ``(B, T)``, int64; -100 marks what is not a target.
        segment_ids: ``(B, T)`` or None; the first token of a segment is not a target.

    Returns:
        ``(B, T - 1)``, int64: what position t has to predict, or -100.
    """
    targets = labels[:, 1:]
    if segment_ids is None:
        return targets
    return targets.masked_fill(segment_ids[:, 1:] != segment_ids[:, :-1], IGNORED)


def packed_positions(segment_ids: Tensor) -> Tensor:
    """Positions ``(B, T)`` that restart at 0 with every segment of ``segment_ids`` ``(B, T)``."""
    steps = torch.arange(segment_ids.shape[1], device=segment_ids.device).expand_as(segment_ids)
    return steps - (steps * first_of_text(segment_ids)).cummax(dim=1).values


def first_of_text(segment_ids: Tensor) -> Tensor:
    """``(B, T)``, True where a segment of ``segment_ids`` ``(B, T)`` begins."""
    return F.pad(segment_ids[:, 1:] != segment_ids[:, :-1], (1, 0), value=True)


def packed_texts(segment_ids: Tensor) -> Texts:
    """The segments of ``segment_ids`` ``(B, T)``."""
    begins = first_of_text(segment_ids).flatten().nonzero().flatten()
    return Texts(F.pad(begins, (0, 1), value=segment_ids.numel()).cpu())


def texts_of_rows(input_ids: Tensor) -> Texts:
    """Each row of ``input_ids`` ``(B, T)`` is a text."""
    return Texts(torch.arange(0, input_ids.numel() + 1, max(1, input_ids.shape[1])))


def packed_mask(segment_ids: Tensor) -> Tensor:
    """``(B, 1, T, T)``, True where a query may see a key: same segment, not later."""
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return same.tril()[:, None]


def mean_lm_loss(
    hidden: Tensor, table: Tensor, labels: Tensor, segment_ids: Tensor | None = None
) -> Tensor:
    """Mean next-token loss of whole sequences (GPT-1 eq. 1).

    Args:
        hidden: ``(B, T, D)``.
        table: ``(V, D)``, the token table.
        labels: ``(B, T)``, int64; -100 marks what is not a target.
        segment_ids: ``(B, T)`` or None, see `shift_labels`.

    Returns:
        A scalar, float32, nats.
    """
    targets = shift_labels(labels, segment_ids)  # (B, T - 1)
    scored = targets != IGNORED
    return lm_loss(hidden[:, :-1][scored], table, targets[scored])


def lm_loss(
    hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Weighted sum of next-token losses (GPT-1 eq. 1), fused with the output projection.

    The logits are made, used for the loss and its gradients, and dropped a chunk at a time.

    Args:
        hidden: ``(N, D)``, states that predict.
        table: ``(V, D)``, the token table.
        targets: ``(N,)``, int64, each in ``[0, V)``.
        weights: ``(N,)``, share of each target in the sum; default ``1 / N``, the mean.

    Returns:
        A scalar, float32, nats; 0 when N is 0.
    """
    if weights is None:
        weights = torch.full((len(targets),), 1.0 / max(1, len(targets)), device=hidden.device)
    if not torch.is_grad_enabled():  # then the gradients would be computed for nothing
        hidden, table = hidden.detach(), table.detach()
    return _FusedLMLoss.apply(hidden, table, targets, weights)  # type: ignore[no-any-return,no-untyped-call]


@torch.no_grad()
def token_log_probs(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each target, ``(N,)`` float32, nats; arguments as for `lm_loss`."""
    chunks = [
        logits.gather(1, targets[rows, None]).squeeze(1) - logits.logsumexp(1)
        for rows, logits in _logit_chunks(hidden, table)
    ]
    return torch.cat(chunks) if chunks else hidden.new_empty(0, dtype=torch.float32)


@torch.no_grad()
def token_scores(hidden: Tensor, table: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`token_log_probs`, and whether each target is the likeliest token, ``(N,)`` bool."""
    log_probs = hidden.new_empty(len(hidden), dtype=torch.float32)
    likeliest = torch.empty_like(targets, dtype=torch.bool)
    for rows, logits in _logit_chunks(hidden, table):
        target = targets[rows]
        log_probs[rows] = logits.gather(1, target[:, None]).squeeze(1) - logits.logsumexp(1)
        likeliest[rows] = logits.argmax(1) == target
    return log_probs, likeliest


@torch.no_grad()
def _logit_chunks(hidden: Tensor, table: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows and their float32 logits, as many rows at a time as `LOSS_CHUNK_BYTES` allows.

    All chunks are in one memory, so each is gone when the next is asked for. Behind the logits of
    a row may stand some of minus infinity.
    """
    vocab_size = len(table)
    width = gradients.spread(vocab_size)
    limit = LOSS_CHUNK_BYTES.get(hidden.device.type, LOSS_CHUNK_BYTES["cuda"])
    rows = max(1, limit // (4 * width))
    most = min(rows, len(hidden))
    memory = layers.scratch(most * width, hidden.device).view(most, width)
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        states = hidden[part]
        logits = memory[: len(states)]
        logits[:, vocab_size:] = float("-inf")
        if states.dtype == torch.float32:
            product(states, table.T, logits[:, :vocab_size])
        else:
            logits[:, :vocab_size] = states @ table.T
        yield part, logits


class _FusedLMLoss(torch.autograd.Function):
    """`lm_loss`; a chunk of logits becomes their gradients, which are used while they exist.

    Those of the last chunk wait for the backward pass, in the memory of the logits.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        device = hidden.device.type
        dtype = hidden.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        with torch.autocast(device, enabled=False):
            states, low_table = hidden.to(dtype), table.to(dtype)
            loss = hidden.new_zeros((), dtype=torch.float32)
            grad_hidden, grad_table = torch.empty_like(hidden) if needed else None, None
            errors, rows = states.new_empty(0, len(table)), slice(0, 0)
            for rows, logits in _logit_chunks(states, low_table):
                errors, log_probs = _errors(logits, targets[rows], weights[rows], low_table)
                loss -= log_probs @ weights[rows]
                if grad_hidden is not None and rows.stop < len(hidden):
                    grad_hidden[rows] = product(errors, low_table)
                    grad_table = _plus_product(grad_table, errors, states[rows], table)
        if needed:
            ctx.save_for_backward(table, states, low_table, errors, grad_hidden, grad_table)
            ctx.rows = rows
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        # In place, as they are large: PyTorch refuses a second backward pass over them.
        table, states, low_table, errors, grad_hidden, grad_table = ctx.saved_tensors
        rows = ctx.rows
        grad_hidden[rows] = product(errors, low_table)
        if grad_table is None and layers.sums_into(table, errors.dtype):
            layers.add_product(table, errors, states[rows], factor=float(grad_loss))
        else:
            grad_table = _plus_product(grad_table, errors, states[rows], table).mul_(grad_loss)
        return grad_hidden.mul_(grad_loss), grad_table, None, None


def _plus_product(total: Tensor | None, errors: Tensor, states: Tensor, table: Tensor) -> Tensor:
    """A sum, in the format of the table, and ``errors^T states``."""
    if total is None:
        return product(errors.T, states).to(table.dtype)
    if total.dtype == errors.dtype:
        return product(errors.T, states, total, beta=1)
    return total.add_(errors.T @ states)


def _errors(
    logits: Tensor, targets: Tensor, weights: Tensor, table: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted gradients of logits, in the format of the table, and log-probabilities of targets.

    On a CPU, the logits are overwritten.
    """
    vocab_size = len(table)
    if layers.runs_here(logits, weights, table):
        log_probs = gradients.errors(logits, vocab_size, targets, weights)
        return logits[:, :vocab_size], log_probs
    on_cpu = logits.device.type == "cpu"
    wanted, highest = logits.gather(1, targets[:, None]), logits.amax(1, keepdim=True)
    probs = torch.softmax(logits, 1, out=logits if on_cpu else None)
    # The likeliest token is never so unlikely that its logarithm is inexact.
    log_norm = highest - probs.amax(1, keepdim=True).log()
    probs.scatter_add_(1, targets[:, None], probs.new_full((), -1.0).expand(len(targets), 1))
    errors = torch.empty_like(probs[:, :vocab_size], dtype=table.dtype)
    torch.mul(probs[:, :vocab_size], weights[:, None], out=errors)
    return errors, (wanted - log_norm).squeeze(1)
