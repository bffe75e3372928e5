"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpt1.atomic import atomic_folder, check_destination, write_text_atomic
from gpt1.errors import CheckpointError, ConfigError


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to grow any file beyond a size, as a full disk would."""
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "state").mkdir(parents=True)
    (folder / "config.json").write_text("old")
    (folder / "model.safetensors").write_text("old")
    (folder / "state" / "step").write_text("7")
    return folder


def save(folder: Path, text: str, size_bytes: int | None = None) -> None:
    with atomic_folder(folder, size_bytes=size_bytes) as temporary:
        for name in ("config.json", "model.safetensors"):
            (temporary / name).write_text(text)


def save_until(folder: Path, error: BaseException) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / "config.json").write_text("new")
        raise error


def test_a_new_folder_is_invisible_until_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with atomic_folder(target) as temporary:
        (temporary / "config.json").write_text("new")
        assert not target.exists()
    assert contents(tmp_path) == {"deep/model/config.json": "new"}


def test_saving_again_replaces_files_and_keeps_all_others(checkpoint: Path) -> None:
    save(checkpoint, "new")
    assert contents(checkpoint.parent) == {
        "model/config.json": "new",
        "model/model.safetensors": "new",
        "model/state/step": "7",
    }


def test_saving_through_a_link_writes_to_the_folder_it_points_to(checkpoint: Path) -> None:
    link = checkpoint.parent / "latest"
    link.symlink_to(checkpoint)
    save(link, "new")
    assert link.is_symlink()
    assert (checkpoint / "config.json").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, CheckpointError])
def test_an_exception_leaves_the_old_checkpoint_as_it_was(
    checkpoint: Path, error: type[BaseException]
) -> None:
    before = contents(checkpoint.parent)
    with pytest.raises(error, match="stop"):
        save_until(checkpoint, error("stop"))
    assert contents(checkpoint.parent) == before
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "config.json",
        "model.safetensors",
        "state",
    ]


def test_an_exception_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        save_until(tmp_path / "model", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_the_old_checkpoint_as_it_was(checkpoint: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from gpt1.atomic import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as temporary:\n"
        "    (temporary / 'config.json').write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", program, str(checkpoint)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert (checkpoint / "config.json").read_text() == "old"
    save(checkpoint, "new")
    assert (checkpoint / "config.json").read_text() == "new"


def test_leftovers_of_killed_processes_are_removed_once_they_are_old(checkpoint: Path) -> None:
    abandoned, in_use = checkpoint / ".saving-abandoned", checkpoint / ".saving-in-use"
    for folder in (abandoned, in_use):
        folder.mkdir()
    os.utime(abandoned, (0, 0))
    save(checkpoint, "new")
    assert not abandoned.exists()
    assert in_use.exists()


def test_files_get_the_permissions_of_new_files(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "private").touch(mode=0o600)
    (tmp_path / "reference").touch()
    expected = (tmp_path / "reference").stat().st_mode
    assert (tmp_path / "model" / "private").stat().st_mode == expected


def test_a_full_disk_is_one_clear_error_and_changes_nothing(checkpoint: Path) -> None:
    before = contents(checkpoint)
    message = r"cannot write .*model: .*; it needs about 123,456 bytes and [\d,]+ bytes are free"
    with pytest.raises(CheckpointError, match=message), largest_file(10_000):
        save(checkpoint, "new" * 10_000, size_bytes=123_456)
    assert contents(checkpoint) == before


def test_a_full_disk_is_recognised_in_the_errors_of_rust_libraries(tmp_path: Path) -> None:
    error = RuntimeError(f"I/O error: No space left on device (os error {errno.ENOSPC})")
    with pytest.raises(CheckpointError, match=r"No space left on device; [\d,]+ bytes are free"):
        save_until(tmp_path / "model", error)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write .*/model: Not a directory; choose"):
        save(tmp_path / "file" / "model", "new")


def test_text_is_replaced_whole_with_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_text_atomic(path, "old")
    write_text_atomic(path, "é\r\nnew\n")
    assert path.read_bytes() == "é\r\nnew\n".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_text_that_does_not_fit_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_text_atomic(path, "old")
    with (
        pytest.raises(CheckpointError, match=r"note: .*needs about 20,000 bytes"),
        largest_file(10_000),
    ):
        write_text_atomic(path, "x" * 20_000)
    assert contents(tmp_path) == {"note": "old"}


@pytest.mark.parametrize("name", ["config.json", "params_shapes.json", "run.yaml"])
def test_checkpoints_and_runs_may_be_written_to_again(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "other").touch()
    check_destination(tmp_path)


def test_new_and_empty_folders_may_be_written_to(tmp_path: Path) -> None:
    check_destination(tmp_path / "new")
    check_destination(tmp_path)
    (tmp_path / ".saving-0").mkdir()
    check_destination(tmp_path)


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(
        ConfigError, match=r"is not empty and has none of config.json, .* new or an"
    ):
        check_destination(tmp_path)


def test_a_file_is_refused_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file; name a folder"):
        check_destination(tmp_path / "file")
