"""The keys of an API: where they come from, and whether a request has one."""

from __future__ import annotations

import hmac
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from gpt1.errors import ConfigError

logger = logging.getLogger(__name__)

VARIABLE = "GPT1_API_KEY"
"""The environment variable that may hold a key."""

SHORTEST = 16
"""Characters of a key; one that can be guessed protects nothing."""


class Keys:
    """What is left of the keys: their digests, to which what a request brings is compared.

    Args:
        keys: As given to clients.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [sha256(key.encode()).digest() for key in dict.fromkeys(keys)]

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, key: str) -> int | None:
        """Which key this is; None if it is none. Takes as long whichever it is, and if it is none.

        Args:
            key: What a request brought, any text.
        """
        digest, found = sha256(key.encode("utf-8", "surrogateescape")).digest(), None
        for number, known in enumerate(self._digests):
            if hmac.compare_digest(known, digest):
                found = number
        return found


def read_keys(
    given: Iterable[str] = (),
    files: Iterable[str | Path] = (),
    environment: Mapping[str, str] = os.environ,
) -> Keys:
    """Keys from all the places they may be in.

    Args:
        given: Keys themselves.
        files: Each with a key a line; blank lines and those that begin with ``#`` are skipped.
        environment: May hold one as ``GPT1_API_KEY``.

    Raises:
        ConfigError: If a key is too short or holds what a header cannot, or a file has none.
    """
    sources = [("--api-key", key) for key in given]
    if environment.get(VARIABLE):
        sources.append((VARIABLE, environment[VARIABLE]))
    for path in files:
        sources += [(str(path), key) for key in _lines(Path(path))]
    for place, key in sources:
        _check(place, key)
    return Keys(key for _, key in sources)


def _lines(path: Path) -> list[str]:
    """The keys of a file, which others should not be able to read."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8; it must hold a key a line") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{path} holds no key; write one a line")
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("others can read the keys in %s; run: chmod 600 %s", path, path)
    return keys


def _check(place: str, key: str) -> None:
    """Refuse a key that cannot be sent or can be guessed, without showing it."""
    if len(key) < SHORTEST:
        raise ConfigError(
            f"a key of {place} has {len(key)} characters but must have at least {SHORTEST}; "
            "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"a key of {place} holds a character other than letters, digits and signs of ASCII"
        )
