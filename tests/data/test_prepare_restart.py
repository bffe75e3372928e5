"""Work that was killed goes on, in any number of processes, and its result is that of no kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gpt1.atomic import WORK_FOLDER
from gpt1.config import CleaningConfig, PrepareConfig
from gpt1.data import stages, work
from gpt1.data.prepare import prepare
from gpt1.data.workers import Workers
from gpt1.errors import ConfigError, DataError

WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "home", "again"]
SMALL_UNITS = (
    "from gpt1.data import stages, work\nstages.CHUNK_CHARS = 400\nwork.UNIT_BYTES = 600\n"
)
COMMAND = """\
import sys
{setup}
from gpt1.cli.main import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Two tables and six books, with duplicates among them."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "texts"
    folder.mkdir()
    for table in ("a", "b"):
        rows = [" ".join(rng.choice(WORDS, 12)) for _ in range(60)]
        lines = [json.dumps({"text": row}) + "\n" for row in [*rows, *rows[:5]]]
        (folder / f"{table}.jsonl").write_text("".join(lines), encoding="utf-8")
    for book in range(6):
        text = " ".join(rng.choice(WORDS, 60))
        (folder / f"book-{book}.txt").write_text(text, encoding="utf-8")
    (folder / "broken.txt").write_bytes(b"\xff")
    return folder


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units and chunks of a few texts each, in this process."""
    monkeypatch.setattr(stages, "CHUNK_CHARS", 400)
    monkeypatch.setattr(work, "UNIT_BYTES", 600)


CONFIG = PrepareConfig(vocab_size=60)
FLAGS = ["--vocab-size", "60"]


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_files(
    texts: Path, tmp_path: Path, workers: int
) -> None:
    near = PrepareConfig(vocab_size=60, clean=CleaningConfig(near_duplicates=0.8))
    alone = prepare([texts], tmp_path / "alone", near)
    together = prepare([texts], tmp_path / "together", near, workers=workers)
    assert contents(alone.folder) == contents(together.folder)
    assert alone.index["dropped"]["duplicate"] == 10


@pytest.mark.usefixtures("small_units")
def test_the_size_of_chunks_changes_no_token(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = contents(prepare([texts], tmp_path / "small", CONFIG).folder)
    monkeypatch.undo()
    assert contents(prepare([texts], tmp_path / "large", CONFIG).folder) == small


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("stage", ["cleaning", "training", "tokenising"])
@pytest.mark.parametrize("calls", [1, 4])
def test_work_that_was_interrupted_goes_on(
    texts: Path, tmp_path: Path, stage: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(prepare([texts], tmp_path / "whole", CONFIG).folder)
    left = calls

    def interrupt(doing: str, done: int, total: int) -> None:
        nonlocal left
        left -= doing == stage
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([texts], tmp_path / "out", CONFIG, advance=interrupt)
    assert (tmp_path / "out" / WORK_FOLDER).is_dir()
    cleaned: list[Path] = []
    real = stages._clean_chunk
    monkeypatch.setattr(
        stages, "_clean_chunk", lambda chunk, *rest: (cleaned.append(chunk), real(chunk, *rest))
    )
    assert contents(prepare([texts], tmp_path / "out", CONFIG).folder) == whole
    chunks = len(list((tmp_path / "out").rglob("*")))
    assert (stage == "cleaning") == bool(cleaned), "nothing that is clean is cleaned again"
    assert chunks == len(whole), "nothing of the work is left"


def command(texts: Path, out: Path, *more: str, setup: str = SMALL_UNITS) -> subprocess.Popen[str]:
    script = out.with_suffix(".py")
    script.write_text(COMMAND.format(setup=setup), encoding="utf-8")
    words = ["data", "prepare", str(texts), "--out", str(out), *FLAGS, *more]
    return subprocess.Popen(
        [sys.executable, str(script), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[str]:
    """Processes a process has started, where the system tells."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return file.read_text().split() if file.exists() else []


def is_running(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize(
    ("wait_for", "workers"),
    [
        ("*.docs.jsonl", "2"),
        pytest.param("*.docs.jsonl", "1", marks=pytest.mark.slow),
        pytest.param("tokenizer", "2", marks=pytest.mark.slow),
        pytest.param("*.counts.json", "1", marks=pytest.mark.slow),
        pytest.param("*.counts.json", "2", marks=pytest.mark.slow),
        pytest.param("shards", "1", marks=pytest.mark.slow),
    ],
)
def test_work_that_was_killed_goes_on(
    texts: Path, tmp_path: Path, wait_for: str, workers: str
) -> None:
    whole = contents(prepare([texts], tmp_path / "whole", CONFIG).folder)
    out = tmp_path / "out"
    process = command(texts, out, "--workers", workers)
    while process.poll() is None and not list((out / WORK_FOLDER).glob(wait_for)):
        time.sleep(0.001)
    workers_alive = children(process.pid)
    process.kill()
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)
    while any(is_running(pid) for pid in workers_alive):
        time.sleep(0.001)  # a worker that outlived its parent would never end
    again = command(texts, out, "--workers", workers)
    _, messages = again.communicate()
    assert again.returncode == 0, messages
    assert contents(out) == whole


