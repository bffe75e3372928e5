"""``gpt1 reproduce table5``."""

from gpt1.cli.reproducing import FIGURE_ONLY, Reproduction

_command = Reproduction("table5", leave_out=("beside", *FIGURE_ONLY))
EXAMPLES, add_arguments, run = _command.examples, _command.add_arguments, _command.run
