"""The authors' ten shards: order and shapes as released, refused when they do not fit."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt1.checkpoint import load_model
from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError
from gpt1.model import GPT
from gpt1.openai_shards import SHARDS, infer_config, is_release, read, write

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=128, n_positions=6, vocab_size=11)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG)


@pytest.fixture
def release(tmp_path: Path, model: GPT) -> Path:
    write(tmp_path, model)
    return tmp_path


def by_hand(shapes: list[list[int]]) -> list[np.ndarray]:
    """Tensors whose every number tells its place in the release's list."""
    return [np.full(shape, number, dtype=np.float32) for number, shape in enumerate(shapes)]


def write_by_hand(folder: Path, arrays: list[np.ndarray], cuts: list[int]) -> None:
    flat = np.concatenate([array.ravel() for array in arrays])
    for name, part in zip(SHARDS, np.split(flat, cuts), strict=True):
        np.save(folder / name, part)
    shapes = [list(array.shape) for array in arrays]
    (folder / "params_shapes.json").write_text(json.dumps(shapes))


def test_tensors_are_named_in_the_order_of_the_release(tmp_path: Path) -> None:
    d = 4
    shapes = [[3, d], [5, d]]
    shapes += [[1, d, 3 * d], [3 * d], [1, d, d], [d], [d], [d]]
    shapes += [[1, d, 4 * d], [4 * d], [1, 4 * d, d], [d], [d], [d]]
    write_by_hand(tmp_path, by_hand(shapes), cuts=[1, 2, 30, 31, 90, 91, 92, 150, 200])
    assert [(name, int(tensor.unique())) for name, tensor in read(tmp_path).items()] == [
        ("positions_embed.weight", 0),
        ("tokens_embed.weight", 1),
        ("h.0.attn.c_attn.weight", 2),
        ("h.0.attn.c_attn.bias", 3),
        ("h.0.attn.c_proj.weight", 4),
        ("h.0.attn.c_proj.bias", 5),
        ("h.0.ln_1.weight", 6),
        ("h.0.ln_1.bias", 7),
        ("h.0.mlp.c_fc.weight", 8),
        ("h.0.mlp.c_fc.bias", 9),
        ("h.0.mlp.c_proj.weight", 10),
        ("h.0.mlp.c_proj.bias", 11),
        ("h.0.ln_2.weight", 12),
        ("h.0.ln_2.bias", 13),
    ]


def test_reading_what_was_written_gives_the_same_bits(release: Path, model: GPT) -> None:
    tensors = read(release)
    weights = model.state_dict()
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)


def test_ten_float32_shards_of_about_equal_size_are_written(release: Path, model: GPT) -> None:
    shards = [np.load(release / f"params_{number}.npy") for number in range(10)]
    assert {shard.dtype for shard in shards} == {np.dtype(np.float32)}
    assert sum(map(len, shards)) == model.num_parameters()
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_shapes_of_the_release_give_the_config_of_the_paper(shared_data: Path) -> None:
    shapes = json.loads((shared_data / "openai-bpe" / "params_shapes.json").read_text())
    with torch.device("meta"):
        model = GPT()
    ours = [
        [1, *tensor.shape] if tensor.dim() == 2 and name.startswith("h.") else [*tensor.shape]
        for name, tensor in model.state_dict().items()
    ]
    assert sorted(ours) == sorted(shapes)
    assert infer_config(model.state_dict()) == GPTConfig()


def test_shapes_are_listed_as_in_the_release(shared_data: Path, tmp_path: Path) -> None:
    released = json.loads((shared_data / "openai-bpe" / "params_shapes.json").read_text())
    write(tmp_path, GPT(CONFIG))
    ours = json.loads((tmp_path / "params_shapes.json").read_text())
    sizes = {512: 6, 40478: 11, 768: 128, 2304: 384, 3072: 512, 1: 1}
    assert ours == [[sizes[size] for size in shape] for shape in released[: len(ours)]]


def test_a_folder_of_shards_loads_as_a_model(release: Path, model: GPT) -> None:
    assert is_release(release)
    loaded = load_model(release)
    assert loaded.config == CONFIG
    assert not loaded.training
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)


def test_heads_are_64_wide_unless_given(model: GPT) -> None:
    assert infer_config(model.state_dict()).n_head == 2
    assert infer_config(model.state_dict(), n_head=8).n_head == 8


def test_a_width_that_is_no_multiple_of_64_needs_n_head(tmp_path: Path) -> None:
    write(tmp_path, GPT(CONFIG.replace(n_embd=16)))
    with pytest.raises(CheckpointError, match="n_embd 16 is no multiple of the authors' 64; pass"):
        load_model(tmp_path)


def test_what_the_format_cannot_store_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        write(tmp_path, GPT(CONFIG))
        assert caplog.messages == []
        write(tmp_path, GPT(CONFIG.replace(n_head=4, afn="relu")))
    assert caplog.messages == [
        "the authors' format does not store n_head (4), afn (relu); note it elsewhere"
    ]


def test_a_missing_shard_is_named(release: Path) -> None:
    (release / "params_7.npy").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*params_7.npy: .*params_0.npy to par"):
        read(release)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, dtype=np.float64), "params_3.npy holds float64 but must hold one float32"),
        (np.array([{"a": 1}], dtype=object), "cannot read .*params_3.npy: .*Python objects"),
        (np.zeros(5, dtype=np.float32), r"shards in .* hold [\d,]+ numbers but params_shapes.json"),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(
    release: Path, array: np.ndarray, message: str
) -> None:
    np.save(release / "params_3.npy", array, allow_pickle=True)
    with pytest.raises(CheckpointError, match=message):
        read(release)


def test_a_shard_cut_short_is_refused(release: Path) -> None:
    path = release / "params_3.npy"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r"cannot read .*params_3.npy"):
        read(release)


def test_an_archive_in_place_of_a_shard_is_refused(release: Path) -> None:
    with (release / "params_3.npy").open("wb") as file:
        np.savez(file, np.zeros(3, dtype=np.float32))
    with pytest.raises(CheckpointError, match=r"params_3.npy holds NpzFile but must hold one fl"):
        read(release)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[", "cannot read .*params_shapes.json"),
        ("{}", "does not begin with two table shapes"),
        ("[1, 2, 3]", "does not begin with two table shapes"),
        ('[["a", "b"], [1, 2]]', "does not begin with two table shapes"),
        ("[[6, 128], [11, 64]]", r"entry 1 is \[11, 64\], expected \[11, 128\]"),
        ("[[6, 8], [11, 8], [1, 8, 24]]", "not describe a GPT-1: .* it has 3 entries"),
    ],
)
def test_shapes_that_describe_no_gpt_are_refused(release: Path, text: str, message: str) -> None:
    (release / "params_shapes.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read(release)
