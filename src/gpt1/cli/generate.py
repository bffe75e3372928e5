"""``gpt1 generate``: continue a prompt, as it is generated; or many prompts; or interactively."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.generation_arguments import add_generation_arguments, generation_settings
from gpt1.cli.loading import add_model_arguments, add_native_arguments, load_model
from gpt1.cli.pipeline import (
    PromptProgress,
    Record,
    RecordFile,
    check_out,
    complete_all,
    fingerprint,
)
from gpt1.cli.progress import say
from gpt1.cli.prompts import STANDARD_INPUT, Prompt, PromptFile
from gpt1.cli.token_table import print_token_table
from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gpt1.generation.stopping import Completion
    from gpt1.language_model import LanguageModel

EXAMPLES = """\
gpt1 generate "Hello, my dog is cute and" --max-new-tokens 20
gpt1 generate "JOKE:" --temperature 0.8 --top-p 0.95 --n 5 --seed 1 --stop "\\n"
gpt1 generate --interactive --temperature 0.8
cat prompts.txt | gpt1 generate - --json | head -2
gpt1 generate --file prompts.jsonl --out continuations.jsonl --resume
gpt1 generate "The meaning of life is" --model openai-community/openai-gpt --explain"""

RESUMES_A_FILE = True
"""``--resume`` is not of a training run."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("prompt", nargs="?", help="Text to continue; - is --file -.")
    parser.add_argument(
        "--file",
        help="Prompts, one a line, instead; blank lines are skipped. JSON objects in .jsonl files; "
        "also .gz and .xz. - is standard input.",
    )
    parser.add_argument(
        "--prompt-field",
        metavar="NAME",
        help='The lines are JSON objects with the prompt under NAME (in .jsonl files: "prompt").',
    )
    parser.add_argument("--interactive", action="store_true", help="Write with the model.")
    add_model_arguments(parser)
    add_native_arguments(parser)
    add_generation_arguments(parser)
    parser.add_argument("--no-prompt", action="store_true", help="Print the continuations alone.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object a prompt.")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="Print every token with its probability and the likeliest alternatives.",
    )
    parser.add_argument("--out", help="Write the JSON objects to this new file, one a line.")
    parser.add_argument(
        "--resume", action="store_true", help="Continue --out where an earlier run stopped."
    )
    parser.add_argument(
        "--window",
        type=int,
        default=64,
        help="Prompts read, generated and written together; 1 answers each line at once.",
    )


def run(args: Namespace) -> int:
    """Generate and print; returns the exit code."""
    _check(args)
    settings = generation_settings(args)
    if args.interactive:
        from gpt1.cli.terminal import run_interactive

        return run_interactive(args, settings)
    prompts = _Prompts(args)
    lm = load_model(args)
    if prompts.is_argument and args.n == 1 and not (args.json or args.explain or args.out):
        _stream(lm, args.prompt, not args.no_prompt, settings)
        return 0
    if args.out is not None:
        return _record_all(lm, prompts, args, settings)
    _print_all(lm, prompts, args, settings)
    return 0


def _check(args: Namespace) -> None:
    """Refuse flags that contradict each other."""
    if args.interactive:
        given = ("file", "prompt_field", "no_prompt", "json", "explain", "out", "resume")
        wrong = ["--" + name.replace("_", "-") for name in given if args[name]]
        if wrong:
            raise ConfigError(f"{' and '.join(wrong)} cannot be used with --interactive")
        return
    if (args.prompt is None) == (args.file is None):
        raise ConfigError("give either a prompt or --file, not both and not neither")
    if args.resume and args.out is None:
        raise ConfigError("--resume needs --out, the file to continue")
    if args.window < 1:
        raise ConfigError(f"window is {args.window} but must be at least 1")
    if args.logprobs is not None and not (args.json or args.out):
        raise ConfigError(
            "--logprobs is shown in JSON only; add --json or --out, or use --explain for a table"
        )
    if args.out is not None:
        check_out(Path(args.out), resume=args.resume)


