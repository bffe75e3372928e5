"""Builds a command's parser: its own flags, ``--config FILE`` and ``--print-config``."""

from __future__ import annotations

import difflib
import re
from argparse import RawDescriptionHelpFormatter
from os import PathLike
from pathlib import Path
from types import ModuleType

from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
)

from gpt1.cli.main import COMMANDS
from gpt1.config import RUN_FILE
from gpt1.errors import ConfigError


class _HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Shows defaults and keeps the lines of the examples."""


def parse(name: str, module: ModuleType, words: list[str]) -> Namespace:
    """Parse the flags of a command.

    Args:
        name: Words of the command, for the usage line.
        module: Has ``add_arguments(parser)`` and ``EXAMPLES``; and ``RESUMES_A_FILE`` where
            ``--resume`` is not about the folder of a run. Or has ``PASSES_WORDS_ON``, where
            another program parses them.
        words: After the command.

    Returns:
        The values; ``config`` and the like are left out. Or the words, under that name.

    Raises:
        ConfigError: If a flag or a key of a config file is unknown, missing or of the wrong kind.
    """
    if hasattr(module, "PASSES_WORDS_ON"):
        return Namespace(words=words)  # type: ignore[no-untyped-call]
    parser = ArgumentParser(
        prog=f"gpt1 {name}",
        description=COMMANDS[name].capitalize() + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES.splitlines()),
        formatter_class=_HelpFormatter,
        print_config="--print-config",
        exit_on_error=False,
        default_config_files=(
            [] if hasattr(module, "RESUMES_A_FILE") else _settings_of_resumed_run(words)
        ),
    )
    parser.add_argument("--config", action="config", help="YAML file of settings.")
    module.add_arguments(parser)
    try:
        return parser.parse_args(words)
    except ArgumentError as error:
        raise ConfigError(_explain(str(error), parser, f"gpt1 {name}")) from None


def _settings_of_resumed_run(words: list[str]) -> list[str | PathLike[str]]:
    """The settings a run was started with, where ``--resume`` asks to go on with them."""
    if "--resume" not in words:
        return []
    for place, word in enumerate(words):
        if word.startswith("--out"):
            folder = word.partition("=")[2] or "".join(words[place + 1 : place + 2])
            path = Path(folder) / RUN_FILE
            if not path.is_file():
                raise ConfigError(
                    f"nothing to resume: {folder} holds no {RUN_FILE}; "
                    "start the run without --resume, or correct --out"
                )
            return [str(path)]
    raise ConfigError("--resume needs --out, the folder of the run to continue")


def _explain(message: str, parser: ArgumentParser, command: str) -> str:
    """The parser's message on one line, with the nearest valid name for an unknown one."""
    text = " ".join(message.split())
    text = re.sub(r"a <class '(\w+)'>", r"\1", text)
    text = re.sub(r"Does not validate .*? - (Expected \w+).*Given value:", r"\1. Got value:", text)
    text = re.sub(r"a typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"(?<=arguments are required: ).*", lambda found: _flags(found[0], parser), text)
    text = re.sub(r'^Parser key "([\w.]+)"', lambda found: _flag(found[1]), text)
    unknown = re.search(r"(?:unrecognized arguments: (--)|Option ')([\w.-]+)", text)
    if unknown:
        word = unknown[2].replace("-", "_")
        near = difflib.get_close_matches(word, [action.dest for action in parser._actions], n=1)
        if near:
            text += f"; did you mean {_flag(near[0]) if unknown[1] else near[0]}?"
    return f"{text} (see {command} --help)"


def _flags(names: str, parser: ArgumentParser) -> str:
    """The names as a user types them: options with dashes, positional arguments as they are."""
    options = {action.dest for action in parser._actions if action.option_strings}
    return ", ".join(_flag(name) if name in options else name for name in names.split(", "))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
