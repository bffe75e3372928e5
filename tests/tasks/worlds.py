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
    return st.one_of(
        st.builds(text, t),
        st.builds(pair, t, t),
        st.builds(similarity, t, t),
        choices(longest),
    )


def choices(longest: int = 12) -> st.SearchStrategy[Example]:
    """Two to four options, with a context in one text or two."""
    t = texts(longest)
    return st.builds(choice, st.one_of(t, st.tuples(t, t)), st.lists(t, min_size=2, max_size=4))
