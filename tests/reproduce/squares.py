"""Work that is done in no time; not in a test file, which other processes cannot import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from gpt1.errors import DataError
from gpt1.reproduce.runs import Outcome
from gpt1.training.tracking import Watcher


@dataclass(frozen=True)
class Square:
    """Work that is done in no time, or goes wrong."""

    number: int
    does: str = "square"

    @property
    def name(self) -> str:
        return f"square-{self.number}"

    def determinants(self) -> dict[str, Any]:
        return {"number": self.number}

    def run(self, watch: Watcher) -> Outcome:
        if self.does == "die":
            os._exit(9)
        if self.does == "refuse":
            raise DataError(f"{self.number} cannot be squared")
        return Outcome({"square": self.number**2}, {"n": os.getpid()}, 0.5)
