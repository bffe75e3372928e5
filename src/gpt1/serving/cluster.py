"""The application on Ray Serve: replicas on many machines, as many as there is work for.

    serve run gpt1.serving.cluster:application models=mini replicas=2

A front takes the requests and passes them on, see `gpt1.serving.front`; each replica is the whole
application, see `gpt1.serving.replica`.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from fastapi import FastAPI

from gpt1.data.ray_connection import ray_connection
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig, model_names
from gpt1.serving.engine import Overloaded
from gpt1.serving.front import RETRIES, ReplicaLost, front_app
from gpt1.serving.models import open_models
from gpt1.serving.replica import Call, Part, Replica

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

NAME = "gpt1"
"""Of the application in Ray Serve."""

KILL_S = 5.0
"""Seconds a replica has to stop once its requests had their time."""

HOW = ("device", "dtype", "quantize", "backend")
"""How models are loaded, see `gpt1.load`."""

LEAST = {"replicas": 1, "num_cpus": 0, "num_gpus": 0, "retries": 0, "health_s": 0.1}
"""The smallest value of each number."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many replicas there are, and what each takes."""

    replicas: int = 1
    """Replicas that are always there."""
    most_replicas: int | None = None
    """Replicas that are there when there is much to do; default: no more than always."""
    num_cpus: float = 1.0
    """Cores Ray sets aside for a replica, which computes with as many threads."""
    num_gpus: float = 0.0
    """GPUs Ray sets aside for a replica."""
    retries: int = RETRIES
    """How often a request whose replica was lost is given to another."""
    health_s: float = 5.0
    """Seconds between two looks at whether the engines of a replica run."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        problems = [
            f"{name} is {value!r} but must be at least {least}"
            for name, least in LEAST.items()
            if not least <= (value := getattr(self, name)) < math.inf
        ]
        if self.most_replicas is not None and self.most_replicas < self.replicas:
            problems.append(
                f"most_replicas is {self.most_replicas} but must be at least replicas, "
                f"which is {self.replicas}"
            )
        if problems:
            raise ConfigError("; ".join(problems))


def deployment(
    sources: Mapping[str, str | Path],
    config: ServingConfig | None = None,
    scale: Scale | None = None,
    **how: str | None,
) -> Application:
    """The application for ``ray.serve.run``: a front, and replicas behind it.

    Args:
        sources: Models by name, see `gpt1.serving.models.open_models`. A folder has to be there on
            every machine.
        config: Sizes of the engines and limits, of each replica.
        scale: How many replicas there are.
        **how: Of `gpt1.load`: device, dtype, quantize, backend.

    Raises:
        MissingExtraError: If ray is not installed.
    """
    config, scale = config or ServingConfig(), scale or Scale()
    return behind_front(partial(build, _absolute(sources), config, how), config, scale)


def build(
    sources: Mapping[str, str | Path], config: ServingConfig, how: Mapping[str, str | None]
) -> FastAPI:
    """The application of a replica, with its models."""
    return create_app(open_models(sources, config, **how), config)


def _absolute(sources: Mapping[str, str | Path]) -> dict[str, str | Path]:
    """Sources whose folders are found from any working directory."""
    return {name: os.path.abspath(s) if Path(s).is_dir() else s for name, s in sources.items()}


def behind_front(build: Callable[[], FastAPI], config: ServingConfig, scale: Scale) -> Application:
    """A front, and replicas of any application behind it.

    Args:
        build: Makes the application of a replica, with its models as ``app.state.models``.
        config: Of the application.
        scale: How many replicas there are.

    Raises:
        MissingExtraError: If ray is not installed.
    """
    serve = _ray_serve()

    def front() -> FastAPI:
        handle = serve.get_deployment_handle(Replica.__name__)
        return front_app(partial(ask, handle), config, retries=scale.retries)

    most = scale.most_replicas or scale.replicas
    deploy: Any = serve.deployment(
        name="Front",
        max_ongoing_requests=2 * most * _ongoing(config) + config.waiting,
        graceful_shutdown_timeout_s=config.drain_s + 2 * KILL_S,
        ray_actor_options={"num_cpus": 0},
    )
    application: Application = deploy(serve.ingress(front)()).bind(replicas(build, config, scale))
    return application


def replicas(build: Callable[[], FastAPI], config: ServingConfig, scale: Scale) -> Application:
    """Replicas alone, to be asked by a front elsewhere; arguments as of `behind_front`."""
    serve = _ray_serve()
    options: dict[str, Any] = {"num_replicas": scale.replicas}
    if scale.most_replicas is not None:
        options = {
            "autoscaling_config": {
                "min_replicas": scale.replicas,
                "max_replicas": scale.most_replicas,
                "target_ongoing_requests": config.slots,
            }
        }
    deploy: Any = serve.deployment(
        **options,
        max_ongoing_requests=_ongoing(config),
        max_queued_requests=max(1, config.waiting),
        health_check_period_s=scale.health_s,
        graceful_shutdown_timeout_s=config.drain_s + KILL_S,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={"num_cpus": scale.num_cpus, "num_gpus": scale.num_gpus},
    )
    application: Application = deploy(Replica).bind(build)
    return application


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError:
        raise MissingExtraError(
            'replicas need ray, which is not installed: pip install "gpt1[cluster]"'
        ) from None
    return serve


def _ongoing(config: ServingConfig) -> int:
    """Requests at a replica: those that run and as many that wait; the rest waits for any."""
    return 2 * config.slots


async def ask(handle: DeploymentHandle[Any], call: Call) -> AsyncGenerator[Part, None]:
    """Have a request answered by a replica of a deployment.

    Raises:
        ReplicaLost: If the replica died.
        Overloaded: If all have enough to do and enough wait.
    """
    from ray.exceptions import ObjectLostError, RayActorError
    from ray.serve.exceptions import BackPressureError

    response: Any = handle.options(stream=True).answer.remote(call)
    try:
        async for part in response:
            yield part
    except BackPressureError:
        raise Overloaded("too many requests wait already; try again in a moment") from None
    except (RayActorError, ObjectLostError) as error:
        raise ReplicaLost(type(error).__name__) from None
    except BaseException:
        response.cancel()  # the client left
        raise


@contextmanager
def connected(
    sources: Mapping[str, str | Path],
    config: ServingConfig | None = None,
    scale: Scale | None = None,
    **how: str | None,
) -> Iterator[FastAPI]:
    """Replicas on Ray, and the front of them as an application of this process.

    A server of this process serves it like that of `gpt1.serving.app.create_app`. Ray is the
    cluster that ``RAY_ADDRESS`` names, else this machine. At the end the replicas are stopped.

    Args:
        sources: As for `deployment`.
        config: As for `deployment`.
        scale: As for `deployment`.
        **how: As for `deployment`.

    Yields:
        The application.

    Raises:
        MissingExtraError: If ray is not installed.
    """
    config, scale = config or ServingConfig(), scale or Scale()
    serve = _ray_serve()
    with ray_connection("a server with replicas"):
        deployed = replicas(partial(build, _absolute(sources), config, how), config, scale)
        try:
            handle = serve.run(deployed, name=NAME, route_prefix=None)
            yield front_app(partial(ask, handle), config, retries=scale.retries)
        finally:
            serve.delete(NAME)


def application(args: dict[str, Any]) -> Application:
    """For ``serve run`` and the configuration files of Ray Serve.

    Args:
        args: ``models``, names as for ``gpt1 serve``, in a list or with commas between; and fields
            of `Scale` and of `ServingConfig`, and those of `HOW`.

    Raises:
        ConfigError: If a value is out of range, or there is no such field.
        MissingExtraError: If ray is not installed.
    """
    values = {key: yaml.safe_load(v) if isinstance(v, str) else v for key, v in args.items()}
    models = values.pop("models", "mini")
    names = models if isinstance(models, list) else str(models).split(",")
    how = {name: values.pop(name) for name in HOW if name in values}
    scale = Scale(**_fields(Scale, values))
    config = ServingConfig(**_fields(ServingConfig, values))
    if values:
        known = sorted(["models", *HOW, *_names(Scale), *_names(ServingConfig)])
        raise ConfigError(f"there is no {min(values)!r}; there are: {', '.join(known)}")
    return deployment(model_names(names), config, scale, **how)


def _names(config: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(config)]


def _fields(config: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values of a config, taken out of all values."""
    return {name: values.pop(name) for name in _names(config) if name in values}
