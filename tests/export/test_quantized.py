"""Folders of int8 and int4: written, read by the C++ library, and read by torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import gpt1
from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.export.exporting import export_model
from gpt1.language_model import LanguageModel
from gpt1.model import GPT
from gpt1.native.library import kernels

needs_library = pytest.mark.skipif(kernels() is None, reason="the C++ kernels were not built")
each_form = pytest.mark.parametrize("form", ["int8", "int4"])
TEXT = "The old man looked at the sea, and the sea looked back."


@pytest.fixture(scope="module", params=["int8", "int4"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if kernels() is None:
        pytest.skip("the C++ kernels were not built")
    folder = tmp_path_factory.mktemp("exported") / "a name" / request.param
    folder.parent.mkdir()
    export_model("mini", folder, format=request.param)
    return folder


def test_it_is_the_model_quantized_when_loaded(exported: Path) -> None:
    stored, made = gpt1.load(exported), gpt1.load("mini", quantize=exported.name)
    assert stored.quantized == made.quantized == exported.name
    assert stored.score(TEXT) == made.score(TEXT)
    assert stored.generate(TEXT, max_new_tokens=20) == made.generate(TEXT, max_new_tokens=20)


def test_torch_reads_the_same_weights(exported: Path) -> None:
    """But for the rounding of what goes into a product, which is only the library's."""
    lm = gpt1.load(exported)
    ids = lm.tokenizer.encode(TEXT)
    whole = gpt1.load("mini").score(TEXT).sum
    plain = gpt1.load(exported, backend="torch")
    assert plain.quantized is None
    assert isinstance(plain.model, GPT)
    assert plain.score(TEXT).sum == pytest.approx(lm.score(TEXT).sum, abs=0.02 * len(ids))
    bound = {"int8": 0.01, "int4": 0.2}[exported.name]
    assert plain.score(TEXT).sum == pytest.approx(whole, abs=bound * len(ids))
    with torch.no_grad():
        for one, other in zip(lm.model.parameters(), plain.model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_it_is_as_small_as_it_says(exported: Path) -> None:
    bits = {"int8": 8.7, "int4": 4.8}[exported.name]
    size = (exported / "model.safetensors").stat().st_size
    assert size < gpt1.load("mini").model.num_parameters() * bits / 8


def test_changes_of_the_float_copy_change_nothing(exported: Path) -> None:
    lm = gpt1.load(exported)
    before = lm.score(TEXT)
    with torch.no_grad():
        lm.model.tokens_embed.weight.zero_()
    assert lm.score(TEXT) == before


def test_another_precision_of_it_is_refused(exported: Path) -> None:
    other = "int4" if exported.name == "int8" else "int8"
    with pytest.raises(ConfigError, match=f"quantize is '{other}' but .* holds a model in"):
        gpt1.load(exported, quantize=other)
    with pytest.raises(ConfigError, match=r"dtype is 'float16' but .* holds a model in"):
        gpt1.load(exported, dtype="float16")


def test_what_does_not_fit_is_named(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    arrays = load_file(tmp_path / "model.safetensors")
    name = "h.0.attn.c_attn.weight.scales"
    for changed in ({name: arrays[name][:1]}, {"more": np.zeros(1, np.float32)}):
        save_file({**arrays, **changed}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match="are missing, surplus or misshapen"):
            gpt1.load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["gpt1_quantization"] = {"format": "int2", "group_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="which this version of gpt1 does not know"):
        gpt1.load(tmp_path)


@needs_library
@each_form
def test_a_width_the_library_cannot_run_is_refused(form: str, tmp_path: Path) -> None:
    config = GPTConfig(
        vocab_size=gpt1.load("mini").tokenizer.vocab_size,
        n_positions=16,
        n_embd=24,
        n_layer=1,
        n_head=1,
    )
    LanguageModel(GPT(config), gpt1.load("mini").tokenizer).save(tmp_path / "odd")
    with pytest.raises(ConfigError, match="multiples of 16; here n_embd is 24"):
        export_model(tmp_path / "odd", tmp_path / "out", format=form)
    with pytest.raises(ConfigError, match=f"quantize is '{form}' but cannot be used.*n_embd is 24"):
        gpt1.load(tmp_path / "odd", quantize=form)
