"""The notebook of the documentation runs, and what it shows is what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def saved() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=600, resources=resources).execute()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def kinds(cell: Any) -> list[str]:
    """What a cell puts out: text, and the types of pictures."""
    shown = [sorted(o.data) for o in cell.outputs if o.output_type == "display_data"]
    return (["text"] if printed(cell) else []) + [kind for types in shown for kind in types]


def test_every_cell_puts_out_what_is_saved_with_it(saved: Any, executed: Any) -> None:
    found = [kinds(cell) for cell in code_cells(executed)]
    assert found == [kinds(cell) for cell in code_cells(saved)]
    assert all(found)
    assert sum("image/png" in kind for kind in found) == 6


def test_cells_marked_exact_print_the_same_on_every_machine(saved: Any, executed: Any) -> None:
    pairs = zip(code_cells(saved), code_cells(executed), strict=True)
    exact = [pair for pair in pairs if pair[0].metadata.get("exact")]
    assert len(exact) >= 5
    for before, after in exact:
        assert printed(after) == printed(before)


def test_the_saved_outputs_name_no_folder_of_the_machine_that_made_them() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/home/" not in text
    assert str(NOTEBOOK.parents[1]) not in text
