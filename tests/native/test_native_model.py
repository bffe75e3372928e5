"""The C++ network against the torch one, and against itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.native.library import KERNELS, SPAN, kernels
from gpt1.native.model import CHUNK, NativeModel, supports
from gpt1.native.weights import Tensor

pytestmark = pytest.mark.skipif(kernels() is None, reason="the C++ kernels were not built")

CONFIG = GPTConfig(vocab_size=201, n_positions=160, n_embd=96, n_layer=2, n_head=3)
FORMATS = ("float32", "float16", "bfloat16", "int8", "int4")
each_format = pytest.mark.parametrize("form", FORMATS)
each_kernel = pytest.mark.parametrize("instructions", [k for k in KERNELS if kernels(k)])


def torch_model(config: GPTConfig = CONFIG) -> GPT:
    """Random weights, none of them 0 or 1, of a size that makes scores differ."""
    generator = torch.Generator().manual_seed(0)
    model = GPT(config).eval()
    model.reset_parameters(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def tensors(model: GPT) -> dict[str, Tensor]:
    return {name: Tensor("float32", p.numpy()) for name, p in model.state_dict().items()}


def native(config: GPTConfig = CONFIG, form: str = "float32", **options: int | str) -> NativeModel:
    return NativeModel(config, tensors(torch_model(config)), form, **options)  # type: ignore[arg-type]


def text(length: int, seed: int = 0, vocab_size: int = CONFIG.vocab_size) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, vocab_size, length).tolist()
    return ids


def read_whole(model: NativeModel, ids: list[int]) -> NDArray[np.float32]:
    """Logits ``(T, V)`` of a text read at once."""
    places = range(len(ids))
    return model.read(model.new_cache(1), ids, [0] * len(ids), places, places)


def expected(ids: list[int], config: GPTConfig = CONFIG) -> NDArray[np.float32]:
    with torch.no_grad():
        logits = torch_model(config)(torch.tensor([ids])).logits
    assert logits is not None
    return logits[0].numpy()


@each_kernel
@pytest.mark.parametrize("afn", ["gelu", "relu", "silu"])
@pytest.mark.parametrize(("n_embd", "n_head"), [(16, 1), (64, 2), (96, 3), (144, 3), (256, 4)])
def test_logits_are_those_of_torch(instructions: str, afn: str, n_embd: int, n_head: int) -> None:
    config = CONFIG.replace(afn=afn, n_embd=n_embd, n_head=n_head)
    ids = text(50)
    found = read_whole(native(config, instructions=instructions), ids)
    np.testing.assert_allclose(found, expected(ids, config), atol=2e-5, rtol=0)


@each_kernel
@pytest.mark.parametrize(
    ("form", "bound"), [("float16", 2e-3), ("bfloat16", 2e-2), ("int8", 0.05), ("int4", 0.5)]
)
def test_lower_precision_is_near(instructions: str, form: str, bound: float) -> None:
    """The bounds are relative to the spread of the logits."""
    ids = text(50)
    whole = expected(ids)
    off = read_whole(native(form=form, instructions=instructions), ids) - whole
    assert 0 < off.std() < bound * whole.std()


@each_kernel
@each_format
@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(1, 40) | st.integers(1, 150), min_size=1, max_size=4),
    threads=st.integers(1, 3),
    chance=st.integers(0, 99).map(random.Random),
)
def test_a_token_has_the_same_bits_however_it_is_read(
    instructions: str, form: str, lengths: list[int], threads: int, chance: random.Random
) -> None:
    """Texts read in pieces, one beside the other, are as if each was read alone and at once."""
    texts = [text(length, seed) for seed, length in enumerate(lengths)]
    plain = native(form=form, threads=1, instructions=instructions)
    alone = [read_whole(plain, whole) for whole in texts]
    model = native(form=form, threads=threads, instructions=instructions)
    cache, seen = model.new_cache(len(texts)), [0] * len(texts)
    while unread := [row for row, whole in enumerate(texts) if seen[row] < len(whole)]:
        tokens = []
        for row in unread:
            end = chance.randint(seen[row], len(texts[row]))
            tokens += [(texts[row][place], row, place) for place in range(seen[row], end)]
            seen[row] = end
        if tokens:
            ids, rows, places = zip(*tokens, strict=True)
            logits = model.read(cache, ids, rows, places, range(len(ids)))
            for found, row, place in zip(logits, rows, places, strict=True):
                np.testing.assert_array_equal(found, alone[row][place])


@pytest.mark.skipif(kernels("amx") is None, reason="this processor has no AMX")
@pytest.mark.parametrize("form", ["int8", "int4"])
@pytest.mark.parametrize(("n_embd", "n_head"), [(16, 1), (96, 3), (208, 1)])
def test_tiles_of_amx_give_the_bits_of_avx512(form: str, n_embd: int, n_head: int) -> None:
    config, ids = CONFIG.replace(n_embd=n_embd, n_head=n_head), text(150)
    models = [native(config, form, instructions=name) for name in ("amx", "avx512")]
    for count in (8, 9, 16, 17, 39, 150):
        found, wanted = (read_whole(model, ids[:count]) for model in models)
        np.testing.assert_array_equal(found, wanted)


@each_kernel
@pytest.mark.parametrize(("n_embd", "n_head"), [(16, 1), (96, 3), (208, 1), (800, 5)])
def test_products_with_bfloat16_do_not_round_what_they_multiply_to_it(
    instructions: str, n_embd: int, n_head: int
) -> None:
    """The output layer beside float64: what is multiplied keeps 16 bits or more."""
    config, ids = CONFIG.replace(n_embd=n_embd, n_head=n_head), text(70)
    model = native(config, "bfloat16", instructions=instructions)
    states, places = np.empty((70, n_embd), np.float32), range(70)
    logits = model.read(model.new_cache(1), ids, [0] * 70, places, places, states=states)
    table = torch_model(config).tokens_embed.weight.detach().bfloat16().double().numpy()
    error = np.abs(logits - states.astype(np.float64) @ table.T)
    assert (error <= 2**-16 * (np.abs(states) @ np.abs(table.T))).all()


def test_more_tokens_than_a_pass_takes() -> None:
    config = CONFIG.replace(n_positions=CHUNK + 40)
    model, ids = native(config), text(CHUNK + 30)
    wanted = [0, CHUNK - 1, CHUNK, CHUNK + 29]
    states = np.empty((4, config.n_embd), np.float32)
    rows, places = [0] * len(ids), range(len(ids))
    found = model.read(model.new_cache(1), ids, rows, places, wanted, states=states)
    np.testing.assert_allclose(found, expected(ids, config)[wanted], atol=2e-5, rtol=0)
    table = torch_model(config).tokens_embed.weight.detach().numpy()
    np.testing.assert_allclose(states @ table.T, found, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kept", [1, SPAN - 1, SPAN, SPAN + 1, 2 * SPAN + 5])
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_the_beginning_of_a_row_can_be_copied(form: str, kept: int) -> None:
    model, ids = native(form=form), text(150)
    cache, places = model.new_cache(2), range(150)
    model.read(cache, ids, [0] * 150, places, [])
    cache.copy_row(0, 1, kept)
    rest = list(places)[kept:]
    found = model.read(cache, ids[kept:], [1] * len(rest), rest, range(len(rest)))
    np.testing.assert_array_equal(found, read_whole(model, ids)[kept:])


@each_kernel
@each_format
def test_the_cache_holds_the_keys_and_values_of_torch(instructions: str, form: str) -> None:
    """Rounded to float16 where the matrices are not of float32."""
    model, ids = native(form=form, instructions=instructions), text(100)
    cache, places = model.new_cache(1), range(100)
    model.read(cache, ids, [0] * 100, places, [])
    of_torch = torch_model()
    expected_cache = of_torch.new_cache(1)
    with torch.no_grad():
        of_torch(torch.tensor([ids]), cache=expected_cache)
    keys, values = expected_cache.data[0, :, 0, :, :100].numpy()
    found_keys = cache.keys[0, 0].swapaxes(2, 3).reshape(CONFIG.n_head, -1, CONFIG.head_size)
    bound = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 3e-2, "int8": 0.1, "int4": 1.0}[form]
    for found, wanted in [(found_keys, keys), (cache.values[0, 0], values)]:
        assert found.dtype == ("float32" if form == "float32" else "float16")
        np.testing.assert_allclose(found[:, :100], wanted, atol=bound, rtol=1e-3)


@each_kernel
def test_rounding_to_float16_is_to_the_nearest_and_ends_at_its_largest_number(
    instructions: str,
) -> None:
    """Both caches are of the same matrices, which float16 can hold."""
    weights = {name: tensor.array.copy() for name, tensor in tensors(torch_model()).items()}
    weights["h.0.attn.c_attn.weight"][:, 1::5] *= 2**-16
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    stored = {name: Tensor("float32", array.astype(np.float32)) for name, array in halves.items()}
    stored["h.0.attn.c_attn.bias"].array[::5] = 1e5
    stored["h.0.attn.c_attn.bias"].array[1::5] = 2e-6
    ids, caches = text(100), []
    for form in ("float32", "float16"):
        model = NativeModel(CONFIG, stored, form, instructions=instructions)
        caches.append(model.new_cache(1))
        logits = model.read(caches[-1], ids, [0] * 100, range(100), range(100))
        assert np.isfinite(logits).all()
    exact, rounded = caches
    assert 0 < exact.keys[exact.keys > 0].min() < np.finfo(np.float16).tiny
    for wide, narrow in [(exact.keys, rounded.keys), (exact.values, rounded.values)]:
        np.testing.assert_array_equal(narrow[0], wide[0].clip(-65504, 65504).astype(np.float16))


@pytest.mark.parametrize(("n_embd", "n_head"), [(24, 1), (32, 4), (40, 5)])
def test_widths_that_do_not_fit_the_vectors_are_left_to_torch(n_embd: int, n_head: int) -> None:
    assert not supports(CONFIG.replace(n_embd=n_embd, n_head=n_head))
    assert supports(CONFIG)
