"""Files of results: in order, a window at a time, and the same after any number of kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from gpt1.cli.main import main
from gpt1.cli.pipeline import RecordFile, complete_all, fingerprint
from gpt1.cli.prompts import Prompt
from gpt1.errors import ConfigError, DataError
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "nose", "said", "why"]
SETTINGS = ["--max-new-tokens", "6", "--temperature", "1", "--seed", "7", "--n", "2"]
SETTINGS += ["--logprobs", "2", "--window", "8"]
PROMPTS = 45


def random_prompts(count: int) -> list[str]:
    choose = random.Random(1)
    return [" ".join(choose.choices(WORDS, k=choose.randint(1, 12))) for _ in range(count)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in `started`: with more, sums are taken in another order and the last digits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    tokenizer = small_tokenizer(end_of_text=False)
    return LanguageModel(lively_model(tokenizer.vocab_size), tokenizer)


@pytest.fixture(scope="module")
def folder(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    lm.save(folder / "model")
    (folder / "prompts.txt").write_text("\n\n".join(random_prompts(PROMPTS)), encoding="utf-8")
    return folder


def command(folder: Path, out: Path) -> list[str]:
    words = ["generate", "--file", str(folder / "prompts.txt"), "--out", str(out)]
    return [*words, "--model", str(folder / "model"), *SETTINGS]


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> bytes:
    """The file of a run that nobody disturbs."""
    out = folder / "unbroken.jsonl"
    assert main(command(folder, out)) == 0
    return out.read_bytes()


@pytest.fixture
def begun(folder: Path, unbroken: bytes, tmp_path: Path) -> Path:
    """The file of a run that was killed in the middle of its twelfth record."""
    out = tmp_path / "begun.jsonl"
    lines = unbroken.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:11]) + lines[11][:50])
    settings = (folder / "unbroken.jsonl.settings.json").read_bytes()
    out.with_name("begun.jsonl.settings.json").write_bytes(settings)
    return out


# ---------------------------------------------------------------- windows


def test_results_come_in_the_order_of_the_prompts(lm: LanguageModel) -> None:
    prompts = [Prompt(text) for text in random_prompts(10)]
    pairs = list(complete_all(lm, prompts, 4, {"max_new_tokens": 5}, iter(())))
    assert [prompt for prompt, _ in pairs] == prompts
    expected = lm.generate([p.text for p in prompts], max_new_tokens=5, include_prompt=False)
    assert [completion.text for _, (completion,) in pairs] == expected


def test_no_more_than_a_window_of_prompts_is_read_before_it_is_done(lm: LanguageModel) -> None:
    read: list[int] = []

    def prompts() -> Iterator[Prompt]:
        for number in range(1_000_000):
            read.append(number)
            yield Prompt("the fox")

    results = complete_all(lm, prompts(), 3, {"max_new_tokens": 1}, iter(()))
    for expected in (3, 3, 3, 6):
        next(results)
        assert len(read) == expected


def test_a_prompt_without_tokens_is_named_by_its_line(lm: LanguageModel) -> None:
    prompts = [Prompt("the fox", "p.jsonl, line 1"), Prompt("", "p.jsonl, line 2")]
    with pytest.raises(DataError, match=r"^p.jsonl, line 2: the prompt '' has no tokens, and this"):
        list(complete_all(lm, prompts, 8, {}, iter(())))


def test_a_prompt_without_tokens_begins_a_text_where_the_model_can(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    lm = LanguageModel(lively_model(tokenizer.vocab_size), tokenizer)
    [(_, [completion])] = complete_all(lm, [Prompt("")], 8, {"max_new_tokens": 3}, iter(()))
    assert completion == lm.complete("", max_new_tokens=3)[0][0]


# ---------------------------------------------------------------- kills


def test_the_file_has_a_record_a_prompt(unbroken: bytes, lm: LanguageModel) -> None:
    records = [json.loads(line) for line in unbroken.splitlines()]
    prompts = random_prompts(PROMPTS)
    texts = lm.generate(prompts, max_new_tokens=6, temperature=1, seed=7, n=2, include_prompt=False)
    assert [record["prompt"] for record in records] == prompts
    assert [[c["text"] for c in record["completions"]] for record in records] == texts


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.25, 0.33, 0.5, 0.77, 0.9, 0.9999, 1.0])
def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(
    begun: Path, folder: Path, unbroken: bytes, share: float
) -> None:
    begun.write_bytes(unbroken[: round(share * len(unbroken))])
    assert main([*command(folder, begun), "--resume"]) == 0
    assert begun.read_bytes() == unbroken


@pytest.mark.parametrize("records", [1, 7, 8, 9, 16, 44])
def test_a_file_that_ends_with_a_whole_record_is_completed_to_the_same_bytes(
    begun: Path, folder: Path, unbroken: bytes, records: int
) -> None:
    begun.write_bytes(b"".join(unbroken.splitlines(keepends=True)[:records]))
    assert main([*command(folder, begun), "--resume"]) == 0
    assert begun.read_bytes() == unbroken


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    folder: Path, unbroken: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "killed.jsonl"
    places = sorted(random.Random().sample(range(len(unbroken) // 2), 3))
    for place in places:
        with started([*command(folder, out), "--resume"]) as process:
            while process.poll() is None and size(out) <= place:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
        assert unbroken.startswith(out.read_bytes()), places
    assert main([*command(folder, out), "--resume"]) == 0
    assert out.read_bytes() == unbroken, places


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gpt1", *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
    )


def sleeps(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is inside a system call: Python sees a signal that came just before too late."""
    return psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_leaves_whole_records_and_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ["generate", "-", "--model", str(folder / "model"), "--out", str(out)]
    with started([*words, "--window", "1"]) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"the fox\nthe dog\n")
        process.stdin.flush()  # and stays open: the command waits for more
        while size(out) == 0 or out.read_bytes().count(b"\n") < 2 or not sleeps(process):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        message = process.stderr.read().decode()
        assert process.wait(timeout=60) == 130
    assert message == (
        "Interrupted; 2 prompts are done. Continue with the same command and --resume\n"
    )
    assert [json.loads(line)["prompt"] for line in out.read_text().splitlines()] == [
        "the fox",
        "the dog",
    ]


