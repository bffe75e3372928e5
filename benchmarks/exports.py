"""Formats a model can be written in: size of the folder, speed of decoding, perplexity.

gpt1 in float32 is what the others stand beside. Each side decodes the same prompt greedily, batch
1, in a fresh process with as many threads as torch takes, and scores the same windows, each alone:
of the books that were held out when `mini` was trained, where they are, or else of held-out jokes.
Tokens and perplexity of the float32 sides have to agree. A folder counts with its tokenizer and
README.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.child import call
from benchmarks.options import SHARED_DATA, Options
from benchmarks.report import How, Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.checkpoint import load_model
from gpt1.config import GenerationConfig, GPTConfig
from gpt1.evaluation.scoring import score_ids
from gpt1.export.exporting import export_model
from gpt1.generation.decode import Decoder
from gpt1.hf_config import read_config
from gpt1.language_model import QUANTIZED, load
from gpt1.locate import CONFIG
from gpt1.native.library import kernels
from gpt1.native_checkpoint import open_folder
from gpt1.tokenizer import Tokenizer

TITLE = "formats of a model: size, greedy decoding at batch 1, perplexity"
OURS = "gpt1 float32"
SAME_PERPLEXITY = 1e-3
HELD_OUT_BOOKS = ("anne-bronte_agnes-grey", "g-k-chesterton_the-man-who-was-thursday")

Generate = Callable[[list[int], int], list[int]]
"""Prompt and number of new tokens to the new tokens."""

LogProbs = Callable[[list[list[int]]], list[float]]
"""Texts of equal length to the log-probabilities of all their tokens but the first of each."""


class Runtime(NamedTuple):
    """What reads a folder, at work."""

    generate: Generate
    log_probs: LogProbs


class Side(NamedTuple):
    """A format: how a model is written to a folder, and what reads it."""

    write: Callable[[str, Path], object]
    read: Callable[[str], Runtime]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    prompt_tokens: int = 32
    new_tokens: int = 128
    windows: int = 128
    rounds: int = 5


QUICK = Sizes(prompt_tokens=8, new_tokens=16, windows=2, rounds=1)


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    sizes = QUICK if options.quick else Sizes()
    windows = held_out(options, sizes)
    prompt = windows[0][: sizes.prompt_tokens]
    with TemporaryDirectory() as temporary:
        folders = {name: Path(temporary, str(number)) for number, name in enumerate(SIDES)}
        for name, side in SIDES.items():
            side.write(options.model, folders[name])
        megabytes = {name: [folder_mb(folder)] for name, folder in folders.items()}
        shared = {"apart": not options.quick, "threads": torch.get_num_threads()}

        def ask(function: Callable[..., Any], name: str, **arguments: Any) -> Any:
            place = {"side": name, "folder": str(folders[name])}
            return call(function, {**place, **arguments}, **shared).result

        perplexities = {name: [ask(perplexity, name, windows=windows)] for name in SIDES}
        turns = interleave(
            {
                name: partial(ask, decode, name, prompt=prompt, new_tokens=sizes.new_tokens)
                for name in SIDES
            },
            options.rounds or sizes.rounds,
        )
    rates = {name: [rate for rate, _ in turns[name]] for name in SIDES}
    return Report(
        name="exports",
        title=TITLE,
        quick=options.quick,
        rows=[
            *rows("size of the folder", "MB", "times", megabytes),
            *rows("decoding speed", "tokens/s", "times less", rates),
            *rows("perplexity", "", "more", perplexities),
        ],
        same=agreement({name: turns[name][0][1] for name in SIDES}, perplexities),
        settings={
            "model": options.model,
            "prompt_tokens": sizes.prompt_tokens,
            "new_tokens": sizes.new_tokens,
            "scored_tokens": sum(len(window) - 1 for window in windows),
            **{name: metadata.version(name) for name in ("onnxruntime", "ctranslate2")},
        },
    )


def held_out(options: Options, sizes: Sizes) -> list[list[int]]:
    """Held-out text, cut to windows as long as the model can read: the first ones of each part."""
    lm = load(options.model)
    length = lm.model.config.n_positions
    books = [] if options.quick else held_out_books()
    texts = books or [" ".join(options.split()[1])]
    parts = [
        ids[: sizes.windows // len(texts) * length] for ids in lm.tokenizer.encode_batch(texts)
    ]
    starts = [(ids, range(0, len(ids) - length + 1, length)) for ids in parts]
    return [ids[start : start + length] for ids, places in starts for start in places]


def held_out_books() -> list[str]:
    """The books `mini` was not trained on; none where they are not."""
    books = {}
    for file in sorted((SHARED_DATA / "books").glob("*.jsonl.xz")):
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                if any(f'"{name}"' in line[:200] for name in HELD_OUT_BOOKS):
                    book = json.loads(line)
                    books[book["id"]] = book["text"]
    return [books[name] for name in HELD_OUT_BOOKS if name in books]


def rows(measure: str, unit: str, how: How, values: dict[str, list[float]]) -> list[Row]:
    """gpt1 in float32 beside each other side."""
    return [
        Row(measure=measure, unit=unit, ours=values[OURS], beside=name, other=other, how=how)
        for name, other in values.items()
        if name != OURS
    ]


def agreement(
    tokens: dict[str, list[int]], perplexities: dict[str, list[float]]
) -> dict[str, bool]:
    """Whether sides of the same weights say the same."""
    return {
        f"tokens and perplexity of {name}": tokens[name] == tokens[OURS]
        and math.isclose(perplexities[name][0], perplexities[OURS][0], rel_tol=SAME_PERPLEXITY)
        for name in SIDES
        if name.endswith("float32") and name != OURS
    }


def folder_mb(folder: Path) -> float:
    """Size of all files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def decode(side: str, folder: str, prompt: list[int], new_tokens: int) -> tuple[float, list[int]]:
    """Tokens per second, prompt included, of a second call, and the tokens."""
    generate = SIDES[side].read(folder).generate
    generate(prompt, new_tokens)
    seconds, ids = stopwatch(partial(generate, prompt, new_tokens))
    return len(ids) / seconds, ids


