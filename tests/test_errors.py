"""The exception tree."""

from __future__ import annotations

import inspect

import pytest

from gpt1 import errors

BUILT_IN = {
    errors.ConfigError: ValueError,
    errors.TokenizerError: ValueError,
    errors.DataError: ValueError,
    errors.CheckpointError: ValueError,
    errors.TrainingError: RuntimeError,
    errors.MissingExtraError: ImportError,
}


@pytest.mark.parametrize(("error", "built_in"), BUILT_IN.items())
def test_every_error_is_the_packages_and_a_built_in_one(
    error: type[Exception], built_in: type[Exception]
) -> None:
    assert error.__bases__ == (errors.Gpt1Error, built_in)


def test_the_drawing_of_the_tree_shows_every_error() -> None:
    defined = {error for _, error in inspect.getmembers(errors, inspect.isclass)}
    assert defined - {errors.Gpt1Error} == BUILT_IN.keys()
    drawn = [line.split() for line in str(errors.__doc__).splitlines() if "──" in line]
    assert [(name, parent) for _, name, parent, *_ in drawn] == [
        (error.__name__, f"({built_in.__name__})") for error, built_in in BUILT_IN.items()
    ]
