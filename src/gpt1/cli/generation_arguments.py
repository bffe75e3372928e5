"""The flags of `GenerationConfig`, and their values as keyword arguments of generation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import Append, as_given, field_documents, listed
from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError

TEXTS = ("stop", "bad_words")
"""Settings that are lists of strings: their flags may be repeated."""

MORE_HELP = {
    "stop": " \\n is a newline. May be given several times.",
    "bad_words": " May be given several times.",
    "stop_ids": " A list: [5,6].",
    "bad_words_ids": " A list of lists: [[5,6]].",
    "logit_bias": ' ID=BIAS, may be given several times, or a JSON object: {"5": -2.5}.',
}
"""How a value is written, where it is not plain."""


def setting_documents() -> dict[str, str]:
    """What each setting means and how its value is written."""
    documents = field_documents(GenerationConfig)
    return {name: text + MORE_HELP.get(name, "") for name, text in documents.items()}


def add_generation_arguments(parser: ArgumentParser) -> None:
    """Add a flag for every setting of generation."""
    hints, documents = get_type_hints(GenerationConfig), setting_documents()
    for field in dataclasses.fields(GenerationConfig):
        options: dict[str, Any] = {"type": hints[field.name], "default": field.default}
        if field.name in (*TEXTS, "logit_bias"):
            options = {"type": as_given, "action": Append}
        parser.add_argument(
            "--" + field.name.replace("_", "-"), help=documents[field.name], **options
        )


def generation_settings(args: Namespace) -> dict[str, Any]:
    """The values of the flags of `add_generation_arguments`.

    Raises:
        ConfigError: If ``--logit-bias`` is not understood.
    """
    settings = {field.name: args[field.name] for field in dataclasses.fields(GenerationConfig)}
    for name in TEXTS:
        texts = listed(settings[name])
        settings[name] = [t.replace("\\n", "\n") if isinstance(t, str) else t for t in texts]
    settings["logit_bias"] = _biases(listed(settings["logit_bias"]))
    return settings


def _biases(given: list[Any]) -> dict[int, float]:
    """Biases by id, from ``ID=BIAS`` strings, JSON objects or mappings, the last one winning."""
    biases: dict[int, float] = {}
    for value in given:
        try:
            pairs = _pairs(value)
            biases |= {int(token): float(bias) for token, bias in pairs.items()}
        except (AttributeError, TypeError, ValueError):
            raise ConfigError(
                f"logit_bias is {value!r} but must be ID=BIAS, such as 5=-2.5, or a JSON object, "
                'such as {"5": -2.5}'
            ) from None
    return biases


def _pairs(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    if value.lstrip().startswith("{"):
        return json.loads(value)  # type: ignore[no-any-return]
    token, _, bias = value.partition("=")
    return {token: bias}