def test_a_full_disk_is_told_and_loses_nothing(texts: Path, tmp_path: Path) -> None:
    # The limit of a file's size answers as a full disk does, and needs no disk of its own.
    limit = (
        SMALL_UNITS + "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
    )
    out = tmp_path / "out"
    process = command(texts, out, "--workers", "1", setup=limit)
    _, messages = process.communicate()
    assert process.returncode == 2, messages
    assert "gpt1: cannot write" in messages
    again = command(texts, out, "--workers", "1")
    assert (again.communicate(), again.returncode)[1] == 0
    whole = command(texts, tmp_path / "whole", "--workers", "1")
    assert (whole.communicate(), whole.returncode)[1] == 0
    assert contents(out) == contents(tmp_path / "whole")


def stop_at(stage: str, texts: Path, out: Path) -> None:
    """Leave the work half done."""

    def interrupt(doing: str, done: int, total: int) -> None:
        if doing == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([texts], out, CONFIG, advance=interrupt)


@pytest.mark.usefixtures("small_units")
def test_other_settings_or_files_are_refused_where_work_is_half_done(
    texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stop_at("tokenising", texts, out)
    other = PrepareConfig(vocab_size=70, clean=CleaningConfig(min_words=9))
    problem = (
        r"not finished, and this one differs: vocab_size was 60 and is now 70; clean.min_words"
        r" was 0 and is now 9. Run the command that was begun, or delete .*\.preparing"
    )
    with pytest.raises(ConfigError, match=problem):
        prepare([texts], out, other)
    (texts / "a.jsonl").write_text('{"text": "changed"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="differs: the files have changed"):
        prepare([texts], out, CONFIG)


@pytest.mark.usefixtures("small_units")
def test_settings_of_a_tokenizer_may_be_others_until_there_is_one(
    texts: Path, tmp_path: Path
) -> None:
    stop_at("cleaning", texts, tmp_path / "out")
    other = PrepareConfig(vocab_size=70, valid_fraction=0.3)
    shards = prepare([texts], tmp_path / "out", other)
    assert contents(shards.folder) == contents(prepare([texts], tmp_path / "new", other).folder)


def test_there_is_at_least_one_worker(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is 0 but must be at least 1"):
        prepare([texts], tmp_path / "out", workers=0)


def test_results_come_in_the_order_of_the_tasks() -> None:
    with Workers(2) as workers:
        assert list(workers.map_in_order(abs, [3, -2, -1, 0] * 5)) == [3, 2, 1, 0] * 5


def test_workers_stay_for_what_comes_later() -> None:
    before, started = set(multiprocessing.active_children()), []
    with Workers(2) as workers:
        for _ in range(2):
            results = workers.map_in_order(abs, [-1, -2, -3])
            assert [next(results) for _ in range(3)] == [1, 2, 3]
            del results  # as if nobody asked whether there is more
            started.append(set(multiprocessing.active_children()) - before)
    assert started[0] == started[1]
    assert len(started[0]) == 2
    assert not started[0] & set(multiprocessing.active_children())


def test_an_error_in_a_worker_is_an_error_here() -> None:
    with Workers(2) as workers:
        with pytest.raises(DataError, match="there is no file nowhere"):
            list(workers.map_in_order(_fail, ["nowhere", "nowhere"]))
        assert list(workers.map_in_order(abs, [-1, -2])) == [1, 2]


def _fail(name: str) -> None:
    raise DataError(f"there is no file {name}")


def test_a_worker_that_is_killed_is_told() -> None:
    stopped = "a worker process was ended from outside"
    with Workers(2) as workers, pytest.raises(DataError, match=stopped):
        list(workers.map_in_order(_kill, [0, 0]))


def _kill(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    with Workers(2) as workers:
        results = workers.map_in_order(_wait_unless_zero, [0, 1, 0, 1])
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]


def _wait_unless_zero(number: int) -> int:
    if number:
        threading.Event().wait()
    return number
