"""What could compute a step of one text on a CPU in place of our C++: PyTorch, Numba, torchao.

Each multiplies one row with every matrix of the model, random numbers, in a process of its own:
seconds from its imports to the end of the first step, compilation included, then steps a second.
ours are whole steps at the beginning of a text, which take somewhat longer than their products.
Numba's products are loops over the outputs, on all cores; in int8 they are of whole numbers, a
scale for 64 inputs, as ours. torchao keeps int8 weights with a scale for each output and multiplies
them with floats; compiled, by PyTorch's compiler.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import call
from benchmarks.options import Options
from benchmarks.report import Figure, Report
from benchmarks.timing import interleave, stopwatch
from gpt1.config import GPTConfig

TITLE = "a step of one text on a CPU, by what could compute it"
MODEL = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 40_478}
QUICK = {"n_layer": 1, "n_embd": 64, "n_head": 2, "vocab_size": 100}
GROUP = 64
STEPS = 30

Step = Callable[[], object]


def sizes(config: GPTConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of all matrices."""
    from gpt1.native.model import matrix_sizes

    blocks = [*matrix_sizes(config).values()] * config.n_layer
    return [*blocks, (config.n_embd, config.vocab_size)]


def native(config: GPTConfig, precision: str) -> Step:
    """gpt1's library."""
    from gpt1.native.model import NativeModel
    from gpt1.native.weights import Tensor
    from gpt1.native_checkpoint import shapes

    draw = np.random.default_rng(0).standard_normal
    weights = {n: Tensor("float32", draw(s, np.float32)) for n, s in shapes(config).items()}
    model = NativeModel(config, weights, precision)
    cache = model.new_cache(1, 8)
    return lambda: model.read(cache, [1], [0], [0], [0])


def pytorch(config: GPTConfig, precision: str) -> Step:
    """PyTorch as it is."""
    return linear_layers(config)[1]


def torchao(config: GPTConfig, precision: str, *, compiled: bool = False) -> Step:
    """Torchao's weights of int8."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layers, step = linear_layers(config)
    quantize_(layers, Int8WeightOnlyConfig())
    if compiled:
        for layer in layers:
            layer.compile()
    return step


def linear_layers(config: GPTConfig) -> tuple[Any, Step]:
    """The matrices as layers of PyTorch, and a step through them."""
    import torch

    rows = {width: torch.randn(1, width) for width, _ in sizes(config)}
    layers = torch.nn.ModuleList(torch.nn.Linear(*size, bias=False) for size in sizes(config))

    def step() -> None:
        with torch.inference_mode():
            for layer in layers:
                layer(rows[layer.in_features])

    return layers, step


def numba(config: GPTConfig, precision: str) -> Step:
    """Loops that Numba compiles."""
    floats, whole = numba_products()
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> NDArray[Any]:
        if precision == "int8":
            return random.integers(-127, 128, shape, np.int8)
        return random.standard_normal(shape, np.float32)

    matrices = [numbers(outputs, inputs) for inputs, outputs in sizes(config)]
    scales = [np.ones((len(m), m.shape[1] // GROUP), np.float32) for m in matrices]
    rows = {width: numbers(width) for width, _ in sizes(config)}

    def step() -> None:
        for matrix, scale in zip(matrices, scales, strict=True):
            row, out = rows[matrix.shape[1]], np.empty(len(matrix), np.float32)
            if precision == "int8":
                whole(matrix, scale, row, scale[0], out)
            else:
                floats(matrix, row, out)

    return step


def numba_products() -> tuple[Callable[..., None], Callable[..., None]]:
    """A matrix ``(O, I)`` times a row: of floats; of whole numbers and scales."""
    from numba import njit, prange

    @njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def floats(matrix: Any, row: Any, out: Any) -> None:
        for o in prange(matrix.shape[0]):
            total = np.float32(0)
            for i in range(matrix.shape[1]):
                total += matrix[o, i] * row[i]
            out[o] = total

    @njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def whole(matrix: Any, scales: Any, row: Any, row_scales: Any, out: Any) -> None:
        for o in prange(matrix.shape[0]):
            total = np.float32(0)
            for g in range(scales.shape[1]):
                sum_of_group = np.int32(0)
                for i in range(g * GROUP, (g + 1) * GROUP):
                    sum_of_group += np.int32(matrix[o, i]) * np.int32(row[i])
                total += np.float32(sum_of_group) * scales[o, g] * row_scales[g]
            out[o] = total

    return floats, whole


class Side(NamedTuple):
    """What could compute.

    Attributes:
        prepare: Makes the step of a model in a precision.
        precisions: It can do.
        package: It needs.
    """

    prepare: Callable[[GPTConfig, str], Step]
    precisions: tuple[str, ...]
    package: str


SIDES = {
    "gpt1": Side(native, ("float32", "int8"), "gpt1"),
    "PyTorch": Side(pytorch, ("float32",), "torch"),
    "Numba": Side(numba, ("float32", "int8"), "numba"),
    "torchao": Side(torchao, ("int8",), "torchao"),
    "torchao, compiled": Side(partial(torchao, compiled=True), ("int8",), "torchao"),
}


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    shape = QUICK if options.quick else MODEL
    rounds = options.rounds or (1 if options.quick else 3)
    return Report(
        name="alternatives",
        title=TITLE,
        quick=options.quick,
        rows=[],
        figures=[
            figure
            for precision in ("float32", "int8")
            for figure in figures(precision, shape, rounds, apart=not options.quick)
        ],
        settings=shape,
    )


def figures(precision: str, shape: dict[str, int], rounds: int, *, apart: bool) -> Iterator[Figure]:
    """Steps a second and seconds to the first, of all sides that can do the precision."""
    able = {title: side for title, side in SIDES.items() if precision in side.precisions}
    there = {title for title, side in able.items() if find_spec(side.package)}

    def turn(title: str) -> dict[str, float]:
        arguments = {"side": title, "precision": precision, "shape": shape}
        result: dict[str, float] = call(measure, arguments, apart=apart).result
        return result

    found = interleave({title: partial(turn, title) for title in able if title in there}, rounds)
    for name, unit in (("steps", "steps/s"), ("first step", "s")):
        values: dict[str, list[float] | str] = dict.fromkeys(able, "not installed")
        values |= {title: [one[name] for one in turns] for title, turns in found.items()}
        yield Figure(precision, name, unit, values)


def measure(side: str, precision: str, shape: dict[str, int]) -> dict[str, float]:
    """Seconds to the end of the first step, and the rate of those that follow."""
    began = time.perf_counter()
    step = SIDES[side].prepare(GPTConfig(**shape), precision)
    step()
    first = time.perf_counter() - began
    times = [stopwatch(step)[0] for _ in range(STEPS)]
    return {"first step": first, "steps": 1 / median(times)}
