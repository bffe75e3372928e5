"""Examples: the four layouts, and what they refuse."""

from __future__ import annotations

import pytest

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.tasks.task import NAMES, Task, get_task


def test_each_layout_keeps_its_texts_apart() -> None:
    assert text("a", "x") == Example("text", (("a",),), "x")
    assert pair("a", "b", 1) == Example("pair", (("a",), ("b",)), 1)
    assert similarity("a", "b", 2.5) == Example("similarity", (("a",), ("b",)), 2.5)
    assert choice("a", ["b", "c"], 1) == Example("choice", (("a",), ("b",), ("c",)), 1)


def test_a_context_can_have_parts() -> None:
    assert choice(["a", "b"], ["c", "d"]).segments == (("a", "b"), ("c",), ("d",))


def test_a_choice_needs_two_options() -> None:
    with pytest.raises(DataError, match="has 1 options but needs at least 2"):
        choice("a", ["b"])


@pytest.mark.parametrize("label", [-1, 2])
def test_the_label_of_a_choice_is_the_number_of_an_option(label: int) -> None:
    with pytest.raises(DataError, match=f"is {label} but must be the number of an option, 0 to 1"):
        choice("a", ["b", "c"], label)


def test_a_task_of_ones_own_needs_a_name_and_a_function() -> None:
    task = Task(name="mine", transform=lambda row: text(row["t"], row["y"]))
    assert task.transform({"t": "a", "y": "b"}) == text("a", "b")


@pytest.mark.parametrize("name", NAMES)
def test_each_task_of_the_paper_is_in_the_module_of_its_name(name: str) -> None:
    assert get_task(name).name == name


def test_an_unknown_task_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no task 'SST-2'; the tasks are .*did you mean sst2\?"):
        get_task("SST-2")