class _Prompts:
    """The prompts the flags name; the first is read at once, so that a mistake is told early."""

    def __init__(self, args: Namespace) -> None:
        name = STANDARD_INPUT if args.prompt == STANDARD_INPUT else args.file
        self.is_argument = name is None
        self.size_bytes: int | None = None
        self._prompts: Iterable[Prompt] = [Prompt(args.prompt or "")]
        if name is None:
            if args.prompt_field is not None:
                raise ConfigError("--prompt-field is of the lines of --file; give that, or -")
            return
        file = PromptFile(name, args.prompt_field)
        self.size_bytes = file.size_bytes
        lines = iter(file)
        first = next(lines, None)
        if first is None:
            raise DataError(f"{file.name} holds no prompt; write one a line")
        self._prompts = chain([first], lines)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)


def _stream(lm: LanguageModel, prompt: str, include_prompt: bool, settings: dict[str, Any]) -> None:
    try:
        for piece in lm.stream(prompt, include_prompt=include_prompt, **settings):
            print(piece, end="", flush=True)
    finally:  # also after Ctrl-C: what is on the line stays
        print(flush=True)


def _print_all(
    lm: LanguageModel, prompts: _Prompts, args: Namespace, settings: dict[str, Any]
) -> None:
    visible = not (prompts.is_argument or sys.stdout.isatty())
    with PromptProgress(prompts.size_bytes, visible=visible) as progress:
        for prompt, completions in complete_all(lm, prompts, args.window, settings, iter(())):
            if args.json:
                record = _record(lm, prompt, completions, args.explain)
                print(json.dumps(record, ensure_ascii=False), flush=True)
            else:
                _print_texts(lm, completions, args)
            progress.advance(prompt)


def _record_all(
    lm: LanguageModel, prompts: _Prompts, args: Namespace, settings: dict[str, Any]
) -> int:
    """Write ``--out``; Ctrl-C is an orderly end."""
    about = {"model": args.model, "weights": fingerprint(lm), "dtype": str(lm.model.dtype)}
    about |= {"window": args.window, "explain": args.explain, **settings}
    with RecordFile(args.out, about, resume=args.resume) as file:
        try:
            with PromptProgress(prompts.size_bytes, visible=True) as progress:
                _write_all(lm, prompts, file, progress, args, settings)
        except KeyboardInterrupt:
            say(
                f"Interrupted; {file.count:,} prompts are done. Continue with the same command "
                "and --resume"
            )
            return 130
    say(f"{file.count:,} prompts are done: {args.out}")
    return 0


def _write_all(
    lm: LanguageModel,
    prompts: _Prompts,
    file: RecordFile,
    progress: PromptProgress,
    args: Namespace,
    settings: dict[str, Any],
) -> None:
    pairs = complete_all(lm, prompts, args.window, settings, file.recorded())
    for prompt, completions in pairs:
        file.write(_record(lm, prompt, completions, args.explain))
        progress.advance(prompt)


def _record(
    lm: LanguageModel, prompt: Prompt, completions: list[Completion], explain: bool
) -> Record:
    """What ``--json`` prints, and ``--out`` holds, for one prompt."""
    first = completions[0]
    record: Record = {} if prompt.id is None else {"id": prompt.id}
    record |= {"prompt": first.prompt, "prompt_ids": first.prompt_ids}
    return {**record, "completions": [_completion(lm, c, explain) for c in completions]}


def _completion(lm: LanguageModel, completion: Completion, explain: bool) -> Record:
    shown: Record = {
        "text": completion.text,
        "ids": completion.ids,
        "finish_reason": completion.finish_reason,
    }
    if completion.logprobs is not None:
        shown["logprobs"] = [
            {**token._asdict(), "top": [other._asdict() for other in token.top]}
            for token in completion.logprobs
        ]
    if explain:
        shown["tokens"] = [
            {**vars(token), "alternatives": [other._asdict() for other in token.alternatives]}
            for token in lm.explain(completion.prompt_ids + completion.ids)
        ]
    return shown


def _print_texts(lm: LanguageModel, completions: list[Completion], args: Namespace) -> None:
    for completion in completions:
        text = completion.text if args.no_prompt else completion.prompt + completion.text
        print(text, flush=True)
        if args.explain:
            tokens = lm.explain(completion.prompt_ids + completion.ids)
            print_token_table(tokens, len(completion.prompt_ids))
