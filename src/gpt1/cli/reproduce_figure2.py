"""``gpt1 reproduce figure2``."""

from gpt1.cli.reproducing import Reproduction

_command = Reproduction("figure2", leave_out=("lstm", "beside"))
EXAMPLES, add_arguments, run = _command.examples, _command.add_arguments, _command.run
