"""Keys typed at `gpt1 generate --interactive`, without a screen."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from gpt1.cli.interactive import Session
from gpt1.cli.terminal import history_path, make_editor, talk
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

ALT_ENTER = "\x1b\r"
UP = "\x1b[A"
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


class Listener(Session):
    """Notes the lines and leaves at ``/quit``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def handle(self, line: str) -> bool:
        self.lines.append(line)
        return line != "/quit"


def typed(keys: PipeInput, text: str) -> list[str]:
    """The lines that come of keys; the last key has to end the program."""
    listener = Listener()
    keys.send_text(text)
    talk(listener, make_editor(InMemoryHistory()))
    return listener.lines


def test_enter_ends_a_text_and_quit_the_program(keys: PipeInput) -> None:
    assert typed(keys, "the fox\r/quit\r") == ["the fox", "/quit"]


def test_ctrl_d_leaves(keys: PipeInput) -> None:
    assert typed(keys, "the fox\r" + CTRL_D) == ["the fox"]


def test_alt_enter_and_a_backslash_begin_a_new_line(keys: PipeInput) -> None:
    assert typed(keys, f"a{ALT_ENTER}b\\\rc\r{CTRL_D}") == ["a\nb\nc"]


def test_pasted_lines_are_one_text(keys: PipeInput) -> None:
    assert typed(keys, f"\x1b[200~one\r\ntwo\rthree\x1b[201~\r{CTRL_D}") == ["one\ntwo\nthree"]


def test_ctrl_c_drops_the_line_and_not_the_program(keys: PipeInput) -> None:
    assert typed(keys, f"half{CTRL_C}{CTRL_C}whole\r{CTRL_D}") == ["whole"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/se", ["/set", "/settings", "/seed"]),
        ("/set top", ["top_k", "top_p"]),
        ("/unset repe", ["repetition_penalty"]),
        ("/more top", []),
        ("the", []),
        ("set top", []),
    ],
)
def test_commands_and_names_of_settings_are_completed(line: str, expected: list[str]) -> None:
    completer = make_editor(InMemoryHistory()).completer
    assert completer is not None
    found = completer.get_completions(Document(line), CompleteEvent())
    assert [completion.text for completion in found] == expected


def test_history_is_kept_between_sessions(keys: PipeInput, tmp_path: Path) -> None:
    for line in ("first\nof two", "second"):
        keys.send_text(line.replace("\n", ALT_ENTER) + "\r" + CTRL_D)
        talk(Listener(), make_editor(FileHistory(tmp_path / "history")))
    kept = FileHistory(tmp_path / "history").load_history_strings()
    assert list(kept) == ["second", "first\nof two"]


def test_the_history_is_in_the_state_directory_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == tmp_path / "gpt1" / "history"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert history_path() == Path.home() / ".local" / "state" / "gpt1" / "history"


# ---------------------------------------------------------------- a real terminal


READY = "\x1b[?2004h"
"""What the line editor sends when it waits for keys: it asks for pasted text in brackets."""


class Terminal:
    """The command in a pseudo-terminal."""

    def __init__(self, words: list[str], state: Path) -> None:
        pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
        self.screen = b""
        self.end, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpt1", "generate", "--interactive", *words],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={
                **os.environ,
                "TERM": "xterm",
                "OMP_NUM_THREADS": "1",
                "PROMPT_TOOLKIT_NO_CPR": "1",
                "XDG_STATE_HOME": str(state),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
        os.close(other)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.end)

    def leave(self) -> int:
        self.type(CTRL_D)
        return self.process.wait(timeout=60)

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def wait_for(self, text: str) -> str:
        """Read up to a text; returns what came before it."""
        while (found := self.screen.find(text.encode())) < 0:
            ready, _, _ = select.select([self.end], [], [], 20)
            assert ready, self.screen
            self.screen += os.read(self.end, 1000)
        before, self.screen = self.screen[:found], self.screen[found + len(text) :]
        return before.decode(errors="replace")


def _take_terminal() -> None:
    """Make standard input the controlling terminal, so that its Ctrl-C reaches the process."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_session_in_a_terminal(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    LanguageModel(lively_model(tokenizer.vocab_size), tokenizer).save(tmp_path / "model")
    words = ["the fox", "--max-new-tokens", "100000000", "--model", str(tmp_path / "model")]
    with Terminal(words, tmp_path / "state") as terminal:
        terminal.wait_for("> the fox")
        terminal.wait_for("ov")
        terminal.type(CTRL_C)
        terminal.wait_for("[stopped]")
        terminal.wait_for(READY)
        terminal.type("/set max_new_tokens 0\r")
        terminal.wait_for("max_new_tokens is 0 but must be at least 1")
        terminal.wait_for(READY)
        terminal.type(UP)
        terminal.wait_for("/set max_new_tokens 0")
        terminal.type(CTRL_C)
        terminal.wait_for(READY)
        terminal.type(CTRL_C)
        terminal.wait_for("(/quit or Ctrl-D leaves)")
        terminal.wait_for(READY)
        assert terminal.leave() == 0
    assert "+/set max_new_tokens 0" in (tmp_path / "state" / "gpt1" / "history").read_text()


def test_a_history_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with Terminal(["--max-new-tokens", "1"], tmp_path / "state") as terminal:
        terminal.wait_for("what you type is not kept: ")
        terminal.wait_for(READY)
        assert terminal.leave() == 0
