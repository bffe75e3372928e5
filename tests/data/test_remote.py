"""Shards in object stores and on web servers: fetched once, checked, mapped like local ones."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.registry import known_implementations

from gpt1.data.prepare import prepare
from gpt1.data.remote import default_cache, fetch, is_url
from gpt1.data.shards import Shards
from gpt1.errors import DataError, MissingExtraError

WORDS = "the miller went to the mill and ground the corn "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a small text."""
    root = tmp_path_factory.mktemp("shards")
    (root / "text.txt").write_text(WORDS * 200, encoding="utf-8")
    prepare([root / "text.txt"], root / "out")
    return root / "out"


@pytest.fixture
def bucket(folder: Path) -> Iterator[str]:
    """The same shards in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    for file in folder.iterdir():
        memory.pipe_file(f"/bucket/shards/{file.name}", file.read_bytes())
    yield "memory://bucket/shards"
    memory.rm("/bucket", recursive=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and notes which."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The same shards on a web server."""
    Handler.asked.clear()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["bucket", "server"])
def test_remote_shards_are_those_of_the_folder(
    place: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    remote = Shards(request.getfixturevalue(place), cache=tmp_path)
    remote.verify()
    for split in ("train", "valid"):
        for part, original in zip(remote.tokens(split), Shards(folder).tokens(split), strict=True):
            assert isinstance(part, np.memmap)
            assert part.tolist() == original.tolist()


def test_a_file_is_fetched_once_and_only_when_it_is_needed(server: str, tmp_path: Path) -> None:
    Shards(server, cache=tmp_path).tokens("valid")
    assert [path for path in Handler.asked if path.endswith(".bin")] == ["/valid-00000.bin"]
    for _ in range(2):
        Shards(server, cache=tmp_path).tokens("train")
    assert [path for path in Handler.asked if "train" in path] == ["/train-00000.bin"]
    assert Handler.asked.count("/tokenizer.json") == 1


def test_a_slash_at_the_end_changes_nothing(bucket: str, tmp_path: Path) -> None:
    folders = {Shards(url, cache=tmp_path).folder for url in (bucket, f"{bucket}/")}
    assert len(folders) == 1


def test_what_a_killed_process_left_is_fetched_again(bucket: str, tmp_path: Path) -> None:
    shards = Shards(bucket, cache=tmp_path)
    (shards.folder / "train-00000.bin").write_bytes(b"torn")
    (shards.folder / ".train-00000.bin.part").write_bytes(b"half of it")
    shards.tokens("train")
    shards.verify()


def test_a_file_that_arrives_changed_is_refused_and_not_kept(bucket: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    content = bytearray(memory.cat_file("/bucket/shards/train-00000.bin"))
    content[0] ^= 1
    memory.pipe_file("/bucket/shards/train-00000.bin", bytes(content))
    shards = Shards(bucket, cache=tmp_path)
    problem = f"{bucket}/train-00000.bin came with {len(content)} bytes and SHA-256 "
    for _ in range(2):
        with pytest.raises(DataError, match=problem):
            shards.tokens("train")
    assert not list(shards.folder.glob("*train*.bin"))


def test_a_kept_file_that_was_changed_is_found(bucket: str, tmp_path: Path) -> None:
    shards = Shards(bucket, cache=tmp_path)
    path = shards.folder / "train-00000.bin"
    shards.tokens("train")
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match=f"{path} has SHA-256 .* delete {path} and try again"):
        shards.verify()


def test_shards_made_anew_at_the_same_place_are_other_shards(bucket: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    before = Shards(bucket, cache=tmp_path)
    index = dict(before.index, documents=7)
    memory.pipe_file("/bucket/shards/index.json", json.dumps(index).encode())
    after = Shards(bucket, cache=tmp_path)
    assert after.folder != before.folder
    assert after.index["documents"] == 7


def test_the_index_cannot_name_files_outside_the_folder(bucket: str, tmp_path: Path) -> None:
    shards = Shards(bucket, cache=tmp_path)
    entry = shards.index["splits"]["train"][0]
    entry["file"] = f"../../{entry['file']}"
    (path,) = (Path(part.filename) for part in shards.tokens("train"))  # type: ignore[attr-defined]
    assert path.parent == shards.folder


FETCH = """
import sys
from gpt1.data.shards import Shards
shards = Shards(sys.argv[1], cache=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
shards.tokens("train")
shards.verify()
"""


def test_processes_that_start_together_fetch_a_file_once(server: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", FETCH, server, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(words, text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    assert [process.stdout.readline() for process in processes] == 3 * ["ready\n"]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert Handler.asked.count("/train-00000.bin") == 1


# What goes wrong


def test_a_url_without_an_index_is_no_place_of_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"memory://nowhere holds no index\.json"):
        Shards("memory://nowhere", cache=tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "train-00000.bin"])
def test_a_file_that_is_missing_is_named(bucket: str, tmp_path: Path, name: str) -> None:
    fsspec.filesystem("memory").rm(f"/bucket/shards/{name}")
    with pytest.raises(DataError, match=f"there is no {bucket}/{name}; upload the data again"):
        Shards(bucket, cache=tmp_path).tokens("train")


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read http://127.0.0.1:9/index.json: .*connect"):
        Shards("http://127.0.0.1:9", cache=tmp_path)


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read nope://x/index.json: Protocol not known"):
        Shards("nope://x", cache=tmp_path)


def test_a_package_that_fsspec_misses_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = {"class": "no_such_package.Files", "err": "Install store-files to read a store"}
    monkeypatch.setitem(known_implementations, "store", missing)
    problem = r"cannot read store://x/a: Install store-files.*pip install \"gpt1\[data\]\""
    with pytest.raises(MissingExtraError, match=problem):
        fetch("store://x/a", tmp_path / "a")


# Places


def test_urls_are_told_from_paths() -> None:
    assert is_url("s3://bucket/shards")
    assert not any(map(is_url, ("shards", Path("/data/shards"), r"C:\data\shards")))


def test_the_cache_is_where_the_user_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Shards(bucket).folder.parent == tmp_path / "gpt1" / "shards"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "gpt1" / "shards"


def test_fetching_is_said(bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gpt1")
    Shards(bucket, cache=tmp_path)
    assert f"fetching {bucket}/tokenizer.json" in caplog.messages
