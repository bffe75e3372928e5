"""Documents that were there before: the same words again, or nearly the same.

What is known of a document, its `digest` and its `signature`, are pure functions of its text. Which
documents are left out depends on their order alone: the first of several stays.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import MissingExtraError

SHINGLE_WORDS = 5
"""Words of the sequences that near duplicates have in common."""
PERMUTATIONS = 128
"""Hashes of a signature: the similarity is told within 0.09, in 19 of 20 pairs."""
_SCHEME = "affine32"
_BLANKS = b" \t\n\r\v\f"


def digest(text: str) -> bytes:
    """16 bytes that two texts have in common if they are the same but for case and blanks.

    Only the case of A to Z, and only blanks of ASCII: that takes a tenth of the time of all.
    """
    letters = text.encode("utf-8", "replace").lower().translate(None, _BLANKS)
    return hashlib.blake2b(letters, digest_size=16).digest()


def shingles(text: str) -> Iterator[bytes]:
    """All sequences of `SHINGLE_WORDS` words; of a shorter text, all of it is one."""
    words = _words(text)
    if len(words) < SHINGLE_WORDS:
        return iter([b" ".join(words)])
    return map(b" ".join, zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False))


def _words(text: str) -> list[bytes]:
    """What stands between blanks, in lower case."""
    return text.encode("utf-8", "replace").lower().split()


def signature(text: str, seed: int = 0) -> NDArray[np.uint32]:
    """MinHash (Broder 1997) of the shingles of a text.

    Args:
        text: The whole document.
        seed: Of the hashes; signatures of different seeds cannot be compared.

    Returns:
        ``(PERMUTATIONS,)``: the share in which two texts agree estimates the Jaccard similarity
        of their `shingles`.

    Raises:
        MissingExtraError: If datasketch is not installed.
    """
    found = _datasketch().MinHash(PERMUTATIONS, seed, hashfunc=zlib.crc32, scheme=_SCHEME)
    found.update_batch(shingles(text))
    return np.asarray(found.hashvalues, np.uint32)


class Duplicates:
    """Tells which documents were there before; has to be asked about each in their order.

    It holds some 150 bytes of each document, 5.5 KB where near duplicates are looked for.

    Args:
        exact: Whether documents with equal digests are duplicates.
        near: The similarity of signatures from which they are.

    Raises:
        MissingExtraError: If near duplicates are looked for and datasketch is not installed.
    """

    def __init__(self, *, exact: bool = True, near: float | None = None) -> None:
        self.exact = exact
        self.near = near
        self._digests: set[bytes] = set()
        self._signatures: list[NDArray[np.uint32]] = []
        # More candidates than are near, since each is compared: few that are near are missed.
        weights = (0.1, 0.9)
        self._index: Any = near and _datasketch().MinHashLSH(near, PERMUTATIONS, weights)

    def reason(self, found: bytes, signed: NDArray[np.uint32] | None = None) -> str | None:
        """Why a document is left out; None, and it is remembered, if it is kept.

        Args:
            found: Its `digest`.
            signed: Its `signature`, where near duplicates are looked for.
        """
        if self.exact and found in self._digests:
            return "duplicate"
        if signed is not None and self._index is not None:
            if self._is_near(signed):
                return "near duplicate"
            self._index.insert(len(self._signatures), _min_hash(signed))
            self._signatures.append(signed)
        self._digests.add(found)
        return None

    def _is_near(self, signed: NDArray[np.uint32]) -> bool:
        assert self.near is not None
        candidates = self._index.query(_min_hash(signed))
        return any((self._signatures[c] == signed).mean() >= self.near for c in candidates)


def _min_hash(signed: NDArray[np.uint32]) -> Any:
    return _datasketch().MinHash(PERMUTATIONS, hashvalues=signed, scheme=_SCHEME)


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError:
        raise MissingExtraError(
            'near duplicates are found with datasketch: pip install "gpt1[data]"'
        ) from None
    return datasketch
