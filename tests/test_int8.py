"""Matrices of int8 where PyTorch computes, beside the C++ library's and sums in float64."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import gpt1
from gpt1 import int8
from gpt1.config import GenerationConfig, GPTConfig, LSTMConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.generation import static_step
from gpt1.generation.decode import Decoder
from gpt1.int8 import Int8Conv1D, Int8GPT, Int8Matrix, quantize
from gpt1.language_model import LanguageModel
from gpt1.lstm import LSTM
from gpt1.model import GPT, Conv1D
from gpt1.native.library import MATRICES, kernels
from gpt1.native.weights import Arena, pack, unpack
from gpt1.native.weights import Tensor as Stored
from lively import lively_model

TEXT = "It was a dark night, and the old man went home."

matrices = st.tuples(st.integers(1, 40), st.integers(1, 150), st.integers(0, 99)).map(
    lambda sizes: torch.randn(sizes[:2], generator=torch.Generator().manual_seed(sizes[2]))
)


def floats(matrix: Int8Matrix) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What numbers and scales stand for, by their definition."""
    numbers, scales = matrix.numbers.numpy(), matrix.scales.numpy()
    whole = numbers.astype(np.float64) * scales.astype(np.float64)[..., None]
    return whole.reshape(len(whole), -1)[:, : matrix.inputs]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are multiplied as on a GPU: by a compiled product."""
    monkeypatch.setattr(int8, "COMPILES", {"cpu"})
    int8._compiled.cache_clear()


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are multiplied by the same sums, which nobody compiles."""
    monkeypatch.setattr(int8, "COMPILES", {"cpu"})
    monkeypatch.setattr(int8, "_compiled", lambda function: function)


@pytest.mark.skipif(kernels() is None, reason="the C++ library was not built")
@given(matrices, st.sampled_from([1.0, 1e-6, 1e9]))
def test_the_numbers_are_the_librarys(matrix: Tensor, size: float) -> None:
    matrix = matrix * size
    matrix[0] = 0.0
    stored = Stored("float32", matrix.numpy())
    packed = pack(stored, "int8", Arena(2**20), transposed=True)
    theirs = unpack(Stored("int8", packed.data, packed.scales), *matrix.shape[::-1]).T
    ours = Int8Matrix(matrix, torch.float32)
    assert np.array_equal(ours.matrix.numpy(), theirs)
    assert np.array_equal(floats(ours), theirs)


@given(matrices)
def test_what_is_quantized_already_stays(matrix: Tensor) -> None:
    once = Int8Matrix(matrix, torch.float32)
    again = Int8Matrix(once.matrix, torch.float32)
    assert torch.equal(once.numbers, again.numbers)
    assert torch.equal(once.scales, again.scales)


