"""What the commands that reproduce a table or a figure of the paper have in common."""

from __future__ import annotations

import json
import sys

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, collect
from gpt1.reproduce.paper_settings import ReproduceConfig

FIGURE_ONLY = ("panel", "checkpoints", "lstm_checkpoints")


class Reproduction:
    """One of these commands.

    Args:
        target: What `gpt1.reproduce.paper_run.reproduce` calls it.
        leave_out: Settings that make no difference to it.
    """

    def __init__(self, target: str, leave_out: tuple[str, ...] = ()) -> None:
        self.target = target
        self.leave_out = leave_out

    @property
    def examples(self) -> str:
        """For the help."""
        command = f"gpt1 reproduce {self.target} --data TASKS"
        return (
            f"{command} --model openai-community/openai-gpt --device cuda --precision bf16\n"
            f"{command} --subset 1500 --dev-subset 500 --precision bf16 --jobs 2 --out mini-paper"
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Data, model, sizes, where to write."""
        add_fields(parser, ReproduceConfig, leave_out=self.leave_out)
        parser.add_argument(
            "--out",
            default="gpt1-paper",
            help="Folder of the report, and of results that all reports in it share. What is there "
            "is not run again.",
        )
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def run(self, arguments: Namespace) -> int:
        """Run what is missing, and report; 130 if interrupted."""
        from gpt1.cli.experiment_progress import ExperimentProgress
        from gpt1.cli.progress import say
        from gpt1.reproduce.paper_run import reproduce

        config = collect(ReproduceConfig, arguments)
        progress = ExperimentProgress()
        try:
            report = reproduce(self.target, config, arguments.out, progress)
        except KeyboardInterrupt:
            progress.bar.stop()
            say("Interrupted; finished experiments are kept. Run the same command again to go on.")
            return 130
        finally:
            progress.bar.stop()
        if arguments.json:
            sys.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False) + "\n")
            return 0
        show(report)
        say(f"The report: {arguments.out}/{report.name}.html (also .md, .json)")
        return 0


def show(report: object) -> None:
    """Print the first table of each section, and what came out."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gpt1.reproduce.paper_report import PaperReport

    assert isinstance(report, PaperReport)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for section in report.sections:
        console.rule(f"[bold]{section.title}")
        for grid in section.grids[:1]:
            table = Table(box=None, padding=(0, 2, 0, 0))
            for column in grid.columns:
                table.add_column(column, overflow="fold")
            for row in grid.rows:
                table.add_row(*map(escape, row))
            console.print(table)
        for line in section.summary:
            console.print(escape(line), style="dim")
