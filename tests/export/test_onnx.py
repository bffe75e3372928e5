"""The graph, run by ONNX Runtime, is the model: whole texts, steps over a cache, padded batches."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gpt1.backbone import require_gpt
from gpt1.errors import CheckpointError
from gpt1.export import onnx_folder
from gpt1.export.formats import OPSETS
from gpt1.export.onnx_graph import Float32Weights, build_onnx
from gpt1.export.onnx_int8 import LARGEST, ZERO, Int8Weights, quantize
from gpt1.language_model import LanguageModel, load
from gpt1.locate import ASSETS
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from lively import lively_model, small_tokenizer

onnx = pytest.importorskip("onnx", reason="of the extra export")
onnxruntime = pytest.importorskip("onnxruntime", reason="of the extra export")

Array = NDArray[Any]
Activation = Literal["gelu", "relu", "silu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
VOCABULARY, POSITIONS = 80, 16


class Runtime:
    """A model as ONNX Runtime runs it, on one thread."""

    def __init__(self, model: GPT, weights: Any = Float32Weights, opset: int = OPSETS[0]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        content = build_onnx(model, opset, weights).SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options)

    def empty_past(self, batch_size: int) -> dict[str, Array]:
        """Keys and values of no tokens."""
        return {
            value.name: np.zeros((batch_size, value.shape[1], 0, value.shape[3]), np.float32)
            for value in self.session.get_inputs()
            if value.name.startswith("past_key_values")
        }

    def __call__(
        self, ids: Array, past: dict[str, Array] | None = None, padding: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Logits and the past of the next call; ``padding`` has the number of places of a row."""
        past = self.empty_past(len(ids)) if past is None else past
        seen = next(iter(past.values())).shape[2]
        padding = np.zeros(len(ids), np.int64) if padding is None else padding
        places = np.arange(seen + ids.shape[1])[None] - padding[:, None]
        inputs = {
            "input_ids": ids,
            "attention_mask": (places >= 0).astype(np.int64),
            "position_ids": places[:, seen:].clip(0),
        }
        logits, *present = self.session.run(None, {**inputs, **past})
        return logits, dict(zip(past, present, strict=True))


@cache
def model_and_runtime(afn: Activation) -> tuple[GPT, Runtime]:
    model = lively_model(VOCABULARY, POSITIONS, afn=afn)
    return model, Runtime(model)


def logits_of(model: GPT, ids: Array) -> Array:
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids)).logits
    assert logits is not None
    return np.asarray(logits)


def random_ids(*shape: int, seed: int = 0, below: int = VOCABULARY) -> Array:
    return np.random.default_rng(seed).integers(below, size=shape, dtype=np.int64)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("afn", ACTIVATIONS)
def test_logits_are_the_models_with_every_opset(afn: Activation, opset: int) -> None:
    model, ids = lively_model(VOCABULARY, POSITIONS, afn=afn), random_ids(2, POSITIONS)
    close(Runtime(model, opset=opset)(ids)[0], logits_of(model, ids))


@pytest.mark.parametrize(
    "shape",
    [
        {"n_layer": 1, "n_head": 1, "n_embd": 5},
        {"n_layer": 3, "n_head": 4, "n_embd": 24, "layer_norm_epsilon": 0.1},
        {"n_positions": 1, "vocab_size": 3},
    ],
)
def test_logits_are_the_models_in_any_shape(shape: dict[str, Any]) -> None:
    model = lively_model(**shape)
    config = model.config
    ids = random_ids(2, config.n_positions, below=config.vocab_size)
    close(Runtime(model)(ids)[0], logits_of(model, ids))


@settings(max_examples=40)
@given(
    afn=st.sampled_from(ACTIVATIONS),
    batch_size=st.integers(1, 3),
    cuts=st.lists(st.integers(1, POSITIONS - 1), unique=True).map(sorted),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_text_read_in_parts_over_the_cache_has_the_logits_of_the_whole(
    afn: Activation, batch_size: int, cuts: list[int], seed: int
) -> None:
    model, runtime = model_and_runtime(afn)
    ids = random_ids(batch_size, POSITIONS, seed=seed)
    past, found = None, []
    for start, end in zip([0, *cuts], [*cuts, POSITIONS], strict=True):
        logits, past = runtime(ids[:, start:end], past)
        found.append(logits)
    close(np.concatenate(found, axis=1), logits_of(model, ids))


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, POSITIONS - 2), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_padded_on_the_left_are_as_each_alone(lengths: list[int], seed: int) -> None:
    model, runtime = model_and_runtime("gelu")
    ids = random_ids(len(lengths), max(lengths) + 2, seed=seed)
    padding = max(lengths) - np.array(lengths)
    logits, past = runtime(ids[:, :-2], padding=padding)
    found = [logits]
    for step in (-2, -1):
        logits, past = runtime(ids[:, [step]], past, padding)
        found.append(logits)
    together = np.concatenate(found, axis=1)
    assert np.isfinite(together).all()
    for row, start in enumerate(padding):
        close(together[row, start:], logits_of(model, ids[row, None, start:])[0])


@pytest.mark.parametrize("weights", [Float32Weights, Int8Weights])
@pytest.mark.parametrize("opset", OPSETS)
def test_the_graph_is_valid_onnx(weights: Any, opset: int) -> None:
    made = build_onnx(lively_model(), opset, weights)
    onnx.checker.check_model(made, full_check=True)
    assert [imported.version for imported in made.opset_import] == [opset]