# ---------------------------------------------------------------- what is refused


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    assert main(words) == 2
    return capsys.readouterr().err


def test_a_file_that_exists_is_refused_by_name(
    begun: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with unchanged(begun):
        message = refused(capsys, command(folder, begun))
    assert f"{begun} exists; continue it with --resume, or name another file" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "0.5"], "temperature was 1.0 and is 0.5"),
        (["--seed", "8", "--top-k", "5"], "top_k was None and is 5; seed was 7 and is 8"),
        (["--explain"], "explain was False and is True"),
        (["--window", "4"], "window was 8 and is 4"),
    ],
)
def test_other_settings_are_refused(
    begun: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    with unchanged(begun):
        shown = refused(capsys, [*command(folder, begun), "--resume", *words])
    assert f"cannot resume {begun} with other settings: {message}. Give" in shown


def test_a_model_that_was_trained_further_is_refused(
    begun: Path, folder: Path, capsys: pytest.CaptureFixture[str], lm: LanguageModel, tmp_path: Path
) -> None:
    trained = LanguageModel(lively_model(lm.tokenizer.vocab_size), lm.tokenizer)
    assert fingerprint(trained) == fingerprint(lm)
    with torch.no_grad():
        trained.model.h[1].ln_2.bias += 1e-3
    assert fingerprint(trained) != fingerprint(lm)
    trained.save(tmp_path / "model")
    words = [*command(folder, begun), "--resume", "--model", str(tmp_path / "model")]
    with unchanged(begun):
        assert "; weights was " in refused(capsys, words)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: ["a nose", *lines], r"line 1: the prompt is 'a nose' but its record has"),
        (lambda lines: lines[:5], "there are more records than prompts; --resume continues"),
    ],
)
def test_other_prompts_are_refused(
    begun: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Any,
    message: str,
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\n".join(edit(random_prompts(PROMPTS))), encoding="utf-8")
    with unchanged(begun):
        shown = refused(capsys, [*command(folder, begun), "--resume", "--file", str(other)])
    assert message in shown
    assert "Nothing was changed" in shown


def test_prompts_with_other_ids_are_refused(lm: LanguageModel) -> None:
    record = {"id": 4, "prompt": "the fox", "prompt_ids": lm.tokenizer.encode("the fox")}
    with pytest.raises(DataError, match="p, line 1: the prompt is 'the fox' but its record has"):
        list(complete_all(lm, [Prompt("the fox", "p, line 1", 5)], 8, {}, iter([record])))


def test_prompts_that_were_added_since_are_done_as_well(
    begun: Path, folder: Path, unbroken: bytes, tmp_path: Path
) -> None:
    longer = tmp_path / "longer.txt"
    longer.write_text("\n".join([*random_prompts(PROMPTS), "dog"]), encoding="utf-8")
    assert main([*command(folder, begun), "--resume", "--file", str(longer)]) == 0
    lines = begun.read_bytes().splitlines(keepends=True)
    assert len(lines) == PROMPTS + 1
    # The added prompt shares its window, so only the windows before it are equal to the last digit.
    assert b"".join(lines[:40]) == b"".join(unbroken.splitlines(keepends=True)[:40])


def test_a_file_without_its_settings_is_refused(
    begun: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun.with_name("begun.jsonl.settings.json").unlink()
    with unchanged(begun):
        message = refused(capsys, [*command(folder, begun), "--resume"])
    assert "begun.jsonl.settings.json, which says how it was made, is not there" in message


def test_a_line_that_is_no_record_is_named(begun: Path) -> None:
    begun.write_bytes(b"{}\n[]\n")
    settings = json.loads(begun.with_name("begun.jsonl.settings.json").read_text())
    with (
        RecordFile(begun, settings, resume=True) as file,
        pytest.raises(DataError, match=r"begun.jsonl, line 2: not a record of gpt1 generate"),
    ):
        list(file.recorded())


def test_a_full_disk_is_one_clear_error_and_the_run_can_go_on(
    folder: Path, unbroken: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    with largest_file(len(unbroken) // 2):
        message = refused(capsys, command(folder, out))
    done = unbroken[: len(unbroken) // 2].count(b"\n")
    assert f"cannot write {out}: File too large; {done} records are in it. Once there" in message
    assert size(out) == len(unbroken) // 2
    assert main([*command(folder, out), "--resume"]) == 0
    assert out.read_bytes() == unbroken


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


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.mkdir()
    path.with_name("out.jsonl.settings.json").write_text("{}")
    with pytest.raises(DataError, match=r"cannot write .*out.jsonl: Is a directory; 0 records are"):
        RecordFile(path, {}, resume=True)


def test_a_new_file_is_refused_where_one_is(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").touch()
    with pytest.raises(ConfigError, match=r"out.jsonl exists; continue it with --resume"):
        RecordFile(tmp_path / "out.jsonl", {}, resume=False)
