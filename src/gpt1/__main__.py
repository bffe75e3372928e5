"""``python -m gpt1``."""

import sys

from gpt1.cli.main import main

sys.exit(main())
