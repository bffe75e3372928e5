"""GPT-1 as one ONNX graph, which reads a prompt and, over keys and values, each token after it.

Inputs and outputs are named as Hugging Face's Optimum names them:

    input_ids             (B, T)            tokens to read
    attention_mask        (B, S)            1 for a token, 0 for padding: of the past, then of these
    position_ids          (B, T)            place of each token in its text
    past_key_values.N.key, .value    (B, H, P, K)    of block N; P is 0 in the first call
    logits                (B, T, V)         position t scores token t + 1
    present.N.key, .value            (B, H, S, K)    the past of the next call

Texts of a batch that differ in length are padded on the left. Letters are those of `gpt1.model`,
with ``P`` tokens past and ``S = P + T``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt1.config import GPTConfig
from gpt1.model import GPT, Attention, Block, Conv1D

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

Floats: TypeAlias = NDArray[np.float32]

LOWEST = float(np.finfo(np.float32).min)
"""Score of what may not be seen. Not infinity: a query that is padding may see nothing."""


class Graph:
    """Nodes and weights in the making. A method adds one and returns the name of its value."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def split(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        from onnx import helper

        name = f"{operator}_{len(self.nodes)}"
        names = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """A constant array."""
        from onnx import numpy_helper

        self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def float_number(self, value: float) -> str:
        """A constant number, float32."""
        return self.weight(f"float_{value}", np.array(value, np.float32))

    def whole_number(self, value: int) -> str:
        """A constant number, int64."""
        return self.weight(f"whole_{value}", np.array(value, np.int64))

    def vector(self, *values: int) -> str:
        """A constant vector, int64."""
        return self.weight(f"vector_{'_'.join(map(str, values))}", np.array(values, np.int64))


class Weights(Protocol):
    """How the matrices of a model are stored and multiplied."""

    def embed(self, ids: str) -> str:
        """Rows ``(B, T, D)`` of the token table."""

    def multiply(self, x: str, name: str, matrix: Floats) -> str:
        """``(B, T, n_in)`` times a matrix, which is stored under that name."""

    def score(self, x: str) -> str:
        """``(N, D)`` times the token table, transposed: ``(N, V)``."""


class Float32Weights:
    """Weights as they are; see `Weights`.

    Args:
        graph: Gets them.
        table: The token table, ``(V, D)``; stored once.
    """

    def __init__(self, graph: Graph, table: Floats) -> None:
        self.graph = graph
        self.table = graph.weight("tokens_embed.weight", table)

    def embed(self, ids: str) -> str:
        """See `Weights`."""
        return self.graph.add("Gather", self.table, ids)

    def multiply(self, x: str, name: str, matrix: Floats) -> str:
        """See `Weights`."""
        return self.graph.add("MatMul", x, self.graph.weight(name, matrix))

    def score(self, x: str) -> str:
        """See `Weights`."""
        return self.graph.add("Gemm", x, self.table, transB=1)


def build_onnx(model: GPT, opset: int, weights: Callable[[Graph, Floats], Weights]) -> ModelProto:
    """Make the graph, weights included.

    Args:
        model: On the CPU, float32.
        opset: One of `gpt1.export.formats.OPSETS`.
        weights: How its matrices are stored.

    Returns:
        The model; its inputs and outputs are at the top of this file.
    """
    from onnx import helper

    from gpt1 import __version__

    graph, config = Graph(), model.config
    network = _Network(graph, weights(graph, floats(model.tokens_embed.weight)), config)
    network.add_model(model)
    inputs, outputs = _signature(config)
    opsets = [helper.make_opsetid("", opset)]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "gpt1", inputs, outputs),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="gpt1",
        producer_version=__version__,
    )
    made.graph.initializer.extend(graph.weights.values())  # not above: each step copies them
    return made


def floats(weight: Tensor) -> Floats:
    """A weight as NumPy has it; the memory is shared."""
    return weight.detach().numpy()


