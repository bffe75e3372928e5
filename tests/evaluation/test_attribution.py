"""Words that drove a prediction: against predictions one by one, and numeric derivatives."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from rich.console import Console
from scipy.special import logit, logsumexp
from torch import Tensor, nn

from gpt1.config import GPTConfig, HeadConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.evaluation.attribution import Attribution, attribute, without, word_spans
from gpt1.evaluation.attribution_page import html_page
from gpt1.evaluation.attribution_terminal import AGAINST, FOR, drawing
from gpt1.evaluation.predicting import predict
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import collate
from gpt1.tasks.encoding import SPECIAL_TOKENS, encode_examples
from gpt1.tasks.example import Example, choice, pair, similarity, text
from tasks.worlds import examples, new_tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKENIZER = new_tokenizer()
CLASSES = ("good", "bad", "dull")
HEADS = {
    "text": HeadConfig(layout="text", classes=CLASSES),
    "pair": HeadConfig(layout="pair", classes=CLASSES),
    "similarity": HeadConfig(layout="similarity", label_mean=2.0, label_std=1.5),
    "choice": HeadConfig(layout="choice"),
}
ITEMS = [
    text("the old cat sees a dog"),
    pair("the cat sees", "a man hears"),
    similarity("the cat and dog", "a man sees"),
    choice(("the cat", "and dog"), ["a man", "sees sea", "red"]),
]
LAYOUTS = [item.layout for item in ITEMS]


def new_model(layout: str, dtype: torch.dtype = torch.float32) -> TaskModel:
    config = GPTConfig(
        vocab_size=TOKENIZER.vocab_size,
        n_positions=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
    )
    backbone = GPT(config)
    generator = torch.Generator().manual_seed(0)
    backbone.reset_parameters(generator)
    model = TaskModel(backbone, HEADS[layout])
    model.reset_head(generator)
    return model.eval().to(dtype)


def explained(item: Example, **options: Any) -> Attribution:
    return attribute(new_model(item.layout), TOKENIZER, item, **options)


# ---------------------------------------------------------------- leaving words out


@settings(max_examples=8)
@given(item=examples(longest=4))
def test_a_score_is_the_change_that_comes_of_predicting_without_the_word(item: Example) -> None:
    model = new_model(item.layout)
    found = attribute(model, TOKENIZER, item)
    whole = predict(model, TOKENIZER, [item])
    number = int(whole.numbers[0])
    if model.head.kind != "value":  # of equal options, either may be the predicted one
        second, first = sorted(whole.probabilities[0])[-2:]
        assume(first - second > 1e-6)
    places = iter(found)
    for s, parts in enumerate(item.segments):
        for p, part in enumerate(parts):
            words = part.split()
            for w, expected in enumerate(words):
                segments = [list(segment) for segment in item.segments]
                segments[s][p] = " ".join([*words[:w], *words[w + 1 :]])
                rest = predict(
                    model, TOKENIZER, [Example(item.layout, tuple(map(tuple, segments)))]
                )
                word = next(places)
                assert word.text == expected
                if model.head.kind == "value":
                    change = whole.values[0] - rest.values[0]
                    assert word.without == pytest.approx(rest.values[0], abs=1e-4)
                else:
                    pair_of = (whole.probabilities[0, number], rest.probabilities[0, number])
                    change = logit(pair_of[0]) - logit(pair_of[1])
                    assert word.without == pytest.approx(pair_of[1], abs=1e-5)
                assert word.score == pytest.approx(change, abs=1e-4)
    assert next(places, None) is None


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        ("one", [""]),
        (" one  two\tthree ", [" two\tthree ", " one  three ", " one  two "]),
        ("a\n\nb c", ["b c", "a\n\nc", "a\n\nb"]),
    ],
)
def test_a_word_leaves_with_the_space_on_one_side_of_it(whole: str, rest: list[str]) -> None:
    example = pair(whole, "other")
    spans = [span for span in word_spans(example) if span.segment == 0]
    shorter = [without(example, spans, number).segments for number in range(len(spans))]
    assert shorter == [((text,), ("other",)) for text in rest]


def test_thirty_words_are_read_in_one_pass() -> None:
    model = new_model("text")
    passes: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: passes.append(1))
    assert len(attribute(model, TOKENIZER, text("the old cat " * 10))) == 30
    assert len(passes) == 1


# ---------------------------------------------------------------- gradients


def support(model: TaskModel, item: Example, scaled: set[int], scale: float, output: int) -> float:
    """Log-odds or value, in float64, with the embeddings of some tokens scaled."""
    [encoded], _ = encode_examples([item], TOKENIZER, model.config.n_positions)
    batch = collate([encoded], np.zeros(1, np.int64), share_context=False)
    chosen = torch.isin(batch.input_ids, torch.tensor(sorted(scaled)))

    def rescale(module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        return embedded * (1 + chosen.double() * (scale - 1))[:, :, None]

    handle = model.backbone.tokens_embed.register_forward_hook(rescale)
    with torch.no_grad():
        vectors = model.hidden(batch).flatten(0, 1)[batch.extract][0]  # (C, D)
    handle.remove()
    weight = model.score.weight.detach()
    if model.head.kind == "value":
        return float((weight @ vectors.sum(0))[0]) * model.head.label_std
    logits = (vectors @ weight[0] if item.layout == "choice" else weight @ vectors.sum(0)).numpy()
    return float(logits[output] - logsumexp(np.delete(logits, output)))


def derivative(model: TaskModel, item: Example, scaled: set[int], output: int) -> float:
    """Of the support, as these embeddings grow."""
    step = 1e-5
    above = support(model, item, scaled, 1 + step, output)
    return (above - support(model, item, scaled, 1 - step, output)) / (2 * step)


@pytest.mark.parametrize("item", ITEMS, ids=LAYOUTS)
def test_a_gradient_score_is_the_derivative_along_the_word(item: Example) -> None:
    model = new_model(item.layout, torch.float64)
    is_value = model.head.kind == "value"
    label: Any = None if is_value else 1 if item.layout == "choice" else "bad"
    found = attribute(model, TOKENIZER, item, label, "gradient")
    for word in found:
        tokens = set(TOKENIZER.encode(word.text))  # every word is another one
        assert word.without is None
        assert word.score == pytest.approx(derivative(model, item, tokens, 1), abs=1e-5)


def test_words_have_all_of_their_tokens_and_newlines_go_with_a_word() -> None:
    model = new_model("text", torch.float64)
    item = text("\n catdog the seaman\n\nredold  x")
    found = attribute(model, TOKENIZER, item, "bad", "gradient")
    assert [word.text for word in found] == ["catdog", "the", "seaman", "redold", "x"]
    specials = set(map(TOKENIZER.token_id, SPECIAL_TOKENS))
    expected = derivative(model, item, set(range(TOKENIZER.vocab_size)) - specials, 1)
    assert found.scores.sum() == pytest.approx(expected, abs=1e-5)


def test_words_that_are_cut_off_have_no_gradient() -> None:
    scores = explained(text("the old cat sees " * 20), method="gradient").scores
    assert (scores[:62] != 0).all()
    assert (scores[62:] == 0).all()


@pytest.mark.parametrize("method", ["leave_one_out", "gradient"])
def test_the_model_is_left_as_it_was(method: Any) -> None:
    model = new_model("text").train()
    attribute(model, TOKENIZER, ITEMS[0], method=method)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.backbone.tokens_embed._forward_hooks


# ---------------------------------------------------------------- what is asked for


def test_the_prediction_is_explained_unless_a_label_is_named() -> None:
    item = ITEMS[0]
    predictions = predict(new_model("text"), TOKENIZER, [item])
    found = explained(item)
    assert found.label == found.prediction == predictions.labels[0]
    assert found.figure == pytest.approx(predictions.probabilities.max())
    other = next(name for name in CLASSES if name != found.label)
    changed = explained(item, label=other)
    assert (changed.label, changed.prediction) == (other, found.label)
    assert changed.figure == pytest.approx(
        predictions.probabilities[0, HEADS["text"].classes.index(other)]
    )


def test_labels_and_methods_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="label is 'nice' but must be one of good, bad, dull"):
        explained(ITEMS[0], label="nice")
    with pytest.raises(ConfigError, match="label is 3 but must be one of 0, 1, 2"):
        explained(ITEMS[3], label=3)
    with pytest.raises(ConfigError, match="label is 'bad' but the model predicts a value"):
        explained(ITEMS[2], label="bad")
    with pytest.raises(ConfigError, match="method is 'magic' but must be one of 'leave_one_out', "):
        explained(ITEMS[0], method="magic")


def test_the_strongest_words_come_first_and_all_is_plain_data() -> None:
    found = explained(ITEMS[0])
    strongest = found.strongest(3)
    assert [abs(word.score) for word in strongest] == sorted(abs(found.scores))[::-1][:3]
    assert len(found.strongest()) == len(found) == 6
    record = json.loads(json.dumps(found.to_dict()))
    assert record["label"] == found.label
    assert record["probability"] == found.figure
    assert record["words"][1]["text"] == "old"
    assert record["words"][1]["place"] == {"segment": 0, "part": 0, "start": 4, "end": 7}
    value = explained(ITEMS[2]).to_dict()
    assert value["value"] == value["prediction"]


# ---------------------------------------------------------------- in a terminal


def printed(found: Attribution, *, colours: bool = False, shown: int = 10) -> str:
    stream = io.StringIO()
    system: Any = "truecolor" if colours else None
    console = Console(file=stream, width=100, color_system=system, force_terminal=colours)
    console.print(drawing(found, shown))
    return stream.getvalue()


def test_the_terminal_shows_prediction_text_and_the_strongest_words() -> None:
    found = explained(ITEMS[0])
    shown = printed(found, shown=2)
    assert f"predicted {found.label}, {found.figure:.1%} (each word left out in turn)" in shown
    assert "\nthe old cat sees a dog\n" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith("│")]
    assert [row[1] for row in rows] == [word.text for word in found.strongest(2)]
    best = found.strongest(1)[0]
    assert f"{best.score:+.3f}" in rows[0]
    assert f"{best.without:.1%}" in rows[0]


def test_the_terminal_names_the_parts_and_what_is_explained() -> None:
    shown = printed(explained(ITEMS[3], label=2, method="gradient"))
    assert re.search(r"predicted option \d; explained option 2, [\d.]+% \(gradient times", shown)
    assert "context: the catand dog\noption 0: a man\noption 1: sees sea\noption 2: red" in shown
    assert "without it" not in shown
    assert "first: the cat and dog\nsecond: a man sees" in printed(explained(ITEMS[2]))


def rgb(colour: str) -> str:
    return ";".join(str(int(colour[place : place + 2], 16)) for place in (1, 3, 5))


def test_a_terminal_gets_words_on_the_colour_of_their_score() -> None:
    found = explained(ITEMS[0])
    shown = printed(found, colours=True)
    best = found.strongest(1)[0]
    ramp = FOR if best.score > 0 else AGAINST
    assert f"48;2;{rgb(ramp[-1])}m{best.text}" in shown


# ---------------------------------------------------------------- as a page


NASTY = "</style><script>alert(1)</script> \"'& {{rows}}"


def test_the_page_has_every_word_with_its_figures() -> None:
    found = explained(ITEMS[0])
    page = html_page(found)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>.*?<td>(.*?)</td><td>(.*?)</td></tr>', page)
    expected = [(w.text, f"{w.score:+.3f}", f"{w.without:.1%}") for w in found.strongest()]
    assert rows == expected
    assert f"<b>predicted {found.label}, {found.figure:.1%}</b>" in page
    assert "<title>the old cat sees a dog</title>" in page
    assert f"for {found.label}" in page


def test_no_text_title_or_label_breaks_out_of_the_page() -> None:
    found = explained(text(NASTY))
    page = html_page(found, NASTY)
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert f"<h1>{html.escape(NASTY)}</h1>" in page
    [shown] = re.findall(r'<p class="text">(.*?)</p>', page)
    assert html.unescape(re.sub("<.*?>", "", shown)) == NASTY


def test_the_page_names_no_other_file_and_allows_none() -> None:
    page = html_page(explained(ITEMS[1]))
    assert re.findall(r"https?://|\bsrc=|@import|url\(|<script", page) == []
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]
    assert "default-src 'none'" in page


def test_a_page_of_values_and_of_gradients_says_so() -> None:
    page = html_page(explained(ITEMS[2]))
    assert "raises it" in page
    assert "in the units of the value" in page
    assert "<h3>second</h3>" in page
    assert "without it" not in html_page(explained(ITEMS[0], method="gradient"))


def test_save_html_writes_the_page(tmp_path: Path) -> None:
    found = explained(ITEMS[0])
    found.save_html(tmp_path / "page.html", "Cats & dogs")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html_page(found, "Cats & dogs")
    with pytest.raises(CheckpointError, match="cannot write"):
        found.save_html(tmp_path / "nowhere" / "page.html")


# ---------------------------------------------------------------- in a browser


LONG = choice("the old cat " * 12, ["donaudampfschifffahrtsgesellschaft" * 3, "a red dog"])


@pytest.fixture(scope="module", params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    width, height = request.param
    path = tmp_path_factory.mktemp("page") / "page.html"
    explained(LONG).save_html(path)
    page = browser.new_page(viewport={"width": width, "height": height})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert complaints == []
    page.close()


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_words_for_and_against_are_told_apart_without_colour(page: Page) -> None:
    lines = {
        kind: page.locator(f"mark.{kind}").evaluate_all(
            "marks => [...new Set(marks.map(m => getComputedStyle(m).textDecorationLine))]"
        )
        for kind in ("for", "against")
    }
    assert lines == {"for": ["none"], "against": ["underline"]}


def test_bars_grow_from_the_middle_to_their_side(page: Page) -> None:
    script = """spans => spans.map(s => { const bar = s.getBoundingClientRect(),
        cell = s.parentElement.getBoundingClientRect();
        const style = getComputedStyle(s.parentElement);
        const left = cell.left + parseFloat(style.paddingLeft);
        const right = cell.right - parseFloat(style.paddingRight);
        return [s.className, bar.left - (left + right) / 2, bar.right - (left + right) / 2]; })"""
    for kind, left, right in page.locator(".bar span").evaluate_all(script):
        middle = left if kind == "for" else right
        assert abs(middle) < 1, (kind, left, right)


def test_a_dark_screen_gets_a_dark_page(page: Page) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(value) for value in re.findall(r"\d+", colour)] for colour in colours)
    assert min(light) > 200 > 60 > max(dark)
