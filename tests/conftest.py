"""Fixtures every test can use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Time decides no test.
settings.register_profile("gpt1", deadline=None)
settings.load_profile("gpt1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party development data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("GPT1_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set GPT1_SHARED_DATA to read it from elsewhere")
    return folder
