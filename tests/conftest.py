"""Fixtures every test can use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Time decides no test, and where a change is judged, neither does chance.
settings.register_profile("gpt1", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("gpt1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party development data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("GPT1_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set GPT1_SHARED_DATA to read it from elsewhere")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _signals_are_left_alone() -> Iterator[None]:
    """No test may leave its own handler of a signal behind.

    A process that is forked later would obey it: instead of ending, it would go on with the tests.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before
