"""Generation settings as keyword arguments."""

from __future__ import annotations

import dataclasses
import difflib
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Settings(TypedDict, total=False):
    """Keyword arguments of generation; meaning and defaults are those of `GenerationConfig`."""

    max_new_tokens: int | None
    min_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    no_repeat_ngram_size: int | None
    logit_bias: Mapping[int, float] | Sequence[tuple[int, float]] | None
    bad_words: str | Sequence[str] | None
    bad_words_ids: Sequence[Sequence[int]] | None
    num_beams: int | None
    length_penalty: float | None
    early_stopping: bool | Literal["never"] | None
    penalty_alpha: float | None
    prompt_lookup_num_tokens: int | None
    assistant_model: object  # a LanguageModel, or what `load` takes
    logprobs: int | None
    stop: str | Sequence[str] | None
    stop_ids: Sequence[int] | None
    seed: int | None


def generation_config(n: int = 1, **settings: Unpack[Settings]) -> GenerationConfig:
    """Check settings by name and value.

    Args:
        n: As in `GenerationConfig`.
        **settings: Its other fields; None stands for the default. ``stop`` and ``bad_words`` may be
            one string, ``logit_bias`` a mapping from id to bias, and what is a tuple there a list.

    Returns:
        The config.

    Raises:
        ConfigError: If a setting is unknown or out of range.
    """
    known = [field.name for field in dataclasses.fields(GenerationConfig)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or known
            raise ConfigError(
                f"generation has no setting {name!r}; did you mean {', '.join(near)}?"
            )
    values = {name: _plain(name, value) for name, value in settings.items() if value is not None}
    return GenerationConfig(n=n, **values)


def _plain(name: str, value: Any) -> Any:
    """The value as `GenerationConfig` keeps it: sequences and mappings as tuples."""
    if name in ("stop", "bad_words") and isinstance(value, str):
        return (value,)
    if name not in _TUPLES:
        return value
    if isinstance(value, Mapping):
        # The keys of a JSON object are strings.
        return tuple((_whole(name, token), bias) for token, bias in value.items())
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} is {value!r} but must be a list")
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


_TUPLES = {field.name for field in dataclasses.fields(GenerationConfig) if field.default == ()}


def _whole(name: str, token: Any) -> int:
    try:
        return int(token) if isinstance(token, str) else operator.index(token)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} has the key {token!r} but a key must be a token id") from error
