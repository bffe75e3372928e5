"""The page of an explanation: what is in it, and what it does in a real browser."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpt1.errors import CheckpointError, DataError
from gpt1.evaluation.explaining import Explanation, explain_ids
from gpt1.evaluation.explanation_page import (
    BITS_PER_LEVEL,
    DARK,
    LIGHT,
    html_page,
    level,
    readable,
)
from lively import TEXT, lively_model, small_tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NASTY = "</script><script>alert(1)</script> \"'&<!-- {{data}}"
DESKTOP, PHONE = (1280, 900), (390, 844)

TOKENIZER = small_tokenizer()
TOKENIZER.add_special_tokens(["</script>", "<!--", "\"&quot;'", "{{data}}"])
MODEL = lively_model(TOKENIZER.vocab_size, n_positions=48)
IDS = TOKENIZER.encode(TEXT)[:24]


def explained(ids: list[int], top: int = 5) -> Explanation:
    return explain_ids(MODEL, ids, TOKENIZER, top)


EXPLANATION = explained(IDS)


def data_of(page: str) -> dict[str, Any]:
    """What the page's script reads."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(text)
    return data


# ---------------------------------------------------------------- the file


def test_the_page_holds_every_figure_of_every_token() -> None:
    data = data_of(html_page(EXPLANATION))
    assert len(data["tokens"]) == data["total"] == len(EXPLANATION)
    for shown, token in zip(data["tokens"], EXPLANATION, strict=True):
        assert (shown["id"], shown["text"], shown["rank"]) == (token.id, token.text, token.rank)
        assert shown["word"] == readable(token.piece)
        assert shown["bits"] == (token.surprisal and pytest.approx(token.surprisal, rel=1e-3))
        assert [word for word, _ in shown["best"]] == [
            readable(a.piece) for a in token.alternatives
        ]
    assert [word for word, _ in data["next"]] == [readable(a.piece) for a in EXPLANATION.next]
    words = [[word for word, _ in layer] for layer in data["lens"]]
    assert words == [[readable(best.piece) for best in layer] for layer in EXPLANATION.lens]


def test_the_maps_are_in_the_page_to_within_half_a_255th() -> None:
    data = data_of(html_page(EXPLANATION))
    packed = np.frombuffer(zlib.decompress(base64.b64decode(data["attention"])), np.uint8)
    maps = np.zeros_like(EXPLANATION.attentions)
    rows, columns = np.tril_indices(len(EXPLANATION))
    maps[:, :, rows, columns] = packed.reshape(*maps.shape[:2], -1) / 255
    np.testing.assert_allclose(maps, EXPLANATION.attentions, atol=0.5 / 255 + 1e-6)


def test_no_text_or_title_breaks_out_of_the_page() -> None:
    names = ("</script>", "<!--", "\"&quot;'", "{{data}}")
    page = html_page(explained([TOKENIZER.token_id(name) for name in names]), NASTY)
    assert [token["piece"] for token in data_of(page)["tokens"]] == list(names)
    assert page.count("</script>") == 2
    assert f"<title>{html.escape(NASTY)}</title>" in page
    assert f"<h1>{html.escape(NASTY)}</h1>" in page


def test_the_title_is_the_beginning_of_the_text_by_default() -> None:
    page = html_page(explained(IDS * 2))
    (title,) = re.findall("<title>(.*)</title>", page)
    assert html.unescape(title).startswith("the quick brown fox")
    assert title.endswith("…")
    assert "<h1>What the model expected</h1>" in page


def test_the_page_names_no_other_file_and_allows_none() -> None:
    page = html_page(EXPLANATION)
    assert re.findall(r"https?://|\bsrc=|@import|url\(|fetch\(|\bimport\b", page) == []
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]
    assert "default-src 'none'" in page


def test_of_a_long_text_the_page_shows_the_last_window_and_says_so() -> None:
    data = data_of(html_page(explained(IDS * 3)))
    assert (data["total"], len(data["tokens"])) == (72, 48)
    assert data["tokens"][0]["rank"] is None


def test_a_text_without_tokens_has_no_page() -> None:
    with pytest.raises(DataError, match="the text has 0 tokens"):
        html_page(explained([]))


def test_save_html_writes_the_page(tmp_path: Path) -> None:
    EXPLANATION.save_html(tmp_path / "page.html", title="Fox & co")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html_page(
        EXPLANATION, "Fox & co"
    )
    with pytest.raises(CheckpointError, match="cannot write"):
        EXPLANATION.save_html(tmp_path / "nowhere" / "page.html")


