"""``gpt1 serve``: models behind an HTTP API."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import SecretStr

from gpt1.cli.arguments import Append, add_fields, as_given, collect, listed
from gpt1.cli.loading import add_native_arguments
from gpt1.cli.progress import say
from gpt1.errors import MissingExtraError
from gpt1.serving.config import ServingConfig, model_names
from gpt1.serving.keys import Keys, read_keys
from gpt1.serving.safety import SafetyConfig, check_exposure

EXAMPLES = """\
gpt1 serve
gpt1 serve --model before=mini --model after=runs/jokes --port 8080
gpt1 serve --model openai-community/openai-gpt --quantize int8 --slots 8
gpt1 serve --replicas 2 --slots 16
gpt1 serve --host 0.0.0.0 --api-key-file keys.txt --tls-cert cert.pem --tls-key key.pem"""

LISTS = {
    "model": "mini (comes with gpt1), a checkpoint folder or a hub id; NAME=MODEL says by which "
    "name requests call it. Default: mini.",
    "api_key_file": "File of keys, one a line, one of which each request must have.",
    "cors_origin": "A page of this origin, such as https://example.org, may ask from a browser.",
    "allowed_host": "Another name of the server, where it serves this machine alone.",
}
"""Flags that may be given several times."""


def add_arguments(parser: ArgumentParser) -> None:
    """Which models, where, for whom and with which limits."""
    _add_list(parser, "model")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps.")
    parser.add_argument(
        "--dtype", help="float32, bfloat16 or float16; default: as stored in the checkpoint."
    )
    add_native_arguments(parser)
    parser.add_argument(
        "--replicas",
        type=int,
        help="Serve from so many processes, started by Ray on this machine or, where "
        "RAY_ADDRESS says so, on a cluster.",
    )
    add_fields(parser, ServingConfig, leave_out=["playground"])
    parser.add_argument(
        "--no-playground",
        action="store_true",
        help="Serve the API alone. By default a page to try the models is at the address of the "
        "server, where Gradio is installed; with --replicas there is none.",
    )
    parser.add_argument(
        "--api-key",
        type=SecretStr,
        help="A key that requests must have. Others on this machine see it in the list of "
        "processes: GPT1_API_KEY or --api-key-file hide it.",
    )
    _add_list(parser, "api_key_file")
    add_fields(parser, SafetyConfig, leave_out=["cors_origin", "allowed_host"])
    _add_list(parser, "cors_origin")
    _add_list(parser, "allowed_host")


def _add_list(parser: ArgumentParser, name: str) -> None:
    flag, text = "--" + name.replace("_", "-"), f"{LISTS[name]} May be given several times."
    parser.add_argument(flag, type=as_given, action=Append, help=text)


def run(args: Namespace) -> int:
    """Serve until the process is told to stop; returns the exit code."""
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            'a server needs FastAPI and uvicorn, which are not installed: pip install "gpt1[serve]"'
        ) from None
    from gpt1.serving.app import create_app
    from gpt1.serving.logs import quiet_tracebacks
    from gpt1.serving.models import open_models
    from gpt1.serving.server import Server, address_of, listen, serve, tls_context

    config, safety, keys = settings(args)
    names = model_names([str(name) for name in listed(args.model)] or ["mini"])
    tls_context(safety)
    if not safety.log_tracebacks:
        quiet_tracebacks()
    with listen(config.host, config.port) as listening:
        address = address_of(listening, is_secure=safety.tls_cert is not None)
        how = {name: args[name] for name in ("device", "dtype", "quantize", "backend")}

        def started() -> None:
            print(f"serving {', '.join(names)} at {address}", flush=True)
            say(f"Ctrl-C stops it; what runs then has {config.drain_s:g} s to come to its end.")

        if args.replicas is None:
            has_page = not args.no_playground and find_spec("gradio") is not None
            config = replace(config, playground=has_page)
            app = create_app(open_models(names, config, **how), config)
            return serve(Server(app, safety, keys, started), listening)
        from gpt1.serving.cluster import Scale, connected

        with connected(names, config, Scale(replicas=args.replicas), **how) as app:
            return serve(Server(app, safety, keys, started), listening)


def settings(args: Namespace) -> tuple[ServingConfig, SafetyConfig, Keys]:
    """What the flags and files say about the server.

    Raises:
        ConfigError: If a value is out of range, or anybody could reach the server.
    """
    args.cors_origin = tuple(map(str, listed(args.cors_origin)))
    args.allowed_host = tuple(map(str, listed(args.allowed_host)))
    config, safety = collect(ServingConfig, args), collect(SafetyConfig, args)
    given = [str(args.api_key.get_secret_value())] if args.api_key else []
    keys = read_keys(given, map(str, listed(args.api_key_file)))
    check_exposure(config.host, has_keys=bool(keys), insecure=safety.insecure)
    return config, safety, keys
