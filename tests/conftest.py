"""Fixtures every test can use."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Time decides no test, and where a change is judged, neither does chance.
settings.register_profile("gpt1", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("gpt1")

# Read when PyTorch is imported: its threads sleep sooner where they wait for one another. Else they
# spin for milliseconds where other programs want their cores, at each small product of a test.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Where processes share the tests, each has a core.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What Python compiles is kept, so that each of the many commands does not compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

REPOSITORY = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window; tests that need it skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


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
