"""The documentation is true: what it shows runs, what it names exists, what it lists is complete.

Fences of a page run from top to bottom in one folder of examples: ``python`` in one namespace,
``bash`` as commands that succeed, ``console`` as commands whose output is shown. ``sh`` and
``text`` are not run.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import io
import os
import pkgutil
import random
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

import gpt1
import gpt1.config
import gpt1.errors
from gpt1.cli.arguments import field_documents
from gpt1.cli.main import COMMANDS, main
from gpt1.cli.parsing import parse
from gpt1.config import (
    CleaningConfig,
    ClusterConfig,
    GenerationConfig,
    GPTConfig,
    HeadConfig,
    LSTMConfig,
    OptimizerConfig,
    PrepareConfig,
    ScheduleConfig,
    StatesConfig,
    TaskConfig,
    TaskSource,
    TextConfig,
    TrainingConfig,
)
from gpt1.scaling import Plan
from gpt1.serving.cluster import Scale
from gpt1.serving.safety import SafetyConfig
from gpt1.tasks.task import NAMES, get_task
from gpt1.training.doctor import RULES

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "gpt1"
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
MARKDOWN = [*PAGES, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]

TABLES: dict[str, list[tuple[type[Any], str]]] = {
    "data.md": [(PrepareConfig, ""), (CleaningConfig, "clean."), (ClusterConfig, "cluster.")],
    "generation.md": [(GenerationConfig, "")],
    "finetuning.md": [
        (TextConfig, ""),
        (TrainingConfig, ""),
        (OptimizerConfig, "optimizer."),
        (ScheduleConfig, "schedule."),
        (StatesConfig, "states."),
    ],
    "pretraining.md": [(GPTConfig, "model."), (LSTMConfig, "lstm."), (PrepareConfig, "prepare.")],
    "scaling.md": [(Plan, "")],
    "deploying.md": [(Scale, "")],
    "serving-security.md": [(SafetyConfig, "")],
    "tasks.md": [(TaskSource, ""), (TaskConfig, ""), (HeadConfig, "gpt1_head.")],
}
"""Which page lists the settings of which config, and under what prefix."""

FOREIGN_FLAGS = {
    *("--extra-index-url", "--strict"),
    *("--max-restarts", "--nnodes", "--nproc-per-node", "--shutdown-timeout", "--standalone"),
    *("--rdzv-backend", "--rdzv-endpoint", "--rdzv-id"),
    *("--batch_size", "--include_path", "--limit", "--model_args", "--output_path", "--tasks"),
    *("--logdir", "--from-file"),
}
"""Flags of pip and mkdocs, of torchrun, of lm_eval, of TensorBoard and of kubectl."""

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
JOKES = 60


class Block(NamedTuple):
    """A fence of a page; its text begins at that line."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[2], textwrap.dedent(found[3]), text[: found.start(3)].count("\n"))
        for found in FENCE.finditer(text)
    ]


def page_name(page: Path) -> str:
    return page.name


# ---------------------------------------------------------------- programs and commands


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder the pages suppose; it is entered.

    It holds jokes.csv, reviews.csv, prompts.txt, books/ and recipes/.
    """
    lines = (SOURCE / "assets" / "jokes.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "jokes.csv").write_text("".join(lines[: JOKES + 1]), encoding="utf-8")
    (tmp_path / "reviews.csv").write_text("review,stars\n" + "".join(reviews()), encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("The captain\n\nOnce upon a time\n", encoding="utf-8")
    (tmp_path / "books").mkdir()
    for number in range(3):
        text = "\n".join(prose(100, seed=number)) + "\n"
        (tmp_path / "books" / f"book-{number}.txt").write_text(text, encoding="utf-8")
    shutil.copytree(REPOSITORY / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def reviews() -> Iterator[str]:
    """Rows of a table of reviews and what they say."""
    said = {
        "good": ("wonderful", "moving", "great fun", "well made"),
        "bad": ("dull", "a mess", "far too long", "badly made"),
    }
    for thing in ("film", "story", "cast", "ending", "music"):
        for number in range(4):
            for label, words in said.items():
                yield f"The {thing} was {words[number]}.,{label}\n"


def prose(lines: int, seed: int) -> Iterator[str]:
    """Sentences about a village by the sea."""
    choose = random.Random(seed).choice
    people = (
        "the miller",
        "an old sailor",
        "the baker's daughter",
        "my uncle",
        "the lighthouse keeper",
    )
    deeds = ("mended", "carried", "painted", "forgot", "looked for", "asked about", "sold", "hid")
    things = (
        "a blue boat",
        "the church bell",
        "two baskets of plums",
        "a letter",
        "the long ladder",
    )
    places = ("behind the mill", "at the harbour", "on the hill", "under the bridge", "in the rain")
    ends = (
        "and nobody wondered.",
        "before the tide came in.",
        '"Again?" said the parson.',
        "as usual.",
    )
    for _ in range(lines):
        sentence = (
            f"{choose(people)} {choose(deeds)} {choose(things)} {choose(places)}, {choose(ends)}"
        )
        yield sentence[0].upper() + sentence[1:]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
@pytest.mark.usefixtures("examples")
def test_programs_and_commands_of_a_page_run(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True)
            exec(code, namespace)
        elif block.language == "bash":
            for line in command_lines(block.text):
                status, output = run_command(line, capsys)
                assert status == 0, f"{line}\n{output}"
        elif block.language == "console":
            for line, expected in dialogue(block.text):
                status, output = run_command(line, capsys)
                assert matches(expected, output), f"{line}\n{output}"
                assert status == (2 if expected.startswith("gpt1: ") else 0)


def command_lines(text: str) -> list[str]:
    """The commands of a block: comments left out, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Commands, written behind ``$``, and the output shown under each."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip()