@pytest.mark.parametrize("size", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(size: float) -> None:
    with pytest.raises(CheckpointError, match="a weight is not a finite number"):
        quantize(torch.tensor([[1.0, size]]))


@pytest.mark.usefixtures("summed")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(matrices, st.integers(1, 3), st.sampled_from([torch.float32, torch.bfloat16]))
def test_products_are_those_of_the_numbers(matrix: Tensor, rows: int, dtype: torch.dtype) -> None:
    quantized = Int8Matrix(matrix, dtype)
    x = torch.randn(rows, 1, matrix.shape[1], generator=torch.Generator().manual_seed(rows))
    product = quantized.product(x.to(dtype))
    assert product.shape == (rows, 1, len(matrix))
    assert product.dtype == dtype
    wide, whole = x.to(dtype).double().numpy(), floats(quantized)
    sizes = np.abs(wide) @ np.abs(whole).T
    rounding = 2**-7 if dtype == torch.bfloat16 else 2**-20
    assert (np.abs(product.double().numpy() - wide @ whole.T) <= rounding * sizes).all()


@pytest.mark.skipif(
    " " in torch.__path__[0], reason="PyTorch cannot compile where the path to it holds a space"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own
@pytest.mark.usefixtures("compiled")
def test_compiled_products_are_the_plain_ones(caplog: pytest.LogCaptureFixture) -> None:
    layer = Conv1D(96, 40)
    torch.nn.init.normal_(layer.weight)
    quantized = Int8Conv1D(layer)
    with torch.inference_mode():
        row = torch.randn(1, 1, 96)
        plain = row @ quantized.weight + layer.bias
        torch.testing.assert_close(quantized(row), plain, rtol=1e-5, atol=1e-5)
        rows = torch.randn(2, 5, 96)
        matrix = int8.matrix_of(quantized.numbers, quantized.scales, torch.float32)[:, :96]
        assert torch.equal(quantized.matrix, matrix)
        assert torch.equal(quantized(rows), torch.nn.functional.linear(rows, matrix) + layer.bias)
    assert "int8 without compiled kernels" not in caplog.text


@pytest.mark.usefixtures("compiled")
def test_without_a_compiler_the_product_is_made_plainly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile(function: object) -> object:
        def fail(*_: object) -> None:
            raise RuntimeError("backend='inductor' raised:\nno C++ compiler\n\nmore")

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    quantized = Int8Matrix(torch.randn(5, 70), torch.float32)
    row = torch.randn(1, 70)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(quantized.product(row), row @ quantized.matrix.T)
    assert [record.message for record in caplog.records] == [
        "int8 without compiled kernels, which is slower: backend='inductor' raised: no C++ compiler"
    ] * 2  # one for each of the two functions


def rounded(model: GPT) -> GPT:
    """A model in float with the weights of the one in int8."""
    quantized, copy = Int8GPT(model), GPT(model.config).eval()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        copy.tokens_embed.weight.copy_(quantized.tokens_embed.weight)
        for block, other in zip(copy.h, quantized.h, strict=True):
            for name in MATRICES:
                to, of = block.get_submodule(name).weight, other.get_submodule(name).weight
                assert isinstance(to, Tensor)
                assert isinstance(of, Tensor)
                to.copy_(of)
    return copy


def test_a_model_says_what_its_rounded_weights_say() -> None:
    model = lively_model()
    quantized, plain = Int8GPT(model), rounded(model)
    ids = torch.randint(80, (3, 9))
    with torch.inference_mode():
        torch.testing.assert_close(quantized(ids).logits, plain(ids).logits)
        torch.testing.assert_close(quantized(ids, labels=ids).loss, plain(ids, labels=ids).loss)
        assert torch.equal(quantized.tokens_embed(ids), plain.tokens_embed(ids))
        logits = model(ids).logits
        far = (quantized(ids).logits - logits).std()
    assert 0 < far < 0.1 * logits.std()
    assert (quantized.dtype, quantized.device) == (model.dtype, model.device)


@pytest.mark.usefixtures("summed")
@pytest.mark.parametrize("static", [False, True])
def test_texts_are_those_of_the_rounded_weights(
    static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT1_KERNELS", "none")
    if static:
        monkeypatch.setitem(static_step.CAPTURES, "cpu", lambda _: lambda step: step)

    def texts(model: GPT, prompts: list[list[int]]) -> list[list[int]]:
        ids: list[list[int]] = [[] for _ in prompts]
        for step in Decoder(model, prompts, GenerationConfig(max_new_tokens=24)):
            for sequence, token in step:
                ids[sequence].append(token)
        return ids

    model = lively_model()
    for prompts in ([[3, 1, 4]], [[1, 5], [9, 2, 6, 5]]):
        assert texts(Int8GPT(model), prompts) == texts(rounded(model), prompts)


def test_it_is_a_quarter_of_float32_and_cannot_be_trained() -> None:
    model = GPT(GPTConfig(vocab_size=4096, n_positions=8, n_embd=256, n_layer=2, n_head=4))
    quantized = Int8GPT(model)
    numbers = sum(t.nbytes for t in (*quantized.parameters(), *quantized.buffers()))
    assert numbers < 0.28 * sum(t.nbytes for t in model.parameters())
    assert not any(parameter.requires_grad for parameter in quantized.parameters())


def test_load_keeps_it_quantized_where_torch_computes(tmp_path: Path) -> None:
    lm = gpt1.load("mini", quantize="int8", backend="torch")
    assert lm.quantized == "int8"
    assert isinstance(lm.generator, Int8GPT)
    assert not isinstance(lm.model, Int8GPT)  # a copy in float, to look at
    whole = gpt1.load("mini", backend="torch")
    ids = lm.tokenizer.encode(TEXT)
    assert lm.score(TEXT).sum == pytest.approx(whole.score(TEXT).sum, abs=0.02 * len(ids))
    assert lm.score(TEXT) != whole.score(TEXT)
    gpt1.export_model("mini", tmp_path / "int8", format="int8")
    stored = gpt1.load(tmp_path / "int8", quantize="int8", backend="torch")
    assert stored.score(TEXT) == lm.score(TEXT)
    new = {"max_new_tokens": 20}
    floats = gpt1.load(tmp_path / "int8", backend="torch")
    assert lm.generate(TEXT, **new) == floats.generate(TEXT, **new)  # type: ignore[call-overload]
    beams = {"num_beams": 2, "max_new_tokens": 5}
    assert lm.generate(TEXT, **beams).startswith("it was")  # type: ignore[call-overload]


def test_activations_have_the_format_asked_for() -> None:
    lm = gpt1.load("mini", quantize="int8", dtype="bfloat16", backend="torch")
    assert lm.generator.dtype == torch.bfloat16  # type: ignore[union-attr]
    whole = gpt1.load("mini").score(TEXT)
    assert lm.score(TEXT).sum == pytest.approx(whole.sum, abs=0.05 * len(whole.ids))


def test_what_cannot_be_quantized_is_refused(tmp_path: Path) -> None:
    tokenizer = gpt1.load("mini").tokenizer
    lstm = LSTM(LSTMConfig(vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=32))
    LanguageModel(lstm, tokenizer).save(tmp_path / "lstm")
    with pytest.raises(ConfigError, match=r"quantize is 'int8' but .* it is an LSTM"):
        gpt1.load(tmp_path / "lstm", quantize="int8", backend="torch")
    gpt1.export_model("mini", tmp_path / "int4", format="int4")
    with pytest.raises(ConfigError, match="holds a model in int4"):
        gpt1.load(tmp_path / "int4", quantize="int8", backend="torch")
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used here"):
        gpt1.load("mini", quantize="int8", device="nowhere")
