"""The exceptions `gpt1` raises on purpose.

    Gpt1Error
    ├── ConfigError        (ValueError)    a setting is out of range, unknown or contradicts another
    ├── TokenizerError     (ValueError)    a vocabulary file or an id cannot be used
    ├── DataError          (ValueError)    a data file, row or column cannot be used
    ├── CheckpointError    (ValueError)    a checkpoint is incomplete, damaged or of another kind
    ├── TrainingError      (RuntimeError)  a run had to stop (for example at a non-finite loss)
    └── MissingExtraError  (ImportError)   an optional dependency is not installed

The command line prints the message alone and exits with 2; anything else is a bug and exits with 1.
"""

from __future__ import annotations


class Gpt1Error(Exception):
    """Base of every error the package raises on purpose."""


class ConfigError(Gpt1Error, ValueError):
    """A setting is out of range, unknown or contradicts another."""


class TokenizerError(Gpt1Error, ValueError):
    """A vocabulary file or a token id cannot be used."""


class DataError(Gpt1Error, ValueError):
    """A data file, row or column cannot be used."""


class CheckpointError(Gpt1Error, ValueError):
    """A checkpoint is incomplete, damaged or of another kind."""


class TrainingError(Gpt1Error, RuntimeError):
    """A training run had to stop before its end."""


class MissingExtraError(Gpt1Error, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""
