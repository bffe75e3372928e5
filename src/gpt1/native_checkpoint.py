"""From a checkpoint folder, or a torch module, to a `NativeModel`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError
from gpt1.hf_config import read_json
from gpt1.locate import CONFIG, weight_files
from gpt1.native.library import GROUP, NORMS, default_threads, library
from gpt1.native.model import NativeModel, matrix_sizes, supports
from gpt1.native.weights import Arena, Tensor, layout, map_file, pack, unpack

if TYPE_CHECKING:
    from gpt1.backbone import Backbone
    from gpt1.model import GPT


def shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of a GPT, by the names of a checkpoint."""
    d = config.n_embd
    found: dict[str, tuple[int, ...]] = {
        "tokens_embed.weight": (config.vocab_size, d),
        "positions_embed.weight": (config.n_positions, d),
    }
    for layer in range(config.n_layer):
        for name, (inputs, outputs) in matrix_sizes(config).items():
            found[f"h.{layer}.{name}.weight"] = (inputs, outputs)
            found[f"h.{layer}.{name}.bias"] = (outputs,)
        for name in NORMS:
            found |= {f"h.{layer}.{name}.{part}": (d,) for part in ("weight", "bias")}
    return found


def matrices(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """The tensors of a GPT that are quantized, their inputs and outputs."""
    found = {"tokens_embed.weight": (config.n_embd, config.vocab_size)}
    for layer in range(config.n_layer):
        for name, sizes in matrix_sizes(config).items():
            found[f"h.{layer}.{name}.weight"] = sizes
    return found


def open_folder(folder: Path, config: GPTConfig, form: str | None) -> NativeModel | None:
    """Read the weights of a folder, without torch.

    Args:
        folder: With safetensors files.
        config: What its `config.json` says.
        form: One of `gpt1.native.library.FORMATS`; None: as stored.

    Returns:
        The model; None if the library cannot run it, or there is anything uncommon about the
        weights: `gpt1.checkpoint.load_model` then knows what to do with them, or what to say.

    Raises:
        CheckpointError: If a file is damaged.
    """
    if not supports(config):
        return None
    if (stored_form := quantization_of(folder)) is not None:
        if form not in (None, stored_form):
            return None
        return NativeModel(config, read_quantized(folder, config, stored_form), stored_form)
    stored = _read(folder)
    formats = {tensor.format for tensor in stored.values()}
    expected = shapes(config)
    if len(formats) != 1 or {name: t.array.shape for name, t in stored.items()} != expected:
        return None
    return NativeModel(config, stored, form or formats.pop())


def _read(folder: Path) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for file in weight_files(folder):
        for name, tensor in map_file(file).items():
            stored[name.removeprefix("transformer.")] = tensor
    return stored


# ---------------------------------------------------------------- quantized folders

QUANTIZATION = "gpt1_quantization"
"""Key of `config.json` that says how the matrices are quantized."""

SCALES = ".scales"
"""What the name of the scales of a matrix ends with."""


def quantization(form: str) -> dict[str, object]:
    """What `config.json` says of a quantized folder."""
    return {"format": form, "group_size": GROUP}


def quantization_of(folder: Path) -> str | None:
    """How the model in a folder is quantized, "int8" or "int4"; None if it is not.

    Raises:
        CheckpointError: If it was quantized in a way this version does not know.
    """
    stored = read_json(folder / CONFIG).get(QUANTIZATION)
    if stored is None:
        return None
    for form in ("int8", "int4"):
        if stored == quantization(form):
            return form
    raise CheckpointError(
        f"{folder / CONFIG}: {QUANTIZATION} is {stored!r}, which this version of gpt1 does not "
        "know; load the folder with the version that wrote it, or export the model again"
    )


def quantized(model: GPT, form: str) -> dict[str, Tensor]:
    """The tensors of a quantized folder: matrices in a few bits, the others in float32.

    Args:
        model: On the CPU, float32, of a shape the library `supports`.
        form: "int8" or "int4".

    Raises:
        CheckpointError: If a weight is not finite.
    """
    sizes = matrices(model.config)
    found = {}
    for name, tensor in _tensors(model).items():
        if name in sizes:
            arrays = layout(form, *sizes[name])
            assert arrays.scales is not None
            arena = Arena(Arena.size_of((arrays.data, arrays.kind), (arrays.scales, "float16")))
            transposed = name == "tokens_embed.weight"
            threads = default_threads()
            packed = pack(tensor, form, arena, transposed=transposed, threads=threads)
            tensor = Tensor(form, packed.data, packed.scales)
        found[name] = tensor
    return found


def read_quantized(folder: Path, config: GPTConfig, form: str) -> dict[str, Tensor]:
    """The tensors of a quantized folder, as `quantized` made them, mapped into memory.

    Raises:
        CheckpointError: If one is missing, surplus or misshapen, or the file is damaged.
    """
    stored, sizes = _read(folder), matrices(config)
    expected = shapes(config)
    for name, (inputs, outputs) in sizes.items():
        arrays = layout(form, inputs, outputs)
        assert arrays.scales is not None
        expected[name], expected[name + SCALES] = arrays.data, arrays.scales
    wrong = [
        name
        for name in dict.fromkeys([*expected, *stored])
        if name not in stored or stored[name].array.shape != expected.get(name)
    ]
    if wrong:
        raise CheckpointError(
            f"the weights in {folder} do not fit its configuration: {', '.join(wrong[:5])} are "
            "missing, surplus or misshapen; export the model again"
        )
    return {
        name: Tensor(form, stored[name].array, stored[name + SCALES].array)
        if name in sizes
        else stored[name]
        for name in shapes(config)
    }


def read_unquantized(folder: Path, config: GPTConfig, form: str) -> dict[str, Tensor]:
    """The tensors of a quantized folder, back in float32."""
    sizes = matrices(config)
    found = {}
    for name, tensor in read_quantized(folder, config, form).items():
        if name in sizes:
            matrix = unpack(tensor, *sizes[name])
            transposed = name == "tokens_embed.weight"
            tensor = Tensor("float32", np.ascontiguousarray(matrix.T if transposed else matrix))
        found[name] = tensor
    return found


# ---------------------------------------------------------------- torch modules


def runs_natively(model: Backbone) -> bool:
    """Whether the library can stand in for a torch module: a GPT on the CPU, see `supports`."""
    config = model.config
    return isinstance(config, GPTConfig) and model.device.type == "cpu" and supports(config)


def from_module(model: Backbone) -> NativeModel:
    """The weights of a torch module, as they are now, for the library.

    Args:
        model: One that `runs_natively`.
    """
    assert isinstance(model.config, GPTConfig)
    return NativeModel(model.config, _tensors(model), str(model.dtype).removeprefix("torch."))


def fingerprint(model: Backbone) -> int:
    """A hash of the weights of a torch module, to notice that they changed."""
    loaded = library()
    assert loaded is not None
    found = 0
    for tensor in _tensors(model).values():
        array = tensor.array
        found = loaded.gpt1_hash(array.ctypes.data, array.nbytes // 8 * 8, found)
    return found


def _tensors(model: Backbone) -> Mapping[str, Tensor]:
    import torch

    form = str(model.dtype).removeprefix("torch.")
    arrays = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    if model.dtype == torch.bfloat16:
        arrays = {name: tensor.view(torch.uint16) for name, tensor in arrays.items()}
    return {name: Tensor(form, tensor.numpy()) for name, tensor in arrays.items()}
