"""What the page about scores, vectors and tasks shows runs, and its table of figures is whole."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import gpt1
from gpt1.serving.app import create_app
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from live_server import live
from served_tasks import HEADS, served_task

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving-tasks.md"
SHOWN = "http://127.0.0.1:8000"
FENCE = re.compile(r"^```(py|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    tasks = {"reviews": "reviews", "entailment": "nli", "race": "race"}
    models = Models(
        engines={"mini": Engine(gpt1.load("mini"), slots=2)},
        tasks={name: served_task(HEADS[head]) for name, head in tasks.items()},
    )
    with live(create_app(models)) as address:
        yield address


def blocks(language: str, address: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8").replace(SHOWN, address)
    return [textwrap.dedent(block) for name, block in FENCE.findall(text) if name == language]


def test_the_programs_run(address: str) -> None:
    namespace: dict[str, Any] = {}
    programs = blocks("py", address)
    assert len(programs) == 5
    for program in programs:
        exec(compile(program, str(PAGE), "exec", dont_inherit=True), namespace)
    namespace["client"].close()
    namespace["server"].close()


def test_the_commands_succeed(address: str) -> None:
    commands = [line for block in blocks("sh", address) for line in block.splitlines()]
    assert len(commands) == 8
    for command in commands:
        shown = command.replace("curl -s", "curl -s --fail-with-body", 1)
        done = subprocess.run(shown, shell=True, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_of_figures_is_complete(address: str) -> None:
    httpx.get(f"{address}/health")
    families = text_string_to_metric_families(httpx.get(f"{address}/metrics").text)
    there = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if not family.name.endswith("_created")
    }
    listed = re.findall(r"`(gpt1_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert there == set(listed)
