"""CTranslate2 reads the folder and computes what the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt1.export.ctranslate2_folder import write
from gpt1.language_model import LanguageModel, load
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from lively import lively_model, small_tokenizer

ctranslate2 = pytest.importorskip("ctranslate2", reason="of the extra export")

TEXTS = ["the lazy dog jumps over the fox", "a dog"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([TEXTS[0]] * 3, merges=30)


def generator(folder: Path, model: GPT, tokenizer: Tokenizer, dtype: str = "float32") -> Any:
    write(folder, model, tokenizer, dtype)
    return ctranslate2.Generator(str(folder), intra_threads=1)


def greedy(runtime: Any, prompts: list[list[str]], new_tokens: int) -> list[list[int]]:
    results = runtime.generate_batch(
        prompts, max_length=new_tokens, include_prompt_in_result=False, end_token=[]
    )
    return [result.sequences_ids[0] for result in results]


def assert_same_texts(runtime: Any, lm: LanguageModel, prompts: list[str], new_tokens: int) -> None:
    ours = [completion for [completion] in lm.complete(prompts, max_new_tokens=new_tokens)]
    pieces = [lm.tokenizer.pieces(completion.prompt_ids) for completion in ours]
    assert greedy(runtime, pieces, new_tokens) == [completion.ids for completion in ours]


def log_probs(runtime: Any, lm: LanguageModel, texts: list[str]) -> list[list[float]]:
    pieces = [lm.tokenizer.pieces(lm.tokenizer.encode(text)) for text in texts]
    return [result.log_probs for result in runtime.score_batch(pieces)]


def scores(lm: LanguageModel, texts: list[str]) -> list[Any]:
    return [score.log_probs[1:] for score in lm.score(texts)]


@pytest.mark.parametrize(
    "shape",
    [
        *({"afn": afn} for afn in ("gelu", "relu", "silu")),
        {"n_layer": 3, "n_head": 4, "n_embd": 24, "layer_norm_epsilon": 0.1},
    ],
)
def test_text_and_log_probabilities_are_the_models(
    tmp_path: Path, tokenizer: Tokenizer, shape: dict[str, Any]
) -> None:
    lm = LanguageModel(lively_model(len(tokenizer), 40, **shape), tokenizer)
    runtime = generator(tmp_path, lm.model, tokenizer)
    assert_same_texts(runtime, lm, TEXTS, 20)
    for found, expected in zip(log_probs(runtime, lm, TEXTS), scores(lm, TEXTS), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_the_bundled_model_writes_the_same_text(tmp_path: Path) -> None:
    lm, text = load("mini"), "It was a dark night, and the old man"
    runtime = generator(tmp_path, lm.model, lm.tokenizer)
    assert_same_texts(runtime, lm, [text], 20)
    np.testing.assert_allclose(
        log_probs(runtime, lm, [text]), scores(lm, [text]), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 0.005), ("int8", 0.05)])
def test_rounded_weights_give_near_log_probabilities_in_smaller_files(
    tmp_path: Path, tokenizer: Tokenizer, dtype: str, bound: float
) -> None:
    lm = LanguageModel(lively_model(len(tokenizer), 40), tokenizer)
    write(tmp_path, lm.model, tokenizer, dtype)
    # The processor may know no float16, of which CTranslate2 would warn.
    runtime = ctranslate2.Generator(str(tmp_path), compute_type="float32")
    [found], [expected] = log_probs(runtime, lm, TEXTS[:1]), scores(lm, TEXTS[:1])
    error = np.abs(np.array(found) - np.array(expected)).max()
    assert 0 < error < bound
    size_bytes = (tmp_path / "model.bin").stat().st_size
    assert size_bytes < {"float16": 0.6, "int8": 0.4}[dtype] * 4 * lm.model.num_parameters()


def test_int8_products_give_near_log_probabilities(tmp_path: Path) -> None:
    lm, text = load("mini"), "It was a dark night, and the old man came to the door."
    runtime = generator(tmp_path, lm.model, lm.tokenizer, "int8")
    assert runtime.compute_type.startswith("int8")
    [found], [expected] = log_probs(runtime, lm, [text]), scores(lm, [text])
    assert 0 < np.abs(np.array(found) - np.array(expected)).max() < 0.3
    assert abs(np.mean(found) - np.mean(expected)) < 0.03


def test_rounding_leaves_the_model_as_it_was(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = lively_model(len(tokenizer))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    write(tmp_path, model, tokenizer, "int8")
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_end_of_text_ends_a_text(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    model = always_next(len(tokenizer), tokenizer.end_of_text_id or 0)
    lm = LanguageModel(model, tokenizer)
    runtime = generator(tmp_path, model, tokenizer)
    pieces = tokenizer.pieces(tokenizer.encode("the dog"))
    [result] = runtime.generate_batch([pieces], max_length=9, include_prompt_in_result=False)
    assert result.sequences_ids[0] == lm.complete("the dog", max_new_tokens=9)[0][0].ids == []


def always_next(vocab_size: int, token: int) -> GPT:
    """A model that says the same token after anything."""
    model = lively_model(vocab_size)
    last: Any = model.h[-1]
    with torch.no_grad():
        last.ln_2.weight.zero_()
        last.ln_2.bias.copy_(model.tokens_embed.weight[token])
        model.tokens_embed.weight[token] *= 10
    return model


def test_rows_of_the_table_without_a_piece_get_a_name(tmp_path: Path, tokenizer: Tokenizer) -> None:
    size = len(tokenizer)
    lm = LanguageModel(lively_model(size + 2), tokenizer)
    runtime = generator(tmp_path, lm.model, tokenizer)
    found = log_probs(runtime, lm, TEXTS[1:])
    np.testing.assert_allclose(found, scores(lm, TEXTS[1:]), atol=1e-4, rtol=1e-4)
    assert f'"<row {size + 1}>"' in (tmp_path / "vocabulary.json").read_text(encoding="utf-8")


def test_a_text_longer_than_the_positions_is_refused_by_the_runtime(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    runtime = generator(tmp_path, lively_model(len(tokenizer), 16), tokenizer)
    with pytest.raises(RuntimeError, match="No position encodings are defined for positions >= 16"):
        greedy(runtime, [tokenizer.pieces(tokenizer.encode("the dog"))], 30)