def _signature(config: GPTConfig) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs with their shapes."""
    from onnx import TensorProto, helper

    past, new = "past_sequence_length", "sequence_length"

    def whole(name: str, length: str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.INT64, ("batch_size", length))

    def real(name: str, *shape: str | int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch_size", *shape))

    def cache(prefix: str, length: str) -> list[ValueInfoProto]:
        return [
            real(f"{prefix}.{layer}.{part}", config.n_head, length, config.head_size)
            for layer in range(config.n_layer)
            for part in ("key", "value")
        ]

    inputs = [whole("input_ids", new), whole("attention_mask", f"{past} + {new}")]
    inputs += [whole("position_ids", new), *cache("past_key_values", past)]
    outputs = [real("logits", new, config.vocab_size), *cache("present", f"{past} + {new}")]
    return inputs, outputs


class _Network:
    """Adds the nodes of a model to a graph, in the order of `gpt1.model`."""

    def __init__(self, graph: Graph, weights: Weights, config: GPTConfig) -> None:
        self.graph = graph
        self.weights = weights
        self.config = config

    def add_model(self, model: GPT) -> None:
        """From input_ids to logits."""
        add, vector = self.graph.add, self.graph.vector
        places = self.graph.weight("positions_embed.weight", floats(model.positions_embed.weight))
        x = add("Add", self.weights.embed("input_ids"), add("Gather", places, "position_ids"))
        visible = self.visible()
        for layer, block in enumerate(cast("Iterable[Block]", model.h)):
            x = self.block(layer, block, x, visible)
        scores = self.weights.score(add("Reshape", x, vector(-1, self.config.n_embd)))
        shape = add("Concat", add("Shape", "input_ids"), vector(self.config.vocab_size), axis=0)
        add("Reshape", scores, shape, output="logits")

    def visible(self) -> str:
        """Whether a query may see a key, ``(B, 1, T, S)``: a token, and none after itself."""
        from onnx import TensorProto

        add, whole, vector = self.graph.add, self.graph.whole_number, self.graph.vector
        end, new = (
            add("Squeeze", add("Shape", name, start=1, end=2), vector(0))
            for name in ("attention_mask", "input_ids")
        )
        keys = add("Range", whole(0), end, whole(1))
        queries = add("Range", add("Sub", end, new), end, whole(1))
        earlier = add("LessOrEqual", keys, add("Unsqueeze", queries, vector(1)))
        tokens = add("Cast", "attention_mask", to=TensorProto.BOOL)
        return add("And", earlier, add("Unsqueeze", tokens, vector(1, 2)))

    def block(self, layer: int, block: Block, x: str, visible: str) -> str:
        """See `gpt1.model.Block`."""
        add, name = self.graph.add, f"h.{layer}"
        n = add("Add", x, self.attention(layer, block.attn, x, visible))
        n = self.norm(f"{name}.ln_1", block.ln_1, n)
        inner = self.linear(f"{name}.mlp.c_fc", block.mlp.c_fc, n)
        inner = _ACTIVATIONS[self.config.afn](self.graph, inner)
        added = add("Add", n, self.linear(f"{name}.mlp.c_proj", block.mlp.c_proj, inner))
        return self.norm(f"{name}.ln_2", block.ln_2, added)

    def attention(self, layer: int, attention: Attention, x: str, visible: str) -> str:
        """See `gpt1.model.Attention`; new keys and values go behind those of the past."""
        add, vector, config = self.graph.add, self.graph.vector, self.config
        mixed = self.linear(f"h.{layer}.attn.c_attn", attention.c_attn, x)
        widths = vector(config.n_embd, config.n_embd, config.n_embd)
        q, k, v = map(self.heads, self.graph.split("Split", mixed, widths, outputs=3, axis=2))
        k, v = self.cached(f"{layer}.key", k), self.cached(f"{layer}.value", v)
        scaled = add("Mul", q, self.graph.float_number(config.head_size**-0.5))
        scores = add("MatMul", scaled, add("Transpose", k, perm=(0, 1, 3, 2)))
        scores = add("Where", visible, scores, self.graph.float_number(LOWEST))
        y = add("MatMul", add("Softmax", scores, axis=-1), v)
        joined = add("Reshape", add("Transpose", y, perm=(0, 2, 1, 3)), vector(0, 0, -1))
        return self.linear(f"h.{layer}.attn.c_proj", attention.c_proj, joined)

    def heads(self, x: str) -> str:
        """``(B, T, D)`` to ``(B, H, T, K)``."""
        shape = self.graph.vector(0, 0, self.config.n_head, self.config.head_size)
        return self.graph.add("Transpose", self.graph.add("Reshape", x, shape), perm=(0, 2, 1, 3))

    def cached(self, name: str, new: str) -> str:
        """Past and new keys or values, ``(B, H, S, K)``."""
        past = f"past_key_values.{name}"
        return self.graph.add("Concat", past, new, axis=2, output=f"present.{name}")

    def linear(self, name: str, layer: Conv1D, x: str) -> str:
        """See `gpt1.model.Conv1D`."""
        product = self.weights.multiply(x, f"{name}.weight", floats(layer.weight))
        return self.graph.add("Add", product, self.graph.weight(f"{name}.bias", floats(layer.bias)))

    def norm(self, name: str, norm: nn.LayerNorm, x: str) -> str:
        """Layer normalization over the width."""
        gain = self.graph.weight(f"{name}.weight", floats(norm.weight))
        bias = self.graph.weight(f"{name}.bias", floats(norm.bias))
        return self.graph.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=norm.eps)


def _gelu(graph: Graph, x: str) -> str:
    """The tanh approximation, in the shape that ONNX Runtime makes one operator of."""
    add, number = graph.add, graph.float_number
    cubic = add("Mul", number(0.044715), add("Pow", x, number(3.0)))
    inner = add("Mul", add("Add", x, cubic), number((2 / np.pi) ** 0.5))
    gate = add("Add", add("Tanh", inner), number(1.0))
    return add("Mul", add("Mul", x, number(0.5)), gate)


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "gelu": _gelu,
    "relu": lambda graph, x: graph.add("Relu", x),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
}
