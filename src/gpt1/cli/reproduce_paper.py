"""``gpt1 reproduce paper``."""

from gpt1.cli.reproducing import Reproduction

_command = Reproduction("paper")
EXAMPLES, add_arguments, run = _command.examples, _command.add_arguments, _command.run
