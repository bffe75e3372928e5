"""The LSTM the paper compares its Transformer with: one layer of 2,048 units (GPT-1 section 5).

Everything else is as in `gpt1.model`: token table, dropout, output layer tied to the table, loss.
A linear layer takes the state to the width of the table; there are no positions.

Shapes: ``B`` batch, ``T`` tokens, ``D`` n_embd, ``U`` n_units, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gpt1.config import LSTMConfig
from gpt1.errors import ConfigError
from gpt1.model import GPTOutput, check_room, empty_table, grown_table, mean_lm_loss


class LSTM(nn.Module):
    """A language model of one LSTM layer, with the interface of `gpt1.GPT`.

    Args:
        config: Shape of the network; the default is the paper's.
    """

    def __init__(self, config: LSTMConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LSTMConfig()
        self.tokens_embed = empty_table(config.vocab_size, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.lstm = nn.LSTM(config.n_embd, config.n_units)
        self.output_drop = nn.Dropout(config.resid_pdrop)
        self.proj = nn.Linear(config.n_units, config.n_embd)
        if self.device.type != "meta":
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew.

        The paper gives no initialisation for the LSTM. The table is that of the Transformer, N(0,
        0.02). No layer norm brings such small vectors to unit size here, so the matrix behind it
        does, and the gates get inputs of variance 1: a model learns much faster than with 0.02
        throughout. The recurrent matrices are orthogonal and the projection keeps the size of what
        it multiplies. A forget-gate bias of 1 lets a new model remember (Jozefowicz et al., 2015).
        """
        spread, width, units = (
            self.config.initializer_range,
            self.config.n_embd,
            self.config.n_units,
        )
        [[w_input, w_state, *biases]] = self.lstm.all_weights
        self.tokens_embed.weight.normal_(0.0, spread, generator=generator)
        w_input.normal_(0.0, 1 / (spread * width**0.5), generator=generator)
        for gate in w_state.chunk(4):
            nn.init.orthogonal_(gate, generator=generator)
        self.proj.weight.normal_(0.0, units**-0.5, generator=generator)
        for bias in (*biases, self.proj.bias):
            bias.zero_()
        biases[0][units : 2 * units] = 1.0  # gates: input, forget, cell, output

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.tokens_embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.tokens_embed.weight.dtype

    @property
    def activation_checkpointing(self) -> bool:
        """Never: there are no blocks to recompute."""
        return False

    @activation_checkpointing.setter
    def activation_checkpointing(self, value: bool) -> None:
        if value:
            raise ConfigError(
                "activation_checkpointing is on but an LSTM has no blocks to recompute; turn it "
                "off, and lower micro_batch_size to save memory"
            )

    def num_parameters(self) -> int:
        """Number of trained numbers; the tied output layer counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def grow_vocabulary(self, vocab_size: int, generator: torch.Generator | None = None) -> None:
        """Append rows to the token table for new tokens, as `gpt1.GPT.grow_vocabulary` does.

        Args:
            vocab_size: New number of rows; at least the present one.
            generator: Source of the random numbers.

        Raises:
            ValueError: If ``vocab_size`` is smaller than the present one.
        """
        spread = self.config.initializer_range
        self.tokens_embed = grown_table(self.tokens_embed, vocab_size, spread, generator)
        self.config = self.config.replace(vocab_size=vocab_size)

    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, segment_ids: Tensor | None = None
    ) -> GPTOutput:
        """Score the next token at every position, or, with labels, compute the loss.

        Args:
            input_ids: ``(B, T)``, int64, each in ``[0, V)``.
            labels: ``(B, T)``, usually ``input_ids``, as for `gpt1.GPT`.
            segment_ids: Must be None: an LSTM reads a row as one text.

        Returns:
            `GPTOutput` with logits ``(B, T, V)`` or the mean loss.

        Raises:
            ValueError: If the sequence is longer than ``n_positions``, or segment_ids are given.
        """
        if segment_ids is not None:
            raise ValueError("segment_ids are given but an LSTM reads one text a row; unpack them")
        states = self.hidden(input_ids)
        if labels is not None:
            loss = mean_lm_loss(states, self.tokens_embed.weight, labels)
            return GPTOutput(None, loss, None, None)
        return GPTOutput(self.lm_head(states), None, None, None)

    def hidden(
        self, input_ids: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The projected output of the LSTM: what `lm_head` scores.

        Args:
            input_ids: ``(B, T)``, int64.
            positions: Must be None: an LSTM reads its tokens in their order.
            mask: Must be None, likewise.

        Returns:
            ``(B, T, D)``.

        Raises:
            ValueError: If the sequence is longer than ``n_positions``, or has positions or a mask.
        """
        if positions is not None or mask is not None:
            raise ValueError(
                "positions or a mask are given but an LSTM reads tokens in order; leave them out"
            )
        check_room(input_ids.shape[1], self.config.n_positions)
        x = self.drop(self.tokens_embed(input_ids)).transpose(0, 1)  # (T, B, D)
        return self.proj(self.output_drop(self._recur(x))).transpose(0, 1)  # type: ignore[no-any-return]

    def lm_head(self, hidden: Tensor) -> Tensor:
        """Logits ``(..., V)`` of hidden states ``(..., D)``, by the token table."""
        return F.linear(hidden, self.tokens_embed.weight)

    def _recur(self, x: Tensor) -> Tensor:
        """States ``(T, B, U)`` of inputs ``(T, B, D)``."""
        # On a CPU the gradient of PyTorch's layer in bfloat16 takes longer than all of ours, and
        # where the processor has no such arithmetic not even its forward pass works.
        if torch.is_autocast_enabled("cpu") and x.device.type == "cpu":
            [[w_input, w_state, b_input, b_state]] = self.lstm.all_weights
            dtype = torch.get_autocast_dtype("cpu")
            return _Recurrence.apply(x, w_input, w_state, b_input + b_state, dtype)  # type: ignore[no-any-return,no-untyped-call]
        states, _ = self.lstm(x)
        return states  # type: ignore[no-any-return]


