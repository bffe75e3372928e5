"""``gpt1 reproduce table2``."""

from gpt1.cli.reproducing import FIGURE_ONLY, Reproduction

_command = Reproduction("table2", leave_out=("lstm", *FIGURE_ONLY))
EXAMPLES, add_arguments, run = _command.examples, _command.add_arguments, _command.run
