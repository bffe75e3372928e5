"""Flags from config dataclasses: one field, one flag, its docstring the help text."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from argparse import Action
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any, TypeVar, get_type_hints

from jsonargparse import ArgumentParser, Namespace

Config = TypeVar("Config")


def add_fields(
    parser: ArgumentParser,
    config: type[Any],
    *,
    prefix: str = "",
    defaults: Mapping[str, Any] | None = None,
    leave_out: Collection[str] = (),
) -> None:
    """Add a flag for every field of a dataclass; nested ones have a dot, ``--optimizer.name``.

    Args:
        parser: Gets the flags.
        config: A dataclass with a docstring under each field.
        prefix: Before the names, with its dot.
        defaults: Other defaults than the dataclass has; of a nested field by its name with a dot.
        leave_out: Fields without a flag, nested ones with a dot; `collect` leaves them at their
            default.
    """
    hints, documents = get_type_hints(config), field_documents(config)
    for field in dataclasses.fields(config):
        if field.name in leave_out:
            continue
        name, hint = prefix + field.name, hints[field.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            nested = f"{field.name}."
            changed = {
                key.removeprefix(nested): value
                for key, value in (defaults or {}).items()
                if key.startswith(nested)
            }
            left_out = [key.removeprefix(nested) for key in leave_out if key.startswith(nested)]
            add_fields(parser, hint, prefix=f"{name}.", defaults=changed, leave_out=left_out)
            continue
        default = (defaults or {}).get(field.name, field.default)
        required = default is dataclasses.MISSING
        is_switch = hint is bool and not default  # one that is on is turned off by: --name false
        options: dict[str, Any] = {"action": "store_true"} if is_switch else {"type": hint}
        if not required:
            options["default"] = default
        parser.add_argument(
            "--" + name.replace("_", "-"), required=required, help=documents[field.name], **options
        )


def collect(config: type[Config], values: Namespace) -> Config:
    """Make the dataclass from parsed flags.

    Args:
        config: The dataclass `add_fields` was called with.
        values: Holds the values; a field that is not among them keeps its default.

    Raises:
        ConfigError: From the checks of the dataclass.
    """
    hints = get_type_hints(config)
    arguments = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if field.name not in values:
            continue
        value = values[field.name]
        nested = dataclasses.is_dataclass(hints[field.name])
        arguments[field.name] = collect(hints[field.name], value) if nested else value
    return config(**arguments)


def field_documents(config: type[Any]) -> dict[str, str]:
    """The docstring under each field of a dataclass, on one line, without Markdown."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(definition, ast.ClassDef)
    body, documents = definition.body, {}
    for field, document in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(document, ast.Expr):
            text = " ".join(ast.literal_eval(document.value).split())
            documents[ast.unparse(field.target)] = text.replace("%", "%%")
    return documents


class Append(Action):
    """Adds to what a settings file gave, which need not be a list."""

    def __call__(
        self,
        parser: object,
        namespace: Any,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Take down another value of a flag that may be given several times."""
        setattr(namespace, self.dest, [*listed(getattr(namespace, self.dest)), values])


def as_given(value: Any) -> Any:
    """Keep what a flag or a settings file holds: it is checked later, with a clear message."""
    return value


def listed(value: Any) -> list[Any]:
    """What `Append` collected, or a settings file gave: none, one or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def add_run_arguments(parser: ArgumentParser) -> None:
    """The flags every training command has."""
    parser.add_argument("--out", required=True, help="Folder of the run; made if need be.")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Continue the run in --out, with the settings it was started with.",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Train nothing: say what the run would do and need, and what is wrong with it.",
    )
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")