@pytest.mark.parametrize(
    ("surprisal", "expected"),
    [(None, 0), (0.0, 0), (1.99, 0), (2.0, 1), (13.9, 6), (14.0, 7), (9e9, 7)],
)
def test_a_level_is_two_bits_and_the_last_is_open(surprisal: float | None, expected: int) -> None:
    assert BITS_PER_LEVEL == 2
    assert level(surprisal) == expected


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("dog</w>", "dog"),
        ("do", "do…"),
        ("\n</w>", "\\n"),
        ("_start_", "_start_"),
        ("<unk>", "<unk>"),
    ],
)
def test_a_piece_is_shown_as_people_read_it(piece: str, expected: str) -> None:
    assert readable(piece) == expected


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of ``#rrggbb``."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_is_readable_on_every_colour() -> None:
    style = html_page(EXPLANATION)
    inks = re.findall(r"--ink: (#\w{6});", style)
    blues = re.findall(r"--cool: (#\w{6});", style)
    for ink, colours in zip(inks, ([*LIGHT, blues[0]], [*DARK, blues[1]]), strict=True):
        for colour in colours:
            dark, light = sorted((luminance(ink), luminance(colour)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, colour)


# ---------------------------------------------------------------- in a browser


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page of `EXPLANATION`; at the end nothing went wrong and nothing was fetched."""
    width, height = request.param
    path = tmp_path / "page.html"
    EXPLANATION.save_html(path)
    page = browser.new_page(viewport={"width": width, "height": height})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    page.close()


def token(page: Page, position: int, box: str = "text") -> Any:
    return page.locator(f"#{box} .token").nth(position)


def shades(page: Page) -> list[float]:
    """How blue each token is, in percent."""
    script = "tokens => tokens.map(t => parseFloat(t.style.getPropertyValue('--look')))"
    values: list[float] = page.locator("#looks .token").evaluate_all(script)
    return values


def percent(probability: float) -> str:
    return f"{probability:.1%}" if probability >= 0.0995 else f"{probability:.2%}"


def test_hovering_over_a_token_shows_its_figures(page: Page) -> None:
    likely = max(range(1, len(IDS)), key=lambda t: EXPLANATION[t].probability or 0)
    expected = EXPLANATION[likely]
    token(page, likely).hover()
    shown = page.locator("#panel").inner_text()
    assert f"token {likely + 1} of {len(IDS)}" in shown
    assert percent(expected.probability or 0) in shown
    assert re.search(rf"rank\s+{expected.rank}\b", shown)
    assert re.search(rf"{round(expected.surprisal or 0, 2):g}\d? bits", shown)
    names = page.locator("#panel .bars:not(.lens) .name").all_inner_texts()
    assert names[:5] == [readable(other.piece) for other in expected.alternatives]
    lens = page.locator("#panel .lens .name").all_inner_texts()
    assert lens == [readable(layer[likely - 1].piece) for layer in EXPLANATION.lens]


def test_the_text_is_coloured_by_surprisal(page: Page) -> None:
    levels = page.locator("#text .token[data-level]").evaluate_all(
        "tokens => tokens.map(token => +token.dataset.level)"
    )
    assert levels == [level(shown.surprisal) for shown in EXPLANATION]
    assert page.locator("#text").inner_text().split()[:3] == ["the", "quick", "brown"]


def test_choosing_a_head_shades_the_tokens_it_looks_at(page: Page) -> None:
    token(page, 9).click()
    mean = shades(page)
    page.click("#thumbs [data-layer='1'][data-head='0']")
    weights = np.rint(EXPLANATION.attentions[1, 0, 9, :10] * 255) / 255
    expected = [*np.minimum(1, np.sqrt(weights / 0.4)) * 100, *[0] * (len(IDS) - 10)]
    assert shades(page) == pytest.approx(expected, abs=0.1)
    assert shades(page) != mean
    assert page.input_value("#layer") == "1"
    assert page.input_value("#head") == "0"
    page.select_option("#layer", "-1")
    page.select_option("#head", "-1")
    assert shades(page) == mean


def test_a_click_pins_a_token_and_escape_releases_it(page: Page) -> None:
    token(page, 4).click()
    token(page, 2).hover()
    assert "token 5 of" in page.locator("#panel").inner_text()
    page.keyboard.press("Escape")
    token(page, 3).hover()
    assert "token 4 of" in page.locator("#panel").inner_text()


def test_the_keyboard_reaches_tokens_and_heads(page: Page) -> None:
    token(page, 4).focus()
    page.keyboard.press("ArrowRight")
    assert "token 6 of" in page.locator("#panel").inner_text()
    page.keyboard.press("Home")
    assert "nothing before it" in page.locator("#panel").inner_text()
    page.keyboard.press("End")
    assert "What comes next" in page.locator("#panel").inner_text()
    page.locator("#thumbs button").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#thumbs [aria-checked='true']").get_attribute("title") == "layer 2, head 1"


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_dark_screen_gets_a_dark_page(page: Page) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(value) for value in re.findall(r"\d+", colour)] for colour in colours)
    assert min(light) > 200 > 60 > max(dark)