def test_inputs_and_outputs_have_the_names_and_shapes_of_optimum() -> None:
    session = model_and_runtime("gelu")[1].session
    length, total = "sequence_length", "past_sequence_length + sequence_length"
    heads: list[Any] = ["batch_size", 2, "past_sequence_length", 16]
    caches = [f"{layer}.{part}" for layer in (0, 1) for part in ("key", "value")]
    assert {value.name: value.shape for value in session.get_inputs()} == {
        "input_ids": ["batch_size", length],
        "attention_mask": ["batch_size", total],
        "position_ids": ["batch_size", length],
        **{f"past_key_values.{name}": heads for name in caches},
    }
    heads = [*heads[:2], total, 16]
    assert {value.name: value.shape for value in session.get_outputs()} == {
        "logits": ["batch_size", length, VOCABULARY],
        **{f"present.{name}": heads for name in caches},
    }


def test_one_operator_of_the_runtime_computes_the_activation(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    made = build_onnx(lively_model(), OPSETS[0], Float32Weights)
    onnxruntime.InferenceSession(made.SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("FastGelu") == 2


@pytest.mark.parametrize("weights", [Float32Weights, Int8Weights])
def test_the_token_table_is_stored_once(weights: Any) -> None:
    made = build_onnx(lively_model(), OPSETS[0], weights)
    shapes = [list(weight.dims) for weight in made.graph.initializer]
    assert len([shape for shape in shapes if sorted(shape) == [32, VOCABULARY]]) == 1


def test_equal_weights_make_equal_files() -> None:
    made = [build_onnx(lively_model(), OPSETS[0], Int8Weights) for _ in range(2)]
    assert made[0].SerializeToString() == made[1].SerializeToString()


def greedy(runtime: Runtime, prompt: list[int], new_tokens: int) -> list[int]:
    ids: list[int] = []
    new, past = np.array([prompt]), None
    for _ in range(new_tokens):
        logits, past = runtime(new, past)
        new = logits[:, -1:].argmax(-1)
        ids.append(int(new[0, 0]))
    return ids


@pytest.mark.parametrize("afn", ACTIVATIONS)
def test_greedy_text_over_the_cache_is_what_generate_makes(afn: Activation) -> None:
    tokenizer = Tokenizer.train(["the lazy dog jumps over the fox"] * 3, merges=30)
    model = lively_model(len(tokenizer), 40, afn=afn)
    [[ours]] = LanguageModel(model, tokenizer).complete("the dog", max_new_tokens=30)
    assert len(set(ours.ids)) > 4
    assert greedy(Runtime(model), ours.prompt_ids, 30) == ours.ids


def test_the_bundled_model_writes_the_same_text() -> None:
    lm = load("mini")
    [[ours]] = lm.complete("It was a dark night, and the old man", max_new_tokens=20)
    assert greedy(Runtime(require_gpt(lm.model, "")), ours.prompt_ids, 20) == ours.ids


# ---------------------------------------------------------------- int8


@given(
    matrix=arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    axis=st.sampled_from([0, 1]),
)
def test_a_byte_is_within_half_a_scale(matrix: NDArray[np.float32], axis: int) -> None:
    stored, scales = quantize(matrix, axis)
    whole = stored.astype(np.float64) - ZERO
    assert np.abs(whole).max() <= LARGEST
    assert (np.abs(whole * scales - matrix) <= scales * 0.5001).all()


@pytest.mark.parametrize("afn", ACTIVATIONS)
def test_int8_logits_are_near(afn: Activation) -> None:
    model, ids = lively_model(VOCABULARY, POSITIONS, afn=afn), random_ids(4, POSITIONS)
    expected = logits_of(model, ids)
    error = Runtime(model, Int8Weights)(ids)[0] - expected
    assert 0 < error.std() < 0.1 * expected.std()


def test_int8_steps_over_the_cache_are_near() -> None:
    model, ids = lively_model(VOCABULARY, POSITIONS), random_ids(4, POSITIONS)
    runtime = Runtime(model, Int8Weights)
    first, past = runtime(ids[:, :-1])
    last, _ = runtime(ids[:, -1:], past)
    expected = logits_of(model, ids)
    error = np.concatenate([first, last], axis=1) - expected
    assert error.std() < 0.1 * expected.std()


def test_int8_predicts_text_as_well_as_float32() -> None:
    lm = load("mini")
    tokens = lm.tokenizer.encode((ASSETS / "general.txt").read_text(encoding="utf-8"))
    ids = np.array(tokens[:256])[None]

    def loss(logits: Array) -> float:
        scores, targets = torch.from_numpy(logits[0, :-1]), torch.from_numpy(ids[0, 1:])
        return float(torch.nn.functional.cross_entropy(scores, targets))

    difference = loss(Runtime(lm.model, Int8Weights)(ids)[0]) - loss(logits_of(lm.model, ids))
    assert 0 < abs(difference) < 0.02


def test_a_model_that_fits_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = lively_model(), small_tokenizer()
    monkeypatch.setattr(onnx_folder, "LARGEST_BYTES", 2 * model.num_parameters())
    onnx_folder.write(tmp_path, model, tokenizer, "int8")
    with pytest.raises(CheckpointError, match=r"bytes as float32, and an ONNX file holds .* int8"):
        onnx_folder.write(tmp_path, model, tokenizer, "float32")
