"""The controls of sampling, and the settings they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from gpt1.errors import ConfigError
from gpt1.generation.settings import Settings
from gpt1.serving.config import ServingConfig

MAX_TOKENS = 40
"""New tokens, unless told otherwise."""

MOST_STOPS = 4
"""Stop strings, as many as OpenAI's API takes."""


class Sampling:
    """Sliders and fields, drawn where this is made.

    Args:
        config: Its ``max_tokens`` is the most there can be.

    Attributes:
        components: All of them.
    """

    def __init__(self, config: ServingConfig) -> None:
        self._most = config.max_tokens
        self._sliders = {
            "temperature": _slider("Temperature", "0 takes the likeliest token", 0, 2, 0.8, 0.05),
            "top_k": _slider("Top k", "the k likeliest; 0: all", 0, 200, 0, 1),
            "top_p": _slider("Top p", "those that make up p", 0.01, 1, 0.95, 0.01),
            "min_p": _slider("Min p", "relative to the likeliest", 0, 1, 0, 0.01),
            "repetition_penalty": _slider("Repetition penalty", "1: none", 1, 2, 1.1, 0.05),
            "max_new_tokens": _slider(
                "Max tokens", "at most", 1, self._most, min(MAX_TOKENS, self._most), 1
            ),
        }
        self._stop = gr.Textbox(
            label="Stop strings", info="one string a line", lines=1, max_lines=4, max_length=400
        )
        self._seed = gr.Textbox(
            label="Seed", info="a whole number; empty: another text each time", max_length=20
        )
        self.components: list[Any] = [*self._sliders.values(), self._stop, self._seed]

    def settings(self, values: Mapping[Any, Any]) -> Settings:
        """What the controls say.

        Args:
            values: Of the components.

        Raises:
            ConfigError: If a value is out of range.
        """
        given = {name: values[slider] for name, slider in self._sliders.items()}
        stop = [line for line in str(values[self._stop] or "").splitlines() if line.strip()]
        if len(stop) > MOST_STOPS:
            raise ConfigError(f"there are {len(stop)} stop strings but may be {MOST_STOPS}")
        most = given["max_new_tokens"]
        if not isinstance(most, int) or not 1 <= most <= self._most:
            raise ConfigError(f"max tokens is {most!r} but must be 1 to {self._most}")
        return {
            **given,  # type: ignore[typeddict-item]
            "top_k": given["top_k"] or None,
            "top_p": None if given["top_p"] == 1 else given["top_p"],
            "min_p": given["min_p"] or None,
            "stop": stop or None,
            "seed": _seed(values[self._seed]),
        }


def _seed(text: str | None) -> int | None:
    """The seed that was written; None for none."""
    if not (text or "").strip():
        return None
    try:
        return int(text or "")
    except ValueError:
        raise ConfigError(f"the seed is {text!r} but must be a whole number, or empty") from None


def _slider(
    label: str, info: str, least: float, most: float, value: float, step: float
) -> gr.Slider:
    return gr.Slider(
        least, most, value, step=step, label=label, info=info, buttons=[], interactive=True
    )
