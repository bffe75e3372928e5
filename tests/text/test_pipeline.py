"""What is read of a `tokenizer.json` at once is what the Rust library would read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Rust

import gpt1
from gpt1.errors import TokenizerError
from gpt1.native.library import kernels
from gpt1.text.pipeline import Pipeline
from gpt1.tokenizer import Tokenizer

TEXTS = ["the quick brown fox isn't here", "it's the dog's 1st day... in the U.S."]

needs_library = pytest.mark.skipif(kernels() is None, reason="the C++ library was not built")


@pytest.fixture(scope="module", params=[True, False], ids=["standard forms", "plain"])
def serialized(request: pytest.FixtureRequest) -> str:
    tokenizer = Tokenizer.train(
        TEXTS, vocab_size=90, min_frequency=1, standardize=request.param, mode="original"
    )
    tokenizer.add_special_tokens(["_start_", "<|endoftext|>"])
    return tokenizer._marked.to_str()


def assert_as_rust_reads(pipeline: Pipeline) -> None:
    ids = pipeline.rust.get_vocab()
    assert pipeline.ids == ids
    assert list(pipeline.ids.values()) == list(range(len(ids)))
    decoder = pipeline.rust.get_added_tokens_decoder()
    assert pipeline.added == {number: token.special for number, token in decoder.items()}


@needs_library
@given(names=st.lists(st.sampled_from(["_start_", "_x_", "the</w>", "y", "<unk>"]), max_size=4))
def test_tokens_are_added_as_the_rust_library_adds_them(serialized: str, names: list[str]) -> None:
    late, early = Pipeline(serialized), Pipeline(serialized)
    assert late._rust is None
    assert early.rust is early._rust
    for pipeline in (late, early):
        pipeline.add_special(names[:2])
        pipeline.add_special(names[2:])
    assert late._rust is None
    assert (late.ids, late.added) == (early.ids, early.added)
    assert_as_rust_reads(late)
    assert_as_rust_reads(early)


@needs_library
def test_ordinary_use_needs_no_rust_tokenizer(serialized: str) -> None:
    for mode in gpt1.config.MODES:
        tokenizer = Tokenizer(serialized, mode)
        ids = tokenizer.encode("The quick U.S. dog's fox, isn't it? :-)")
        assert tokenizer.decode(ids)
        assert tokenizer.token_id("_start_") == len(tokenizer) - 2
        assert tokenizer._pipeline._rust is None
        assert tokenizer._marked.encode("the quick").ids == tokenizer.encode("the quick")


PLACES = st.sampled_from(
    [
        *("version", "added_tokens", "normalizer", "normalizer/lowercase", "pre_tokenizer"),
        *("decoder", "decoder/suffix", "decoder/type", "model/vocab", "model/merges"),
        *("model/dropout", "model/fuse_unk", "model/more"),
        *("model/vocab/zz", "model/vocab/<unk>", "added_tokens/0/id", "added_tokens/0/special"),
        *("added_tokens/1/content", "added_tokens/1/lstrip", "added_tokens/2/id", "more"),
    ]
)
VALUES = st.sampled_from(
    [
        *("null", "[]", "{}", "0", "1", "-1", "1.5", "true", '""', '"a"', '"a b"', '"<unk>"'),
        *('[["t", "h"]]', '["t h"]', '[["t", "h", "e"]]', '[["t", 1]]', '{"<unk>": 0, "t": 1}'),
    ]
)


def changed(serialized: str, changes: list[tuple[str, str]]) -> str:
    """JSON with other values in some places, those aside that an earlier change has removed."""
    spec = json.loads(serialized)
    for place, value in changes:
        *folders, name = place.split("/")
        inner = spec
        for folder in folders:
            key = int(folder) if isinstance(inner, list) else folder
            try:
                inner = inner[key]
            except (LookupError, TypeError):
                break
        else:
            if isinstance(inner, dict):
                inner[name] = json.loads(value)
    return json.dumps(spec)


@given(changes=st.lists(st.tuples(PLACES, VALUES), max_size=2))
@settings(max_examples=200)
def test_a_file_is_read_as_the_rust_library_reads_it(
    serialized: str, changes: list[tuple[str, str]]
) -> None:
    text = changed(serialized, changes)
    try:
        ids = Rust.from_str(text).get_vocab()
    except Exception:  # all that it raises
        ids = {}
    if "<unk>" not in ids or sorted(ids.values()) != list(range(len(ids))):
        with pytest.raises(TokenizerError):
            Pipeline(text)
        return
    pipeline = Pipeline(text)
    assert pipeline.ids == ids
    assert_as_rust_reads(pipeline)
