"""Models from the Hugging Face hub: only the files we read, kept in its cache, usable offline."""

from __future__ import annotations

import logging
from pathlib import Path

from gpt1.errors import CheckpointError

EXAMPLE_ID = "openai-community/openai-gpt"
FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
"""What is fetched of a repository; never the pickles and TensorFlow files beside it."""

_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


def download(repo_id: str, *, revision: str | None = None) -> Path:
    """Fetch a model once; afterwards only files that changed on the hub are fetched again.

    Without a connection, or with ``HF_HUB_OFFLINE=1``, the cached copy is used, with a warning.

    Args:
        repo_id: ``owner/name``.
        revision: Branch, tag or commit; default: the main branch.

    Returns:
        The folder in the cache of `huggingface_hub` (``HF_HOME``).

    Raises:
        CheckpointError: If there is no such model or revision, access is denied, the download
            fails, or there is neither a connection nor a cached copy.
    """
    from huggingface_hub import snapshot_download

    offline: Exception | None = None
    try:
        offline = _connection_error(repo_id, revision)
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=list(FILES),
            local_files_only=offline is not None,
        )
    except Exception as error:  # HTTP libraries, and so their errors, vary by huggingface_hub
        raise CheckpointError(_explain(offline or error, error, repo_id, revision)) from error
    if offline is not None:
        _log.warning("using the cached copy of %s: %s", repo_id, _first_line(offline))
    return Path(folder)


def _connection_error(repo_id: str, revision: str | None) -> Exception | None:
    """Why the hub does not answer, or None; raises if it answers that there is no such thing."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().model_info(repo_id, revision=revision, timeout=_TIMEOUT_S)
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except Exception as error:  # as above
        return error
    return None


def _explain(reason: Exception, error: Exception, repo_id: str, revision: str | None) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    log_in = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, GatedRepoError):
        return f"access to {repo_id} is restricted: accept its terms on the hub, then {log_in}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"no folder {repo_id!r} here and no such model on the hub; check the spelling, or "
            f"{log_in} if it is private"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {revision!r}; name one of its branches, tags or commits"
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} is not a hub id: {_first_line(error)}"
    cache = constants.HF_HUB_CACHE
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{repo_id} is not in the cache {cache} and the hub cannot be reached "
            f"({_first_line(reason)}); connect once, or name a local folder or the bundled 'mini'"
        )
    return (
        f"downloading {repo_id} to {cache} failed: {_first_line(error)}; try again, files that are "
        "complete are kept"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
