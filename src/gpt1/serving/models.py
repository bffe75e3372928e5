"""The models of a server, by name: language models with an engine each, and task models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gpt1.errors import Gpt1Error
from gpt1.language_model import LanguageModel, load
from gpt1.locate import locate
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import DeadlineExceeded, Engine, Overloaded

if TYPE_CHECKING:
    from gpt1.task_model import TaskModel
    from gpt1.tokenizer import Tokenizer

Result = TypeVar("Result")


class UnknownModel(Gpt1Error):
    """A request names a model that is not here, or that cannot do what is asked."""


@dataclass(frozen=True, kw_only=True)
class ServedTask:
    """A model fine-tuned on a task.

    Attributes:
        model: In evaluation mode.
        tokenizer: Of the model.
    """

    model: TaskModel
    tokenizer: Tokenizer


@dataclass(kw_only=True)
class Models:
    """What a server has.

    Attributes:
        engines: Of the language models, by name; a request that names none gets the first.
        tasks: The task models, by name.
        created: When they were opened, in seconds of Unix time.
        draining: Whether no more requests are taken.
    """

    engines: dict[str, Engine]
    tasks: dict[str, ServedTask]
    created: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False
    _most_waiting: int = 64

    def __post_init__(self) -> None:
        """Prepare the thread that everything but generation is done in."""
        self._worker = ThreadPoolExecutor(1, "gpt1 worker")
        self._working = 0

    @property
    def names(self) -> list[str]:
        """Of all models."""
        return [*self.engines, *self.tasks]

    def check(self, name: str) -> None:
        """See whether there is a model of that name.

        Raises:
            UnknownModel: If not.
        """
        _find("served", dict.fromkeys(self.names), name, self.names)

    def engine(self, name: str) -> Engine:
        """The engine of a language model.

        Raises:
            UnknownModel: If there is none of that name.
        """
        return _find("language", self.engines, name, self.names)

    def task(self, name: str) -> ServedTask:
        """A task model.

        Raises:
            UnknownModel: If there is none of that name.
        """
        return _find("task", self.tasks, name, self.names)

    @property
    def working(self) -> int:
        """Calls of `work` that wait or are being done."""
        return self._working

    async def work(self, function: Callable[[], Result], timeout_s: float | None = None) -> Result:
        """Do something that takes a while, one after the other, without holding up the server.

        Args:
            function: Runs in a thread.
            timeout_s: Longest wait; what has begun by then is done, but not answered.

        Raises:
            Overloaded: If too many wait for it, or the server is about to stop.
            DeadlineExceeded: If it was not done in time.
        """
        if self.draining:
            raise Overloaded("the server is about to stop and takes no more requests")
        if self._working >= self._most_waiting:
            raise Overloaded(f"{self._working} requests wait already; try again in a moment")
        self._working += 1
        future = asyncio.get_running_loop().run_in_executor(self._worker, function)
        future.add_done_callback(lambda _: setattr(self, "_working", self._working - 1))
        try:
            return await asyncio.wait_for(future, timeout_s)
        except asyncio.TimeoutError:
            raise DeadlineExceeded("the request was not done in the time it had") from None

    async def drain(self, timeout_s: float) -> None:
        """Let requests that are here come to their end, take no more, and stop."""
        self.draining = True
        drains = [asyncio.to_thread(e.drain, timeout_s) for e in self.engines.values()]
        await asyncio.gather(*drains)
        self._worker.shutdown(wait=False, cancel_futures=True)


def _find(kind: str, models: Mapping[str, Result], name: str, names: list[str]) -> Result:
    if name in models:
        return models[name]
    if name in names:
        raise UnknownModel(f"{name!r} is not a {kind} model; of that kind are: {_listed(models)}")
    raise UnknownModel(f"there is no model {name!r}; there are: {_listed(names)}")


def _listed(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def open_models(
    sources: Mapping[str, str | Path], config: ServingConfig, **how: str | None
) -> Models:
    """Load models, and start an engine for each language model.

    Args:
        sources: By name, what `gpt1.load` or `gpt1.load_task_model` takes.
        config: Sizes of the engines.
        **how: Of `gpt1.load`: device, dtype, quantize, backend.

    Raises:
        Gpt1Error: As loading does.
    """
    from gpt1.task_checkpoint import is_task_model, load_task_model

    engines: dict[str, Engine] = {}
    tasks: dict[str, ServedTask] = {}
    for name, source in sources.items():
        folder = locate(source)
        if is_task_model(folder):
            model, tokenizer = load_task_model(folder, device=how.get("device") or "cpu")
            tasks[name] = ServedTask(model=model, tokenizer=tokenizer)
        else:
            lm: LanguageModel = load(folder, **how)  # type: ignore[arg-type]
            engines[name] = Engine(
                lm, slots=config.slots, chunk=config.chunk, waiting=config.waiting
            )
    return Models(engines=engines, tasks=tasks)
