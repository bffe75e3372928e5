"""What a command says at its end: a short list for people, or one JSON object."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpt1.cli.progress import say

if TYPE_CHECKING:
    from gpt1.training.plan import Plan
    from gpt1.training.run import RunResult


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print results to standard output, aligned or as JSON."""
    if as_json:
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name.replace('_', ' '):<{width}}  {_shown(value)}\n")


def _shown(value: object) -> str:
    """A value for people: numbers to four places, in groups of three digits."""
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if type(value) is int else str(value)


def report_run(result: RunResult, command: str, *, as_json: bool) -> int:
    """Say what came of a run and what to do next.

    Args:
        result: Of the run.
        command: Words that started it, for the line that resumes it.
        as_json: Print one JSON object.

    Returns:
        The exit code: 0, or 130 if the user interrupted the run.
    """
    from gpt1.training.distributed import launched_rank

    if launched_rank():  # the first process speaks for all
        return 0
    print_facts(result.as_dict(), as_json=as_json)
    folder = shlex.quote(str(result.out))
    if not result.complete:
        return say_interrupted(command, folder, preempted=result.preempted)
    say(f'Try it: gpt1 generate "..." --model {folder}')
    return 0


def report_plan(plan: Plan, *, as_json: bool) -> int:
    """Say what a run would do and what is wrong with it.

    Args:
        plan: Of the run.
        as_json: Print one JSON object.

    Returns:
        The exit code: 0, or 2 if the run cannot work.
    """
    facts = plan.as_dict()
    if not as_json:
        del facts["findings"]
    print_facts(facts, as_json=as_json)
    for finding in () if as_json else plan.findings:
        sys.stdout.write(f"{finding}\n")
    return 0 if plan.works else 2


def say_interrupted(command: str, folder: str, *, preempted: bool) -> int:
    """Say how to go on with a run.

    Args:
        command: Words that started it.
        folder: Of the run, quoted.
        preempted: By SIGTERM, after which saving is success.

    Returns:
        The exit code.
    """
    say(f"Interrupted; saved. Continue with: gpt1 {command} --out {folder} --resume")
    return 0 if preempted else 130
