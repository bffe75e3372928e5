"""Commands that several processes run together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from gpt1.cli import progress


@contextmanager
def scoring_together(device: str) -> Iterator[bool]:
    """Score with the other processes; one of them shows progress, and should tell and write.

    Args:
        device: To score on.

    Yields:
        Whether this process is the one.

    Raises:
        ConfigError: If a certain GPU is named for several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    from gpt1.evaluation.processes import spread
    from gpt1.training.distributed import join

    with join(device) as processes, spread():
        progress.console.quiet = not processes.main
        yield processes.main