def perplexity(side: str, folder: str, windows: list[list[int]]) -> float:
    """Of all tokens but the first of each window."""
    log_probs = SIDES[side].read(folder).log_probs
    found = [*chain.from_iterable(log_probs([window]) for window in windows)]
    return math.exp(-math.fsum(found) / len(found))


# ---------------------------------------------------------------- gpt1


def save(model: str, folder: Path, dtype: str) -> None:
    """A checkpoint folder."""
    load(model, dtype=dtype).save(folder)


def read_gpt1(folder: str) -> Runtime:
    """gpt1 itself: the C++ library where it is there."""
    config = read_config(Path(folder) / CONFIG)
    assert isinstance(config, GPTConfig)
    model = open_folder(Path(folder), config, None) or load_model(folder)

    def generate(prompt: list[int], new_tokens: int) -> list[int]:
        decoder = Decoder(model, [prompt], GenerationConfig(max_new_tokens=new_tokens))
        return [token for step in decoder for _, token in step]

    def log_probs(texts: list[list[int]]) -> list[float]:
        scores = score_ids(model, texts)
        return [value for score in scores for value in score.log_probs if value is not None]

    return Runtime(generate, log_probs)


# ---------------------------------------------------------------- ONNX Runtime


def read_onnx(folder: str) -> Runtime:
    """ONNX Runtime over keys and values."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options)
    empty = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values")
    }

    def read(ids: list[int], past: dict[str, Any], seen: int) -> list[NDArray[np.float32]]:
        end = seen + len(ids)
        inputs = {
            "input_ids": np.array([ids]),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(seen, end)[None],
        }
        found: list[NDArray[np.float32]] = session.run(None, {**inputs, **past})
        return found

    def generate(prompt: list[int], new_tokens: int) -> list[int]:
        new, past, ids, seen = prompt, empty, [], 0
        for _ in range(new_tokens):
            logits, *present = read(new, past, seen)
            past, seen = dict(zip(empty, present, strict=True)), seen + len(new)
            new = [int(logits[0, -1].argmax())]
            ids += new
        return ids

    def log_probs(texts: list[list[int]]) -> list[float]:
        found: list[float] = []
        for ids in texts:
            logits = torch.from_numpy(read(ids, empty, 0)[0][0, :-1])
            chosen = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])
            found += chosen.flatten().tolist()
        return found

    return Runtime(generate, log_probs)


# ---------------------------------------------------------------- CTranslate2


def read_ctranslate2(folder: str) -> Runtime:
    """CTranslate2's generator."""
    import ctranslate2

    generator = ctranslate2.Generator(folder, intra_threads=torch.get_num_threads())
    tokenizer = Tokenizer.load(folder)

    def generate(prompt: list[int], new_tokens: int) -> list[int]:
        [result] = generator.generate_batch(
            [tokenizer.pieces(prompt)],
            max_length=new_tokens,
            include_prompt_in_result=False,
            end_token=[],
        )
        ids: list[int] = result.sequences_ids[0]
        return ids

    def log_probs(texts: list[list[int]]) -> list[float]:
        results = generator.score_batch([tokenizer.pieces(ids) for ids in texts])
        return [value for result in results for value in result.log_probs]

    return Runtime(generate, log_probs)


def exported(format: str, dtype: str | None, read: Callable[[str], Runtime]) -> Side:
    """A format of `gpt1 export`."""
    return Side(partial(export_model, format=format, dtype=dtype), read)


SIDES = {
    OURS: Side(partial(save, dtype="float32"), read_gpt1),
    "gpt1 bfloat16": Side(partial(save, dtype="bfloat16"), read_gpt1),
    **{f"gpt1 {form}": exported(form, None, read_gpt1) for form in QUANTIZED if kernels()},
    "ONNX Runtime float32": exported("onnx", "float32", read_onnx),
    "ONNX Runtime int8": exported("onnx", "int8", read_onnx),
    "CTranslate2 float32": exported("ctranslate2", "float32", read_ctranslate2),
    "CTranslate2 int8": exported("ctranslate2", "int8", read_ctranslate2),
}
