"""Writing together with the model: what each line typed at ``--interactive`` does."""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from gpt1.atomic import write_text_atomic
from gpt1.cli.generation_arguments import (
    TEXTS,
    add_generation_arguments,
    generation_settings,
    setting_documents,
)
from gpt1.cli.token_table import print_token_table
from gpt1.errors import ConfigError, Gpt1Error
from gpt1.generation.settings import generation_config

if TYPE_CHECKING:
    from gpt1.language_model import LanguageModel

Kind: TypeAlias = Literal["text", "note", "error"]
Show: TypeAlias = Callable[[str, Kind], None]
"""Puts text on the screen, as it is: what the model writes, what the program says, a mistake."""

COMMANDS = {
    "set": ("NAME VALUE", "change a setting; without VALUE, explain it"),
    "unset": ("NAME", "put a setting back to its default"),
    "settings": ("", "show the settings that are not at their default"),
    "seed": ("[N]", "show the seed of the last text; with N, set that of the next ones"),
    "more": ("", "continue the last text"),
    "retry": ("", "write the last continuation again, with the next seed"),
    "undo": ("", "take the last continuation back"),
    "explain": ("", "show every token of the last text, and what the model expected"),
    "save": ("FILE", "write the last text to a new file"),
    "help": ("", "show this"),
    "quit": ("", "leave; so does Ctrl-D"),
}
"""Arguments and meaning of each command."""

HELP = """\
Type the beginning of a text and press Enter; the model continues it.
Alt-Enter, or \\ and Enter, begins a new line. Ctrl-C stops the text being written.
A text that begins with / needs a space before it.
"""


class Turn(NamedTuple):
    """A text, what the model added to it, and the seed it did that with."""

    prompt: str
    text: str
    seed: int