class _Recurrence(torch.autograd.Function):
    """`nn.LSTM` with the products in a given dtype; sums over time are single large products.

    Cells are float32, and so is the arithmetic of gates; these are kept in the given dtype.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_input: Tensor, w_state: Tensor, bias: Tensor, dtype: torch.dtype
    ) -> Tensor:
        (seq_len, batch, _), units = x.shape, w_state.shape[1]
        with torch.autocast("cpu", enabled=False):
            # Contiguous: else the product with it is a batched one, with copies.
            x = x.to(dtype).contiguous()
            w_input, w_state = w_input.to(dtype), w_state.to(dtype)
            gates = F.linear(x, w_input, bias.to(dtype))  # (T, B, 4U)
            cells = x.new_zeros(seq_len + 1, batch, units, dtype=torch.float32)
            states = x.new_zeros(seq_len + 1, batch, units)
            times_w_state = _product_with(w_state, batch)
            for t in range(seq_len):
                now = gates[t].float().add_(times_w_state(states[t])).view(batch, 4, units)
                i, f, g, o = now.unbind(1)
                for gate in (now[:, :2], o):
                    gate.sigmoid_()
                torch.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g.tanh_())
                states[t + 1] = cells[t + 1].tanh().mul_(o)
                gates[t] = now.flatten(1)
        ctx.save_for_backward(x, w_input, w_state, gates, cells, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        x, w_input, w_state, gates, cells, states = ctx.saved_tensors
        grad_gates = _grad_gates(grad_states, w_state, gates, cells).flatten(0, 1)  # (T * B, 4U)
        return (
            (grad_gates @ w_input).view_as(x).float(),
            (grad_gates.T @ x.flatten(0, 1)).float(),
            (grad_gates.T @ states[:-1].flatten(0, 1)).float(),
            grad_gates.sum(0, dtype=torch.float32),
            None,
        )


def _product_with(weight: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
    """``x -> x weight^T`` for many x of so many rows: the weight is laid out for it once.

    PyTorch has oneDNN's layout under a private name only, the one its compiler uses. Without that
    name, or a processor that has the arithmetic, the product is the plain one: equal, but slower.
    """
    mkldnn = torch.ops.mkldnn
    if not hasattr(mkldnn, "_linear_pointwise") or not mkldnn._is_mkldnn_bf16_supported():
        return lambda x: x @ weight.T
    packed = mkldnn._reorder_linear_weight(weight, rows)
    return lambda x: mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def _grad_gates(grad_states: Tensor, w_state: Tensor, gates: Tensor, cells: Tensor) -> Tensor:
    """Gradient with respect to the gates before their nonlinearities, ``(T, B, 4U)``."""
    batch, units = cells.shape[1:]
    sigmoid, tanh = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
    back = _product_with(w_state.T.contiguous(), batch)
    result = torch.empty_like(gates)
    grads, grad_cell = cells.new_empty(batch, 4, units), torch.zeros_like(cells[0])
    from_later = torch.zeros_like(cells[0])
    for t in reversed(range(len(gates))):
        i, f, g, o = gates[t].float().view(batch, 4, units).unbind(1)
        squashed = cells[t + 1].tanh()
        grad_state = from_later + grad_states[t]
        grad_cell += tanh(grad_state * o, squashed)
        sigmoid(grad_cell * g, i, grad_input=grads[:, 0])
        sigmoid(grad_cell * cells[t], f, grad_input=grads[:, 1])
        tanh(grad_cell * i, g, grad_input=grads[:, 2])
        sigmoid(grad_state * squashed, o, grad_input=grads[:, 3])
        grad_cell *= f
        result[t] = grads.flatten(1)
        from_later = back(result[t])
    return result
