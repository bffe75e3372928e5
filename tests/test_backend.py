"""What computes on a CPU: the C++ library without torch, and torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpt1
from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.language_model import LanguageModel
from gpt1.lstm import LSTM, LSTMConfig
from gpt1.model import GPT
from gpt1.native.library import kernels

pytestmark = pytest.mark.skipif(kernels() is None, reason="the C++ kernels were not built")

PROMPTS = ["The old man looked at", "It was", "She said that the sea", '"Come in," said']
TEXT = "The old man looked at the sea, and the sea looked back."


@pytest.mark.parametrize(
    "code",
    [
        "import gpt1; lm = gpt1.load('mini'); lm.generate('It was', max_new_tokens=3); "
        "lm.generate('It was', max_new_tokens=3, top_k=5, seed=0, logprobs=1)",
        "from gpt1.cli.main import main; "
        "main(['generate', 'It was', '--max-new-tokens', '3', '--quantize', 'int8'])",
    ],
)
def test_generating_loads_no_torch(code: str) -> None:
    code += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.9, "top_k": 40, "seed": 0, "n": 3},
        {"temperature": 1.1, "top_p": 0.9, "seed": 1, "repetition_penalty": 1.2},
        {"no_repeat_ngram_size": 2, "bad_words": ["old"], "min_new_tokens": 9},
    ],
)
def test_both_backends_write_the_same(settings: dict[str, object]) -> None:
    """Their scores differ in the last bits only, so that a choice differs hardly ever."""
    ours, theirs = gpt1.load("mini"), gpt1.load("mini", backend="torch")
    options = {"max_new_tokens": 40, **settings}
    assert ours.generate(PROMPTS, **options) == theirs.generate(PROMPTS, **options)  # type: ignore[arg-type]


def test_both_backends_slide_alike_beyond_the_window() -> None:
    lm, count = gpt1.load("mini"), 300
    assert lm.model.config.n_positions < count
    other = gpt1.load("mini", backend="torch")
    assert lm.generate("It was", max_new_tokens=count) == other.generate(
        "It was", max_new_tokens=count
    )


def test_both_backends_score_alike() -> None:
    ours, theirs = gpt1.load("mini"), gpt1.load("mini", backend="torch")
    texts = [TEXT, "", "a", " ".join([TEXT] * 40)]
    for one, other in zip(ours.score(texts), theirs.score(texts), strict=True):
        assert one.ids == other.ids
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert ours.perplexity([TEXT]).perplexity == pytest.approx(
        theirs.perplexity([TEXT]).perplexity, rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_near(dtype: str) -> None:
    whole, half = gpt1.load("mini").score(TEXT), gpt1.load("mini", dtype=dtype).score(TEXT)
    assert half.sum == pytest.approx(whole.sum, abs=0.5)
    assert half.sum != whole.sum
    lm = gpt1.load("mini", dtype=dtype)
    assert lm.model.dtype == getattr(torch, dtype)
    assert lm.score(TEXT) == half  # also once the torch module is there


def test_a_change_of_the_weights_counts_from_the_next_call_on() -> None:
    lm = gpt1.load("mini")
    before = lm.score(TEXT)
    assert lm.score(TEXT) == before
    lm.model.h[0].mlp.c_fc.weight.data[3, 5] += 1  # torch itself does not notice
    after = lm.score(TEXT)
    assert after != before
    plain = LanguageModel(lm.model, lm.tokenizer, backend="torch")
    assert after.sum == pytest.approx(plain.score(TEXT).sum, abs=1e-3)
    assert lm.generate(PROMPTS, max_new_tokens=20) == plain.generate(PROMPTS, max_new_tokens=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "cuda"}, "backend is 'cuda' but must be one of auto, native, torch"),
        ({"quantize": "int2"}, "quantize is 'int2' but must be one of int8, int4"),
        ({"quantize": "int4", "backend": "torch"}, "quantize is 'int4' but cannot be used for"),
        ({"backend": "native", "device": "meta"}, "torch computes: backend native, on meta"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gpt1.load("mini", **options)  # type: ignore[arg-type]


def test_without_the_library_torch_computes_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpt1.export_model("mini", tmp_path / "small", format="int8")
    whole = gpt1.load("mini").generate(PROMPTS, max_new_tokens=20)
    monkeypatch.setattr("gpt1.native.library.library", lambda: None)
    assert gpt1.load("mini").generate(PROMPTS, max_new_tokens=20) == whole
    assert len(gpt1.load(tmp_path / "small").generate("It was", max_new_tokens=5)) > 10
    for options in ({"backend": "native"}, {"quantize": "int4"}):
        with pytest.raises(ConfigError, match="was not built when gpt1 was installed"):
            gpt1.load("mini", **options)  # type: ignore[arg-type]


def test_other_models_are_left_to_torch(tmp_path: Path) -> None:
    tokenizer = gpt1.load("mini").tokenizer
    small = GPTConfig(
        vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=24, n_layer=1, n_head=1
    )
    LanguageModel(GPT(small), tokenizer).save(tmp_path / "odd")
    assert isinstance(gpt1.load(tmp_path / "odd").score(TEXT).sum, float)
    lstm = LSTM(LSTMConfig(vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=32))
    LanguageModel(lstm, tokenizer).save(tmp_path / "lstm")
    lm = gpt1.load(tmp_path / "lstm")
    assert isinstance(lm.score(TEXT).sum, float)
    with pytest.raises(CheckpointError, match="generation needs a Transformer"):
        lm.generate("It was")
    with pytest.raises(ConfigError, match="not stored as this package stores those of a GPT"):
        gpt1.load(tmp_path / "lstm", backend="native")
