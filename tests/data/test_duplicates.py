"""Duplicates: MinHash against the Jaccard similarity counted naively, and which document stays."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.data.duplicates import PERMUTATIONS, Duplicates, digest, shingles, signature
from gpt1.errors import MissingExtraError


def words(seed: int, count: int = 400) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(1000, size=count)]


def edited(text: list[str], changes: int, seed: int) -> list[str]:
    """The words with some exchanged for others."""
    rng = np.random.default_rng(seed)
    changed = list(text)
    for place in rng.choice(len(text), changes, replace=False):
        changed[place] = f"other{rng.integers(10**6)}"
    return changed


def jaccard(a: list[str], b: list[str]) -> float:
    """Exact similarity of the sets of five-word sequences."""
    first, second = ({tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in (a, b))
    return len(first & second) / len(first | second)


def agreement(a: list[str], b: list[str], seed: int = 0) -> float:
    return float((signature(" ".join(a), seed) == signature(" ".join(b), seed)).mean())


@pytest.mark.parametrize("changes", [0, 1, 3, 8, 20, 60, 400])
def test_signatures_agree_as_often_as_texts_are_similar(changes: int) -> None:
    pairs = [(words(seed), edited(words(seed), changes, seed + 100)) for seed in range(12)]
    exact = np.array([jaccard(*pair) for pair in pairs])
    estimated = np.array([agreement(*pair) for pair in pairs])
    # Hashes that agree are a binomial count: its deviation is known, and so is that of the mean.
    deviation = np.sqrt(exact * (1 - exact) / PERMUTATIONS)
    assert np.all(np.abs(estimated - exact) <= 4 * deviation)
    assert abs((estimated - exact).mean()) <= 3 * deviation.mean() / np.sqrt(len(pairs))


def test_a_signature_depends_on_the_text_and_the_seed_alone() -> None:
    text = " ".join(words(1))
    assert np.array_equal(signature(text, 3), signature(text, 3))
    assert not np.array_equal(signature(text, 3), signature(text, 4))


def test_shingles_are_runs_of_five_words_whatever_their_case_and_blanks() -> None:
    assert list(shingles("A b\n c  d e F")) == [b"a b c d e", b"b c d e f"]
    assert list(shingles("A b")) == [b"a b"]
    assert list(shingles("")) == [b""]


NEARLY_EQUAL = st.text(alphabet="aAb é—\n", max_size=4)


@given(NEARLY_EQUAL, NEARLY_EQUAL)
def test_digests_are_equal_exactly_if_texts_are_but_for_case_and_blanks(a: str, b: str) -> None:
    same = "".join(a.lower().split()) == "".join(b.lower().split())
    assert (digest(a) == digest(b)) == same


def test_the_first_of_equal_documents_stays() -> None:
    found = Duplicates()
    texts = ["The cat", "the dog", " the  CAT\n", "the dog", "the bird"]
    assert [found.reason(digest(text)) for text in texts] == [
        *(None, None),
        *("duplicate", "duplicate"),
        None,
    ]


def test_equal_documents_stay_where_that_is_asked_for() -> None:
    found = Duplicates(exact=False)
    assert [found.reason(digest("a")) for _ in range(3)] == [None] * 3


def test_near_duplicates_are_those_an_exact_count_finds() -> None:
    originals = [words(seed) for seed in range(30)]
    # Far from the threshold on either side, where an estimate can be no excuse.
    near = [edited(text, 3, seed) for seed, text in enumerate(originals)]
    far = [edited(text, 60, seed) for seed, text in enumerate(originals)]
    assert min(jaccard(*pair) for pair in zip(originals, near, strict=True)) > 0.9
    assert max(jaccard(*pair) for pair in zip(originals, far, strict=True)) < 0.5
    found = Duplicates(near=0.75)

    def reasons(texts: list[list[str]]) -> set[str | None]:
        joined = [" ".join(text) for text in texts]
        return {found.reason(digest(text), signature(text)) for text in joined}

    assert reasons(originals) == {None}
    assert reasons(near) == {"near duplicate"}
    assert reasons(far) == {None}
    assert reasons(originals) == {"duplicate"}


def test_without_its_library_the_search_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtraError, match=r'with datasketch: pip install "gpt1\[data\]"'):
        Duplicates(near=0.8)
    with pytest.raises(MissingExtraError, match="datasketch"):
        signature("text")