def matches(expected: str, output: str) -> bool:
    """Whether an output is the expected one, line breaks apart; ``...`` stands for anything."""
    pattern = re.escape(" ".join(expected.split())).replace(re.escape("..."), ".*")
    return bool(re.fullmatch(pattern, " ".join(output.split())))


def run_command(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and all output: `gpt1` alone in this process, anything else in a shell."""
    words = shell_words(line)
    if words[0] == "gpt1" and not any(word and set(word) <= set("|<>;&") for word in words):
        capsys.readouterr()
        try:
            status = main(words[1:])
        except SystemExit as end:  # from --help and --print-config
            status = int(end.code or 0)
        return status, "".join(capsys.readouterr())
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stdout


def shell_words(line: str) -> list[str]:
    """Words and operators (``|``, ``>``) of a shell command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


# ---------------------------------------------------------------- the command line


@cache
def help_of(command: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    return out.getvalue()


def command_module(command: str) -> Any:
    return importlib.import_module("gpt1.cli." + command.replace(" ", "_").replace("-", "_"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_ends_with_its_examples(command: str) -> None:
    examples = help_of(command).partition("examples:\n")[2].splitlines()
    lines = command_module(command).EXAMPLES.splitlines()
    assert [line.strip() for line in examples] == lines
    assert any(f"gpt1 {command}" in line for line in lines)


@pytest.fixture
def started_runs(examples: Path) -> None:
    """Settings of runs that the shown commands resume."""
    for name in ("jokes", "mini", "cola", "reviews"):
        folder = examples / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.yaml").write_text("data: jokes.csv\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (command, line)
        for command in COMMANDS
        for line in command_module(command).EXAMPLES.splitlines()
    ],
)
@pytest.mark.usefixtures("started_runs")
def test_an_example_of_the_help_parses(command: str, line: str) -> None:
    calls = gpt1_calls(line)
    assert any(words[: len(command.split())] == command.split() for words in calls)
    for words in calls:
        parse_call(words)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
@pytest.mark.usefixtures("started_runs")
def test_commands_that_are_only_shown_parse(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh":
            for line in command_lines(block.text):
                for words in gpt1_calls(line):
                    parse_call(words)


def gpt1_calls(line: str) -> list[list[str]]:
    """Words of every call of gpt1 in a shell command, ``torchrun ... -m gpt1`` among them."""
    calls: list[list[str]] = [[]]
    for word in shell_words(line):
        if word in ("|", "&&", ";", ">"):
            calls.append([])
        else:
            calls[-1].append(word)
    started = [words for words in calls if words[:1] == ["gpt1"]]
    started += [words[words.index("-m") + 1 :] for words in calls if words[:1] == ["torchrun"]]
    return [words[1:] for words in started]


def parse_call(words: list[str]) -> None:
    name = next(
        (name for n in (2, 1) if (name := " ".join(words[:n])) in COMMANDS), " ".join(words[:1])
    )
    parse(name, command_module(name), words[len(name.split()) :])


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_every_flag_a_page_names_exists(page: Path) -> None:
    known = FOREIGN_FLAGS.union(
        *(re.findall(r"^  (?:-h, )?(--[\w.-]+)", help_of(name), re.MULTILINE) for name in COMMANDS)
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", "\n".join(code_of(page))))
    assert {flag.rstrip(".") for flag in named} - known - {"--version"} == set()


def code_of(page: Path) -> list[str]:
    """Inline code of a page, and its fences but for ``console``, which also shows mistakes."""
    prose_only = FENCE.sub("", page.read_text(encoding="utf-8"))
    fences = [block.text for block in blocks(page) if block.language != "console"]
    return fences + re.findall(r"`([^`\n]+)`", prose_only)


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_every_make_target_a_page_names_exists(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"^ *make ([a-z]+)", "\n".join(code_of(page)), re.MULTILINE))
    assert named - targets == set()


# ---------------------------------------------------------------- lists and tables


@pytest.mark.parametrize(
    ("page", "config", "prefix"),
    [(page, config, prefix) for page, tables in TABLES.items() for config, prefix in tables],
)
def test_a_page_lists_the_settings_of_a_config(page: str, config: type[Any], prefix: str) -> None:
    expected = settings_table(config, prefix)
    assert expected in (DOCS / page).read_text(encoding="utf-8"), f"write into {page}:\n{expected}"


def test_the_settings_of_every_config_are_listed() -> None:
    listed = {config for tables in TABLES.values() for config, _ in tables}
    configs = {c for c in vars(gpt1.config).values() if dataclasses.is_dataclass(c)}
    assert configs == listed - {Plan, SafetyConfig, Scale}


def settings_table(config: type[Any], prefix: str) -> str:
    """A Markdown table of every field that is not a config of its own."""
    documents = field_documents(config)
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(config):
        if field.default_factory is dataclasses.MISSING:
            meaning = documents[field.name].replace("%%", "%").replace("<", "&lt;")
            rows.append(f"| `{prefix}{field.name}` | {shown_default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def shown_default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default is False:
        return "off" if field.default is False else "none"
    text = repr(field.default).replace("'", '"')
    if "|" not in text:
        return f"`{text}`"
    escaped = text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
    return f"<code>{escaped}</code>"  # a bare | would end the cell, even in code


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_tasks_has_the_metric_and_the_papers_figures_of_each(name: str) -> None:
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
    _, metric, _, ours, before = row.split(" | ")
    results = [result for result in get_task(name).results if not result.part]
    assert metric == f"`{get_task(name).metrics[0]}`"
    assert ours == " and ".join(f"{result.gpt1:.1f}" for result in results)
    assert before == " and ".join(f"{result.earlier:.1f}" for result in results)


def test_the_page_of_the_doctor_lists_every_rule_in_order_with_what_to_do() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([\w-]+)` \| (?:warning|error) \| \S.* \| \S.* \|$", text, re.MULTILINE
    )
    assert rows == [rule.__name__.replace("_", "-") for rule in RULES]


def test_the_file_map_lists_every_module_and_no_other() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w/]+\.py)` \| \S.* \|$", text, re.MULTILINE)
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    families = {name for name in modules if name.endswith("/__init__.py")}
    assert sorted(listed) == sorted(modules - families)


def test_the_layers_shown_are_those_that_are_checked() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    layers = project.partition("layers = [\n")[2].partition("]")[0]
    shown = re.findall(r'^ *"(.+)",$', layers.replace("gpt1.", ""), re.MULTILINE)
    assert shown
    assert "\n".join(shown) + "\n" in [block.text for block in blocks(DOCS / "design.md")]


def test_the_reference_lists_every_public_name_and_only_names_that_exist() -> None:
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    errors = [name for name in vars(gpt1.errors) if name.endswith("Error")]
    assert {f"gpt1.{name}" for name in gpt1.__all__} <= set(names)
    assert {f"gpt1.errors.{name}" for name in errors} <= set(names)
    for name in names:
        assert pkgutil.resolve_name(name) is not None, name


def test_the_navigation_lists_every_page() -> None:
    # mkdocs.yml has no Python tags, so a plain loader reads it.
    site = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = [path for entry in site["nav"] for path in entry.values()]
    pages = [*DOCS.glob("*.md"), *DOCS.glob("*.ipynb")]
    assert sorted(listed) == sorted(page.name for page in pages)


def test_messages_shown_without_running_are_in_the_code() -> None:
    strings = {
        " ".join(node.value.split())
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    shown = [block for block in blocks(DOCS / "troubleshooting.md") if block.language == "text"]
    fragments = [
        fragment
        for block in shown
        for part in " ".join(block.text.split()).removeprefix("gpt1: ").split("...")
        if (fragment := part.strip())
    ]
    assert fragments
    assert [f for f in fragments if not any(f in string for string in strings)] == []


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    prose_only = re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_only):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as the `toc` extension names them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {slug(heading.replace("`", "")) for heading in headings}


def slug(heading: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())
