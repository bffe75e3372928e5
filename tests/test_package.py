"""The package as a whole: imports, public names, sizes, shipped files."""

from __future__ import annotations

import ast
import csv
import dataclasses
import importlib
import io
import json
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import gpt1
import gpt1.config
from gpt1.cli import finetune_task
from gpt1.cli.arguments import collect
from gpt1.cli.main import COMMANDS
from gpt1.cli.parsing import parse
from gpt1.config import (
    GPTConfig,
    PrepareConfig,
    TaskConfig,
    TaskSource,
    TextConfig,
    TrainingConfig,
)
from gpt1.training.finetune_task import PAPER

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "gpt1"
MODULES = sorted(SOURCE.rglob("*.py"))
LAUNCHERS = ("kubernetes.yaml", "slurm.sh")
RECIPES = sorted(
    path for path in (REPOSITORY / "recipes").rglob("*.yaml") if path.name not in LAUNCHERS
)
HEAVY = ("torch", "numpy", "tokenizers", "transformers", "matplotlib", "huggingface_hub", "sklearn")
CONFIGS = [
    config
    for config in vars(gpt1.config).values()
    if isinstance(config, type) and dataclasses.is_dataclass(config)
]


def run_python(code: str) -> str:
    """Standard output of a program in a fresh interpreter, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import gpt1",
        "from gpt1.cli.main import main; assert main(['--help']) == 0",
        "from gpt1.cli.main import main; assert main(['--version']) == 0",
    ],
)
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    out = run_python(f"{code}\nimport sys, json; print(); print(json.dumps(sorted(sys.modules)))")
    loaded = set(json.loads(out.splitlines()[-1]))
    assert loaded.isdisjoint(HEAVY)


def test_help_of_a_command_loads_no_torch() -> None:
    out = run_python(
        "import sys\n"
        "from gpt1.cli.main import main\n"
        "try: main(['finetune', 'lm', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    assert out.splitlines()[-1] == "False"


def test_public_names_are_sorted_complete_and_there() -> None:
    assert gpt1.__all__ == sorted(gpt1.__all__)
    assert set(gpt1.__all__) == set(gpt1._HOMES)
    for name, home in gpt1._HOMES.items():
        assert getattr(gpt1, name) is getattr(importlib.import_module(f"gpt1.{home}"), name)
    assert set(gpt1.__all__) <= set(dir(gpt1))


def test_public_names_are_those_the_type_checker_sees() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        (alias.name, str(node.module).removeprefix("gpt1."))
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(gpt1._HOMES.items())


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gpt1' has no attribute 'laod'"):
        gpt1.laod  # noqa: B018


def test_importing_every_module_changes_nothing_outside_the_package() -> None:
    names = [module_name(path) for path in MODULES if path.name != "__main__.py"]
    out = run_python(
        "import importlib, json, logging, os, signal, sys, warnings\n"
        # what they change is their affair
        "import torch, sklearn.metrics, torch.distributed.checkpoint, torch.distributed.fsdp\n"
        "def state():\n"
        "    root = logging.getLogger()\n"
        "    return repr((root.handlers, root.level, logging.getLogger('gpt1').handlers,\n"
        "        sorted(os.environ), os.getcwd(), len(warnings.filters),\n"
        "        signal.getsignal(signal.SIGINT), torch.get_num_threads(),\n"
        "        torch.get_default_dtype(), torch.random.get_rng_state().tolist()))\n"
        "before = state()\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps([before, state()]))"
    )
    before, after = json.loads(out)
    assert before == after


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_or_function_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = code_lines(text)
    assert len(lines) <= 500
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    sizes = {
        node.name: len(lines.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
        for node in functions
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def code_lines(text: str) -> set[int]:
    """Numbers of the lines that hold code: neither blank, nor a comment, nor a docstring."""
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {
        line
        for token in tokens
        if token.type not in ignored
        for line in range(token.start[0], token.end[0] + 1)
    }
    documents = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    return code - documents


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_setting_is_read_outside_the_config(config: type) -> None:
    read = set().union(*(attributes(path) for path in MODULES if path.name != "config.py"))
    unread = {field.name for field in dataclasses.fields(config)} - read
    assert unread == set()


def attributes(path: Path) -> Iterator[str]:
    """Names of all attributes a module reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_all_recipes_are_found() -> None:
    files = [path for path in (REPOSITORY / "recipes").rglob("*") if path.is_file()]
    assert len(RECIPES) + len(LAUNCHERS) == len(files)
    assert len(RECIPES) >= 4


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_by_the_command_it_names(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    text = recipe.read_text(encoding="utf-8")
    [line] = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#   gpt1 ")]
    name = next(name for name in COMMANDS if line.startswith(f"gpt1 {name} "))
    words = line.removeprefix(f"gpt1 {name} ").split()
    assert words[:2] == ["--config", str(recipe.relative_to(REPOSITORY))]
    module = importlib.import_module("gpt1.cli." + name.replace(" ", "_").replace("-", "_"))
    values = parse(name, module, words)
    collect(TrainingConfig, values)
    if name == "pretrain":
        module.model_shape(values)
        collect(PrepareConfig, values.prepare)
    elif name == "finetune task":
        collect(TaskSource, values)
        collect(TaskConfig, values)
    else:
        collect(TextConfig, values)
    for key, value in flat(yaml.safe_load(text)).items():
        assert values[key] == value, key


def test_the_papers_recipe_for_tasks_is_what_the_code_calls_the_papers() -> None:
    words = ["--config", str(REPOSITORY / "recipes" / "paper-task.yaml"), "--data", "x"]
    values = parse("finetune task", finetune_task, [*words, "--out", "y"])
    assert collect(TrainingConfig, values) == PAPER
    config = TaskConfig(tokenizer_mode="original", pdrop=GPTConfig.resid_pdrop)
    assert collect(TaskConfig, values) == config


def flat(settings: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings under dotted keys."""
    result: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def test_the_bundled_jokes_are_many_and_different() -> None:
    with (SOURCE / "assets" / "jokes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    jokes = [row["Joke"] for row in rows]
    assert len(jokes) >= 500
    assert len({" ".join(joke.lower().split()) for joke in jokes}) == len(jokes)
    assert all(joke == joke.strip() and joke for joke in jokes)


@pytest.mark.slow
def test_the_wheel_holds_types_and_assets(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = {
        str(path.relative_to(SOURCE.parent))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked <= names
    assert {"gpt1/py.typed", "gpt1/assets/jokes.csv"} <= names
    assert {"gpt1/assets/mini/config.json", "gpt1/assets/mini/model.safetensors"} <= names
