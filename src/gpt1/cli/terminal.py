"""The terminal of ``gpt1 generate --interactive``: a line editor with history and completion."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gpt1.cli.interactive import COMMANDS, Kind, Session
from gpt1.cli.loading import load_model
from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

PROMPT = "> "
STYLES: dict[Kind, str] = {"text": "ansicyan", "note": "", "error": "ansired"}


def run_interactive(args: Namespace, settings: dict[str, Any]) -> int:
    """Load the model and talk until the user leaves.

    Args:
        args: Of the command line.
        settings: Of generation, to begin with.

    Returns:
        The exit code.

    Raises:
        ConfigError: If there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "--interactive needs a terminal; to continue many prompts, give them to gpt1 generate -"
        )
    session = Session(load_model(args), settings, show)
    show(
        f"{args.model} continues what you type. /help lists the commands, Ctrl-D leaves.\n", "note"
    )
    editor = make_editor(_history())
    if args.prompt is not None:
        show(f"{PROMPT}{args.prompt}\n", "note")
        session.write(args.prompt)
    talk(session, editor)
    return 0


def talk(session: Session, editor: PromptSession[str]) -> None:
    """Give each line the user enters to the session, until one of them leaves.

    Args:
        session: Does what the lines say.
        editor: Where they are typed.
    """
    while True:
        try:
            if not session.handle(editor.prompt()):
                return
        except KeyboardInterrupt:
            if not editor.default_buffer.text:
                show("(/quit or Ctrl-D leaves)\n", "note")
        except EOFError:
            return


def make_editor(history: History) -> PromptSession[str]:
    """A line editor: Enter ends the text, Alt-Enter or a backslash and Enter a line of it.

    Args:
        history: Keeps what was typed.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory

    return PromptSession(
        PROMPT,
        multiline=True,
        prompt_continuation="  ",
        key_bindings=_key_bindings(),
        history=history,
        auto_suggest=AutoSuggestFromHistory(),
        completer=_completer(),
        reserve_space_for_menu=4,
        enable_suspend=True,
    )


def _key_bindings() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def alt_enter(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _completer() -> Completer:
    """Completes commands, and behind /set and /unset the names of settings."""
    from prompt_toolkit.completion import Completer, Completion

    names = [field.name for field in dataclasses.fields(GenerationConfig)]

    class Commands(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterator[Completion]:
            command, space, name = document.text_before_cursor.partition(" ")
            if not space:
                words, begun = [f"/{known}" for known in COMMANDS], command
            else:
                words, begun = (names if command in ("/set", "/unset") else []), name
            if command.startswith("/"):
                for word in words:
                    if word.startswith(begun):
                        yield Completion(word, start_position=-len(begun))

    return Commands()


def history_path() -> Path:
    """Where what was typed is kept: in the user's state directory (XDG)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "gpt1" / "history"


def _history() -> History:
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = history_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.open("ab").close()
    except OSError as error:
        show(f"what you type is not kept: {path}: {error.strerror}\n", "note")
        return InMemoryHistory()
    return FileHistory(path)


def show(text: str, kind: Kind) -> None:
    """Put text on the terminal."""
    from prompt_toolkit import print_formatted_text
    from prompt_toolkit.formatted_text import FormattedText

    print_formatted_text(FormattedText([(STYLES[kind], text)]), end="", flush=True)
