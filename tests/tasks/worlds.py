"""A tokenizer of few words, and drawn examples, for tests of tasks."""

from __future__ import annotations

from hypothesis import strategies as st

from gpt1.tasks.encoding import SPECIAL_TOKENS
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.tokenizer import Tokenizer

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "man",
    "sea",
    "sees",
    "hears",
    "likes",
    "old",
    "red",
    "small",
    "and",
]


def new_tokenizer() -> Tokenizer:
    """One token a word; the special tokens are registered."""
    tokenizer = Tokenizer.train([" ".join(WORDS)] * 4, vocab_size=120)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return tokenizer


def texts(longest: int = 12) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(WORDS), min_size=1, max_size=longest).map(" ".join)


def examples(longest: int = 12) -> st.SearchStrategy[Example]:
    t = texts(longest)
    options = st.lists(t, min_size=2, max_size=4)
    return st.one_of(
        st.builds(text, t),
        st.builds(pair, t, t),
        st.builds(similarity, t, t),
        st.builds(choice, t, options),
        st.builds(choice, st.tuples(t, t), options),
    )
