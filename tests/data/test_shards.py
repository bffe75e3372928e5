"""Token shards: what is written is read, and what is broken is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.data import shards
from gpt1.data.prepare import prepare
from gpt1.data.shards import INDEX, Shards, ShardWriter, write_index
from gpt1.errors import DataError
from gpt1.tokenizer import Tokenizer

TEXTS = [[1, 2, 3], [], [65_535], [4, 5, 6, 7, 8, 9]]


def write(folder: Path, shard_tokens: int = shards.SHARD_TOKENS) -> Shards:
    """Shards of `TEXTS` for training, and none for validation."""
    entries = ShardWriter(folder, "train", shard_tokens).write(TEXTS)
    write_index(folder, {"train": entries, "valid": []}, "abcdef" * 8, documents=4)
    return Shards(folder)


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(st.lists(st.integers(0, 65_535), max_size=12), max_size=12),
    shard_tokens=st.integers(1, 15),
)
def test_tokens_survive_the_way_to_disk_across_shard_borders(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[int]], shard_tokens: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    entries = ShardWriter(folder, "train", shard_tokens).write(iter(texts))
    write_index(folder, {"train": entries}, "print")
    maps = Shards(folder).tokens("train")
    tokens = [token for text in texts for token in text]
    assert [token for part in maps for token in part.tolist()] == tokens
    sizes = [len(part) for part in maps]
    assert set(sizes[:-1]) <= {shard_tokens}
    assert all(0 < size <= shard_tokens for size in sizes)


def test_files_are_memory_mapped_little_endian_uint16(tmp_path: Path) -> None:
    (part,) = write(tmp_path).tokens("train")
    assert isinstance(part, np.memmap)
    assert (tmp_path / "train-00000.bin").read_bytes()[:8] == b"\1\0\2\0\3\0\xff\xff"


def test_the_index_says_what_is_in_each_file(tmp_path: Path) -> None:
    index = write(tmp_path, shard_tokens=4).index
    assert index["dtype"] == "uint16"
    assert index["documents"] == 4
    entries = index["splits"]["train"]
    assert [(entry["file"], entry["tokens"]) for entry in entries] == [
        ("train-00000.bin", 4),
        ("train-00001.bin", 4),
        ("train-00002.bin", 2),
    ]
    for entry in entries:
        content = (tmp_path / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_split_without_tokens_or_an_unknown_one_has_no_files(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert written.tokens("valid") == []
    assert written.tokens("test") == []


def test_an_id_that_needs_more_than_16_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="token id 65536 does not fit a shard; ids go up to 65535"):
        ShardWriter(tmp_path, "train").write([[1, 2], [65_536]])


def test_a_folder_is_not_complete_before_its_index_is_written(tmp_path: Path) -> None:
    def failing() -> Iterator[list[int]]:
        yield [1, 2, 3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ShardWriter(tmp_path, "train", shard_tokens=2).write(failing())
    assert (tmp_path / "train-00000.bin").exists()
    problem = f"{tmp_path} holds no {INDEX}, so it is no complete folder of shards; make one with"
    with pytest.raises(DataError, match=re.escape(problem)):
        Shards(tmp_path)


def test_an_index_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"dtype": ', encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / INDEX} is not JSON: Expecting")):
        Shards(tmp_path)


@pytest.mark.parametrize("left", [None, 7, 21])
def test_a_missing_or_torn_file_is_refused(tmp_path: Path, left: int | None) -> None:
    written, path = write(tmp_path), tmp_path / "train-00000.bin"
    if left is None:
        path.unlink()
    else:
        path.write_bytes(bytes(left))
    problem = f"{path} has {left or 0} bytes but must have 20; prepare the data again"
    with pytest.raises(DataError, match=re.escape(problem)):
        written.tokens("train")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with their tokenizer."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "text.txt").write_text("the miller went to the mill " * 100, encoding="utf-8")
    prepare([root / "text.txt"], root / "out")
    return root / "out"


@pytest.mark.parametrize("name", ["train-00000.bin", "valid-00000.bin"])
def test_a_changed_byte_is_found_by_reading_everything(
    prepared: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(prepared, tmp_path / "copy")
    Shards(folder).verify()
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    Shards(folder).tokens("train")
    problem = rf"{folder / name} has SHA-256 \w{{12}} but index.json says .* prepare the data again"
    with pytest.raises(DataError, match=problem):
        Shards(folder).verify()


def test_another_tokenizer_is_found_by_reading_everything(prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "copy")
    Tokenizer.train(["other words"] * 9, vocab_size=30).save(folder)
    with pytest.raises(DataError, match="is not the one the tokens were made with"):
        Shards(folder).verify()


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert json.loads((tmp_path / INDEX).read_text(encoding="utf-8")) == written.index
