"""The page on serving is true: its programs and commands run, its tables are complete."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt1.language_model import load
from gpt1.serving.app import create_app
from gpt1.serving.completion_schemas import CompletionRequest
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from live_server import live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with live(create_app(Models(engines={"mini": Engine(load("mini"))}, tasks={}))) as address:
        yield address


def test_the_programs_run_and_print_what_is_shown(address: str) -> None:
    namespace: dict[str, Any] = {}
    shown = printed = ""
    ran = 0
    for language, text in FENCE.findall(TEXT.replace(ADDRESS, address)):
        if language == "py":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, str(PAGE), "exec", dont_inherit=True), namespace)
            printed, ran = out.getvalue(), ran + 1
        elif language == "text":
            shown, expected = text, printed
            assert shown.split() == expected.split()
    namespace["client"].close()
    assert shown
    assert ran == len(re.findall("^```py$", TEXT, re.MULTILINE)) >= 5


def test_the_commands_of_curl_succeed(address: str) -> None:
    joined = TEXT.replace(ADDRESS, address).replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.startswith("curl ")]
    for line in lines:
        done = subprocess.run(["bash", "-c", f"{line} -f"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ('"id": "cmpl-' if "-sN" in line else '"id":') in done.stdout
        assert done.stdout.endswith("data: [DONE]\n\n") == ("-sN" in line)
    assert len(lines) == 3


def test_all_parameters_are_listed() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE)
    fields = CompletionRequest.model_fields
    assert dict(rows) == {name: field.description for name, field in fields.items()}
