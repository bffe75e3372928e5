"""Files of object stores and web servers (``s3://``, ``gs://``, ``https://``, ...), through fsspec.

A file is fetched once and kept; processes that need it at the same time wait for the one that does.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt1.errors import DataError, MissingExtraError

_log = logging.getLogger(__name__)


def is_url(location: str | Path) -> bool:
    """Whether this names something fsspec reads, not a path of this machine."""
    return "://" in str(location)


def default_cache() -> Path:
    """Where fetched shards are kept: ``gpt1/shards`` in the user's folder for caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "gpt1" / "shards"


def read_text(url: str) -> str:
    """A small UTF-8 text file.

    Raises:
        FileNotFoundError: If there is none.
        DataError: If it cannot be read.
        MissingExtraError: If fsspec needs another package for this kind of URL.
    """
    from fsspec.core import url_to_fs

    with _explained(url):
        filesystem, path = url_to_fs(url)
        text: str = filesystem.cat_file(path).decode()
        return text


def fetch(url: str, path: Path, size_bytes: int | None = None, sha256: str | None = None) -> None:
    """Bring a file here, unless it is here already; it appears whole or not at all.

    Args:
        url: Where it is.
        path: Where it goes; the folder must exist.
        size_bytes: Its size. A file at ``path`` of another size is fetched anew.
        sha256: Of its bytes, in hexadecimal digits.

    Raises:
        DataError: If it cannot be read, or what has come is not what was announced.
        MissingExtraError: If fsspec needs another package for this kind of URL.
    """
    from filelock import FileLock
    from fsspec.core import url_to_fs

    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists() and size_bytes in (None, path.stat().st_size):
            return
        _log.info("fetching %s", url)
        part = path.with_name(f".{path.name}.part")
        try:
            with _explained(url):
                filesystem, source = url_to_fs(url)
                filesystem.get_file(source, str(part))
        except FileNotFoundError:
            raise DataError(f"there is no {url}; upload the data again") from None
        if sha256 not in (None, found := file_sha256(part)):
            size = part.stat().st_size
            part.unlink()
            raise DataError(
                f"{url} came with {size} bytes and SHA-256 {found[:12]} but must have "
                f"{size_bytes} and {str(sha256)[:12]}; try again, or upload the data again"
            )
        part.replace(path)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say what went wrong with a URL; every file system has errors of its own."""
    try:
        yield
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f'cannot read {url}: {error}; for https: pip install "gpt1[data]", for others the '
            "package named here"
        ) from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot read {url}: {reason}; check the address and the login") from error
