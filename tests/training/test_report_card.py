"""The report of a run: figures counted anew, and a page a real browser opens without a network."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gpt1
from gpt1.cli import finetune_lm as command
from gpt1.cli.parsing import parse
from gpt1.config import GPTConfig, LSTMConfig, TextConfig, TrainingConfig
from gpt1.data.sources import TextSource
from gpt1.training.copying import Repeats
from gpt1.training.finetune import finetune_lm
from gpt1.training.journal import Sample
from gpt1.training.pretrain import pretrain
from gpt1.training.report_card import GENERAL_TEXT, Change, ReportCard
from gpt1.training.report_page import html_page
from gpt1.training.tracking import read_metrics

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NASTY = "</p><script>alert(1)</script> \"'&<!-- {{style}}"
DESKTOP, PHONE = (1280, 900), (390, 844)
TRAINING = TrainingConfig(lr=3e-3, max_steps=8, batch_size=8, log_every_steps=1, track=())


@pytest.fixture(scope="module")
def finished(
    base_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """A run on few sentences, one of them three times; its data, and what its report says."""
    folder = tmp_path_factory.mktemp("report")
    data = folder / "texts.jsonl"
    texts = [f"anna sees the {what}" for what in ("red house", "old car", "small tree")]
    lines = [json.dumps({"text": text}) for text in [*texts * 10, *["bob hides the cat"] * 3]]
    data.write_text("\n".join(lines), encoding="utf-8")
    config = TextConfig(data=str(data), prefix="SAY: ")
    finetune_lm(base_model, config, folder / "my run", TRAINING)
    return folder / "my run", data, json.loads((folder / "my run" / "report.json").read_text())


Finished = tuple[Path, Path, dict[str, Any]]


def test_losses_on_general_text_are_those_of_evaluate_perplexity(
    finished: Finished, base_model: Path
) -> None:
    run, _, report = finished
    paragraphs = GENERAL_TEXT.read_text(encoding="utf-8").split("\n\n")
    after = gpt1.load(run).perplexity(paragraphs).nats_per_token
    assert report["general"]["after"] == pytest.approx(after, rel=1e-6)
    # The end token is a row more, drawn at random: nearly the model it started from.
    before = gpt1.load(base_model).perplexity(paragraphs).nats_per_token
    assert report["general"]["before"] == pytest.approx(before, rel=0.01)


def test_losses_on_validation_data_are_those_of_the_metrics(finished: Finished) -> None:
    run, _, report = finished
    losses = [
        row["valid_loss"] for row in read_metrics(run / "metrics.jsonl") if "valid_loss" in row
    ]
    assert report["validation"] == {"before": losses[0], "after": min(losses[1:])}


def test_copying_and_variety_are_those_of_plain_counting(finished: Finished) -> None:
    run, data, report = finished
    lm = gpt1.load(run)
    trained = {tuple(lm.tokenizer.encode("SAY: " + text)) for text in TextSource(data)}
    samples = lm.generate(
        ["SAY:"], max_new_tokens=64, temperature=0.8, top_p=0.95, seed=TRAINING.seed, n=8
    )[0]
    assert [sample["text"] for sample in report["samples"]] == samples
    completions = lm.complete(
        ["SAY:"], max_new_tokens=64, temperature=0.8, top_p=0.95, seed=TRAINING.seed, n=8
    )[0]
    for size in (1, 2, 3):
        runs = [run for c in completions for run in runs_of(c.ids, size)]
        assert report["distinct"][str(size)] == pytest.approx(len(set(runs)) / len(runs))
    for size in (4, 6):
        known = {run for text in trained for run in runs_of(text, size)}
        runs = [run for c in completions for run in runs_of(c.ids, size)]
        # A text that is held out is trained on all the same where it is there again.
        assert report["copied"][str(size)] == pytest.approx(
            sum(run in known for run in runs) / len(runs)
        )


def runs_of(ids: Any, size: int) -> list[tuple[int, ...]]:
    return [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]


def test_repeated_texts_are_counted(finished: Finished) -> None:
    _, _, report = finished
    repeats = report["repeats"]
    assert repeats["unit"] == "texts"
    assert repeats["total"] - repeats["repeated"] == 4  # different ones
    assert repeats["total"] == 31  # two are held out


def test_cost_says_operations_and_memory(finished: Finished) -> None:
    run, _, report = finished
    tokens = read_metrics(run / "metrics.jsonl")[-2]["tokens"]
    config = gpt1.load(run).model.config
    flops = tokens * gpt1.flops.training_flops_per_token(config, config.n_positions)
    assert report["cost"]["operations"] == f"{flops:.3g} FLOPs"
    assert re.fullmatch(r"[\d,]+ MiB", report["cost"]["peak memory"])


def test_the_command_makes_the_run_again(finished: Finished) -> None:
    run, data, report = finished
    name, words = "finetune lm", shlex.split(report["command"])
    assert words[:3] == ["gpt1", "finetune", "lm"]
    values = parse(name, command, words[3:])
    assert (values.data, values.lr, values.prefix) == (str(data), TRAINING.lr, "SAY: ")
    assert values.out == f"{run}-again"


def test_pretraining_and_an_lstm_have_a_report_too(sentences: Path, tmp_path: Path) -> None:
    training = replace(TRAINING, max_steps=2, seq_len=8)
    shape = LSTMConfig(n_embd=8, n_units=8, n_positions=8)
    pretrain(sentences, tmp_path / "lstm", training, shape)
    report = json.loads((tmp_path / "lstm" / "report.json").read_text())
    assert report["samples"] == []
    assert report["repeats"]["unit"] == "stretches of 50 tokens"
    assert "an LSTM cannot be sampled from" in (tmp_path / "lstm" / "report.html").read_text()
    gpt = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=8)
    pretrain(sentences, tmp_path / "gpt", training, gpt)
    report = json.loads((tmp_path / "gpt" / "report.json").read_text())
    assert len(report["samples"]) == 8
    assert report["general"]["before"] == pytest.approx(
        math.log(gpt1.load(tmp_path / "gpt").tokenizer.vocab_size), rel=0.05
    )


# ---------------------------------------------------------------- the page


def card(**changes: Any) -> ReportCard:
    """A report with a text that could break its page, on every place a text goes to."""
    facts = {NASTY: NASTY, "parameters": "7"}
    values: dict[str, Any] = {
        "title": NASTY,
        "origin": NASTY,
        "facts": facts,
        "metrics": [
            {"step": s, "loss": 5 - s / 10, "lr": 1e-4, "grad_norm": 1.0} for s in range(30)
        ],
        "validation": Change(before=math.log(1234.4), after=math.log(15.25)),
        "general": Change(before=math.log(70), after=math.log(90)),
        "samples": [Sample("JOKE:", "joke: " + NASTY, [1]), Sample("", "", [])],
        "copied": {4: 0.25, 8: None},
        "distinct": {1: 0.5},
        "repeats": Repeats("texts", 200, 3),
        "searched_whole": False,
        "cost": {"training time": "3 minutes", "hardware": NASTY},
        "command": NASTY,
        "versions": NASTY,
    }
    return ReportCard(**{**values, **changes})


def test_texts_are_shown_as_they_are_and_never_run() -> None:
    page = html_page(card())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 9
    assert "{{style}}" in page


def test_the_page_shows_the_figures() -> None:
    page = html_page(card())
    figures = ("1,234 → 15.2", "70.0 → 90.0", "25.0%", "too short", "3 of 200", "1.5%")
    for shown in (*figures, "first 20 million tokens", "English: worse than", "<b>joke:</b>"):
        assert shown in page
    better = card(general=Change(before=2.0, after=1.0))
    assert "English: no worse than before" in html_page(better)
    assert "no validation" in html_page(card(validation=Change(before=None, after=None)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page in a browser; whatever it complains about or asks the network for is a failure."""
    path = tmp_path / "report.html"
    path.write_text(html_page(card()), encoding="utf-8")
    page = browser.new_page(viewport={"width": request.param[0], "height": request.param[1]})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    page.close()


def test_a_browser_shows_it_in_light_and_dark_and_nothing_is_too_wide(page: Page) -> None:
    colours = []
    width = page.viewport_size["width"] if page.viewport_size else 0
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(value) for value in re.findall(r"\d+", colour)] for colour in colours)
    assert min(light) > 200 > 60 > max(dark)
    assert page.locator("h1").inner_text().startswith("</p><script>")
    assert page.locator("svg path.line-0").count() == 3
    box = page.locator("svg").first.bounding_box()
    assert box is not None
    assert box["width"] > 250
