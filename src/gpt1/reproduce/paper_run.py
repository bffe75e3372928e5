"""``gpt1 reproduce``: run what a table or figure of the paper needs, and write its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt1 import __version__
from gpt1.checkpoint import load_model
from gpt1.config import GPTConfig
from gpt1.errors import ConfigError
from gpt1.locate import locate
from gpt1.reproduce.ablations import ablation_section
from gpt1.reproduce.digests import model_digest
from gpt1.reproduce.figure2 import figure2_section
from gpt1.reproduce.paper import PARAMETERS, TITLES
from gpt1.reproduce.paper_report import PaperReport
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Progress, Runs
from gpt1.reproduce.tables import summary, table_rows, table_section, variants_of
from gpt1.tokenizer import Tokenizer

TARGETS = ("table2", "table3", "table4", "table5", "figure2")

PAPER_POSITIONS = 512
MODES = {
    "bert": "Text is split as transformers does (tokenizer mode bert), not as the authors did.",
    "original": "Text is split as by the authors (tokenizer mode original).",
}


def reproduce(
    target: str, config: ReproduceConfig, out: str | Path, progress: Progress | None = None
) -> PaperReport:
    """Run what is needed and has not been run before, and write ``TARGET.html``, .md and .json.

    Args:
        target: One of `TARGETS`, or "paper": all of them in one report.
        config: Model, data, seeds, sizes.
        out: Folder of the reports and of the results they share.
        progress: Told how it goes.

    Returns:
        The report.

    Raises:
        ConfigError: If a model is needed and not given.
        DataError: If data cannot be read.
        KeyboardInterrupt: If the user interrupted; what is done is kept.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shape = _shape(config.model)
    config = config.completed(shape.n_embd)
    runs = Runs(out, config.jobs, progress)
    variants, rows, sections = variants_of(config), [], []
    for name in TARGETS if target == "paper" else (target,):
        if name == "table5":
            sections.append(ablation_section(config, runs))
        elif name == "figure2":
            sections.append(figure2_section(config, shape.n_layer, runs))
        else:
            found, absent = table_rows(name, config, runs)
            sections.append(table_section(name, found, absent, variants))
            rows += found
    report = PaperReport(
        name=target,
        title=TITLES.get(target, "The tables and figures of the paper"),
        facts=_facts(config, runs),
        sections=sections,
        summary=summary(rows, variants) if target == "paper" else (),
        remarks=_remarks(config),
    )
    report.write(out)
    return report


def _shape(model: str) -> GPTConfig:
    """Of a model.

    Raises:
        ConfigError: If it is an LSTM.
    """
    config = load_model(locate(model)).config
    if not isinstance(config, GPTConfig):
        raise ConfigError(
            f"the model {model} is an LSTM; name it with --lstm, and a GPT with --model"
        )
    return config


def _facts(config: ReproduceConfig, runs: Runs) -> dict[str, str]:
    """Model, settings and machines, for the end of the report."""
    folder = locate(config.model)
    model, tokenizer = load_model(folder), Tokenizer.load(folder)
    return {
        "model": f"{config.model}, {model.num_parameters():,} parameters, files "
        f"{model_digest(config.model)}",
        "tokenizer": f"mode {tokenizer.mode}, {tokenizer.vocab_size:,} tokens",
        "positions": f"{model.config.n_positions}",
        "seeds": f"{config.seeds}, from {config.seed}",
        "training": _training(config),
        "sizes": _sizes(config),
        "spread": "median (least to most) over the seeds; quartiles are in the JSON file",
        "experiments": f"{len(runs.used)}, {runs.seconds / 3600:.1f} hours of computing, on "
        f"{config.device}",
        "machines": "; ".join(runs.machines),
        "version": f"gpt1 {__version__}",
    }


def _remarks(config: ReproduceConfig) -> list[str]:
    """Why all numbers may differ from the paper's."""
    folder = locate(config.model)
    model, mode = load_model(folder), Tokenizer.load(folder).mode
    size, found = model.num_parameters(), []
    if size != PARAMETERS:
        found.append(f"The model has {size:,} parameters, the paper's {PARAMETERS:,}.")
    if model.config.n_positions < PAPER_POSITIONS:
        found.append(
            f"It reads at most {model.config.n_positions} tokens, the paper's {PAPER_POSITIONS}; "
            "what is longer is cut."
        )
    return [
        *found,
        MODES[mode],
        "The epoch was picked on development examples; a figure of the same ones is a little too "
        "high, for every variant alike.",
        "The paper's figures have no spread, and it does not say of how many runs they are.",
    ]


def _sizes(config: ReproduceConfig) -> str:
    train = f"at most {config.subset:,}" if config.subset else "all"
    if config.subset_words:
        train = f"about {config.subset_words:,} words of"
    other = f"at most {config.dev_subset:,}" if config.dev_subset else "all"
    return f"{train} training examples, {other} of each other split; the same in every run"


def _training(config: ReproduceConfig) -> str:
    rates: Sequence[float] = config.rates
    return (
        f"{config.epochs or 3:g} epochs of batches of {config.batch_size}, peak rate "
        f"{' or '.join(f'{lr:g}' for lr in rates)}, warm-up {config.warmup_fraction:g}, dropout "
        f"{config.pdrop:g}, {config.precision}; the best epoch on the development set is kept"
    )
