"""Many prompts: completed window by window, recorded as JSON lines, and resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gpt1.atomic import write_text_atomic
from gpt1.cli.progress import console
from gpt1.cli.prompts import Prompt
from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gpt1.generation.stopping import Completion
    from gpt1.language_model import LanguageModel

Record = dict[str, Any]
"""What is written for one prompt."""


def complete_all(
    lm: LanguageModel,
    prompts: Iterable[Prompt],
    window: int,
    settings: Mapping[str, Any],
    recorded: Iterator[Record],
) -> Iterator[tuple[Prompt, list[Completion]]]:
    """Continue any number of prompts, with no more than a window of them in memory.

    Args:
        lm: The model.
        prompts: In the order of the results.
        window: Prompts that are read and generated together, at least 1.
        settings: Of `LanguageModel.complete`.
        recorded: Records of the first prompts; these are compared and not yielded again. The
            window the records end in is generated whole all the same: so each text has the
            neighbours, and to the last digit the probabilities, it has in a run without a break.

    Yields:
        Each prompt with its continuations.

    Raises:
        DataError: If a prompt has no tokens, or a record is of another prompt.
    """
    prompts = iter(prompts)
    while group := list(islice(prompts, window)):
        ids = [_prompt_ids(lm, prompt) for prompt in group]
        done = 0
        for prompt, expected, record in zip(group, ids, recorded, strict=False):
            _check_record(record, prompt, expected)
            done += 1
        if done < len(group):
            results = lm.complete([prompt.text for prompt in group], **settings)
            yield from list(zip(group, results, strict=True))[done:]
    if next(recorded, None) is not None:
        raise DataError(
            "there are more records than prompts; --resume continues the same prompts. "
            "Nothing was changed"
        )


def _prompt_ids(lm: LanguageModel, prompt: Prompt) -> list[int]:
    ids = lm.tokenizer.encode(prompt.text)
    if not ids and lm.tokenizer.end_of_text_id is not None:
        return [lm.tokenizer.end_of_text_id]
    if not ids:
        place = f"{prompt.place}: " if prompt.place else ""
        raise DataError(
            f"{place}the prompt {prompt.text!r} has no tokens, and this model has no end-of-text "
            "token to begin a text with; give at least one word"
        )
    return ids


def _check_record(record: Record, prompt: Prompt, ids: list[int]) -> None:
    if (record.get("prompt_ids"), record.get("id")) != (ids, prompt.id):
        raise DataError(
            f"{prompt.place}: the prompt is {prompt.text!r:.60} but its record has "
            f"{record.get('prompt')!r:.60}; --resume continues the same prompts. "
            "Nothing was changed"
        )


class RecordFile:
    """A file of JSON lines that a later run can continue.

    Beside it stands ``FILE.settings.json``, what it was made with. Use it in a ``with`` statement.

    Args:
        path: The file.
        settings: What a run that resumes must have in common with the one that began: plain data.
        resume: Continue it if it is there; otherwise it must not be.

    Attributes:
        count: Whole records in the file, as far as they have been read or written.

    Raises:
        ConfigError: If the file is there and ``resume`` is False, or the settings differ.
        DataError: If it cannot be written.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self.path = Path(path)
        self.count = 0
        self._end = 0
        check_out(self.path, resume=resume)
        self._settings = self.path.with_name(self.path.name + ".settings.json")
        is_new = not self.path.exists()
        if is_new:
            write_text_atomic(self._settings, json.dumps(settings, indent=2) + "\n")
        else:
            self._check_settings(json.loads(json.dumps(settings)))
        try:
            # Unbuffered: what is in the file is what was counted, also after an error.
            self._file = self.path.open("xb" if is_new else "r+b", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def recorded(self) -> Iterator[Record]:
        """The whole records that are there; a half-written last line is none."""
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                yield self._parsed(line)
                self._end += len(line)
                self.count += 1

    def write(self, record: Record) -> None:
        """Add a record, behind those that `recorded` has read; it is in the file at once.

        Raises:
            DataError: If the disk is full, for example.
        """
        line = memoryview(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise self._error(error) from error
        self._end = self._file.tell()
        self.count += 1

    def _parsed(self, line: bytes) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise DataError(
                f"{self.path}, line {self.count + 1}: not a record of gpt1 generate; "
                "cut the file off before it, or name another"
            )
        return record

    def _check_settings(self, settings: Record) -> None:
        try:
            began = json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"cannot resume {self.path}: {self._settings}, which says how it was made, is not "
                "there or is damaged; name another file"
            ) from error
        changed = [
            f"{name} was {began.get(name)!r} and is {settings.get(name)!r}"
            for name in {**began, **settings}
            if began.get(name) != settings.get(name)
        ]
        if changed:
            raise ConfigError(
                f"cannot resume {self.path} with other settings: {'; '.join(changed)}. Give the "
                "settings it was begun with, or name another file; nothing was changed"
            )

    def _error(self, error: OSError) -> DataError:
        return DataError(
            f"cannot write {self.path}: {error.strerror}; {self.count:,} records are in it. "
            "Once there is room, give the same command with --resume"
        )


def check_out(path: Path, *, resume: bool) -> None:
    """Refuse to write over a file.

    Raises:
        ConfigError: If the file is there and is not to be resumed.
    """
    if path.exists() and not resume:
        raise ConfigError(f"{path} exists; continue it with --resume, or name another file")


def fingerprint(lm: LanguageModel) -> str:
    """A short text that changes when a model is trained further or quantized: a hash."""
    digest = hashlib.sha256((lm.quantized or "").encode())
    for parameter in lm.model.parameters():
        if parameter.dim() == 1:
            digest.update(parameter.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()[:16]


class PromptProgress:
    """Prompts done, their rate and the time left, on a terminal.

    Args:
        size_bytes: Of all prompts; None if it is not known, and then the time left is not either.
        visible: Whether to show it.
    """

    def __init__(self, size_bytes: int | None, *, visible: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[done]:,} prompts"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]:,.1f} prompts/s"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not (visible and console.is_terminal),
        )
        self._task = self._progress.add_task("", total=size_bytes, done=0, rate=0.0)
        self._done = 0
        self._began = time.monotonic()

    def __enter__(self) -> PromptProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, prompt: Prompt) -> None:
        """Count a prompt that is done."""
        self._done += 1
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        self._progress.update(self._task, completed=prompt.end, done=self._done, rate=rate)