class Session:
    """What the program does with each line.

    Args:
        lm: The model.
        settings: Of generation.
        show: Puts text on the screen.

    Attributes:
        turns: What has been written, the last one last.
        settings: Of generation, all of them.

    Raises:
        ConfigError: If the settings do not suit a text that is streamed.
    """

    def __init__(self, lm: LanguageModel, settings: dict[str, Any], show: Show) -> None:
        self.turns: list[Turn] = []
        self._lm = lm
        self._show = show
        self._defaults = generation_settings(_parsed())
        self.settings = self._checked(settings)

    def handle(self, line: str) -> bool:
        """Do what a line says; mistakes are shown and change nothing.

        Args:
            line: A command, or a text to continue.

        Returns:
            Whether to go on.
        """
        try:
            if line.startswith("/"):
                return self._command(*line[1:].strip().partition(" ")[::2])
            if line.strip():
                self.write(line)
        except Gpt1Error as error:
            self._show(f"{error}\n", "error")
        return True

    def write(self, prompt: str, seed: int | None = None) -> None:
        """Continue a text; Ctrl-C stops that, and what is there by then counts.

        Args:
            prompt: The text.
            seed: Default: that of the settings, or a new one.
        """
        if seed is None:
            seed = self.settings["seed"]
        if seed is None:
            seed = random.randrange(2**31)
        pieces: list[str] = []
        stream = self._lm.stream(prompt, include_prompt=False, **{**self.settings, "seed": seed})
        try:
            for piece in stream:
                pieces.append(piece)
                self._show(piece, "text")
        except KeyboardInterrupt:
            self._show(" [stopped]", "note")
        self._show("\n" if pieces else "(the model ends the text here)\n", "note")
        self.turns.append(Turn(prompt, "".join(pieces), seed))

    def _command(self, name: str, argument: str) -> bool:
        if name not in COMMANDS:
            near = _nearest(name, COMMANDS, "/") or "; /help lists the commands"
            raise ConfigError(f"there is no command /{name}{near}")
        getattr(self, f"_do_{name}")(argument.strip())
        return name != "quit"

    def _do_set(self, argument: str) -> None:
        name, _, value = argument.partition(" ")
        self._check_name(name)
        if not value:
            self._say(f"{name} is {self.settings[name]!r}. {setting_documents()[name]}")
            return
        self.settings = self._checked({**self.settings, name: _setting(name, value.strip())})

    def _do_unset(self, name: str) -> None:
        self._check_name(name)
        self.settings = self._checked({**self.settings, name: self._defaults[name]})

    def _do_settings(self, _: str) -> None:
        changed = {n: v for n, v in self.settings.items() if v != self._defaults[n]}
        width = max(map(len, changed), default=0)
        for name, value in changed.items():
            self._say(f"{name:<{width}}  {value!r}")
        if not changed:
            self._say("all settings are at their defaults")

    def _do_seed(self, value: str) -> None:
        if value:
            self._do_set(f"seed {value}")
        else:
            self._say(f"the last text had seed {self._last().seed}")

    def _do_more(self, _: str) -> None:
        self.write(self._text())

    def _do_retry(self, _: str) -> None:
        last = self._last()
        if not generation_config(**self.settings).samples:
            self._say("without sampling the text is the same again; try /set temperature 0.8")
        self.write(last.prompt, last.seed + 1)
        self.turns.pop(-2)

    def _do_undo(self, _: str) -> None:
        self._last()
        self.turns.pop()
        self._say(f"the last text now is: {self._text()!r}" if self.turns else "nothing is left")

    def _do_explain(self, _: str) -> None:
        last = self._last()
        prompt_tokens = len(self._lm.tokenizer.encode(last.prompt))
        print_token_table(self._lm.explain(last.prompt + last.text), prompt_tokens)

    def _do_save(self, name: str) -> None:
        if not name:
            raise ConfigError("/save needs the name of a file")
        path = Path(name).expanduser()
        if path.exists():
            raise ConfigError(f"{path} exists; name another file")
        write_text_atomic(path, self._text() + "\n")
        self._say(f"saved as {path}")

    def _do_help(self, _: str) -> None:
        rows = [
            (f"/{name} {words}".strip(), meaning) for name, (words, meaning) in COMMANDS.items()
        ]
        width = max(len(usage) for usage, _ in rows)
        self._say(HELP + "\n".join(f"  {usage:<{width}}  {meaning}" for usage, meaning in rows))

    def _do_quit(self, _: str) -> None:
        pass

    def _say(self, message: str) -> None:
        self._show(message + "\n", "note")

    def _last(self) -> Turn:
        if not self.turns:
            raise ConfigError("there is no text yet; type the beginning of one")
        return self.turns[-1]

    def _text(self) -> str:
        last = self._last()
        return last.prompt + last.text

    def _check_name(self, name: str) -> None:
        if name not in self.settings:
            near = _nearest(name, self.settings) or f"; there are {', '.join(self.settings)}"
            raise ConfigError(f"there is no setting {name!r}{near}")

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        config = generation_config(**settings)
        if config.n > 1:
            raise ConfigError(f"n is {config.n} but here one text is written at a time; use /retry")
        return settings


def _nearest(name: str, known: Iterable[str], before: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {before}{near[0]}?" if near else ""


def _parsed(*words: str) -> Namespace:
    parser = ArgumentParser(exit_on_error=False)
    add_generation_arguments(parser)
    return parser.parse_args(list(words))


def _setting(name: str, value: str) -> Any:
    """The value of a setting, written as its flag has it; several texts are a JSON list."""
    values = _json_list(value) if name in TEXTS else [value]
    try:
        args = _parsed(*(f"--{name.replace('_', '-')}={text}" for text in values))
    except ArgumentError:
        raise ConfigError(
            f"{name} cannot be {value!r}. It is: {setting_documents()[name]}"
        ) from None
    return generation_settings(args)[name]


def _json_list(value: str) -> list[str]:
    try:
        texts = json.loads(value)
    except json.JSONDecodeError:
        return [value]
    is_list = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    return texts if is_list else [value]
