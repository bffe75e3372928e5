"""Experiments that are done once: in this process and in others, interrupted and killed."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from gpt1.errors import DataError, TrainingError
from gpt1.reproduce.runs import Quiet, Runs
from reproduce.squares import Square
from reproduce.tiny_tasks import Counting


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_asked_for(tmp_path: Path, jobs: int) -> None:
    counting = Counting()
    runs = Runs(tmp_path, jobs, counting)
    found = runs.results([Square(n) for n in (3, 1, 2, 3)])
    assert [outcome.figures["square"] for outcome in found] == [9, 1, 4, 9]
    assert counting.run == 3  # the same one only once
    assert (os.getpid() in {o.counts["n"] for o in found}) == (jobs == 1)
    assert runs.seconds == 1.5


def test_an_outcome_is_kept_with_all_that_determines_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    [outcome] = runs.results([Square(5)])
    [file] = (tmp_path / "runs").iterdir()
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored["settings"] == {"number": 5}
    assert stored["figures"] == outcome.figures
    assert file.name.startswith("square-5-")
    assert stored["machine"]["torch"] in runs.machines[0]
    counting = Counting()
    assert Runs(tmp_path, 1, counting).results([Square(5, does="die")]) == [outcome]
    assert (counting.run, counting.kept) == (0, 1)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_done_before_a_mistake_is_kept(tmp_path: Path, jobs: int) -> None:
    works = [Square(1), Square(2), Square(3, does="refuse")]
    Runs(tmp_path, jobs).results(works[:1])
    with pytest.raises(DataError, match="3 cannot be squared"):
        Runs(tmp_path, jobs).results(works)
    assert (tmp_path / "runs").exists()
    assert Runs(tmp_path).path(works[0]).exists()


@pytest.mark.slow
def test_a_process_that_dies_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a process of an experiment died.*2 jobs, try fewer"):
        Runs(tmp_path, 2).results([Square(1, does="die"), Square(2, does="die")])


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Runs(tmp_path, 2, Counting(interrupt_after=1)).results([Square(n) for n in range(6)])
    assert multiprocessing.active_children() == []
    assert list((tmp_path / "runs").iterdir())


def test_nobody_needs_to_watch() -> None:
    quiet = Quiet()
    quiet.begin("x")
    quiet.advance("x", 1, 2)
    quiet.note("x")
