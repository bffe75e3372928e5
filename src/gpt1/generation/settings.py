"""Generation settings as keyword arguments."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Settings(TypedDict, total=False):
    """Keyword arguments of generation; meaning and defaults are those of `GenerationConfig`."""

    max_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    stop: str | Sequence[str]
    stop_ids: Sequence[int]
    seed: int | None


def generation_config(n: int = 1, **settings: Unpack[Settings]) -> GenerationConfig:
    """Check settings by name and value.

    Args:
        n: As in `GenerationConfig`.
        **settings: Its other fields; ``stop`` may be one string, and both stops may be lists.

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
    values: dict[str, Any] = dict(settings)
    stop = values.get("stop") or ()
    values["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    values["stop_ids"] = tuple(values.get("stop_ids") or ())
    return GenerationConfig(n=n, **values)
