"""The playground in a real browser, and what it sends, draws and refuses."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI, Request

from gpt1.config import HeadConfig
from gpt1.errors import ConfigError, DataError, MissingExtraError
from gpt1.evaluation.explanation_page import level, readable
from gpt1.evaluation.predicting import predict
from gpt1.generation.settings import generation_config
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine, Overloaded
from gpt1.serving.models import Models, ServedTask
from gpt1.serving.playground import snippets
from gpt1.serving.playground.distribution import Choice, Expectation, Expectations
from gpt1.serving.playground.drawing import expectation_html, frame_html, tokens_html
from gpt1.serving.playground.mounting import mount_playground
from gpt1.serving.playground.sampling import Sampling
from gpt1.serving.playground.writing import PROMPT_CHARS, Draft, Written, checked, frame_s, write
from gpt1.task_model import TaskModel
from gpt1.tasks.encoding import SPECIAL_TOKENS
from gpt1.tasks.example import choice, text
from live_server import live
from lively import lively_model, small_tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Gradio's statistics of its queue ask pandas in ways that are about to go.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}:DeprecationWarning")
    for message in ("'future.no_silent_downcasting' is deprecated", "The copy keyword is deprec")
]

DESKTOP, PHONE = (1280, 900), (390, 844)
TIMEOUT_MS = 120_000  # of a step that has gone wrong
PROMPT = "the lazy dog"
HOSTILE = '<img src=x onerror="window.hit=1">${window.hit=2}{{value}}</pre><script>hit</script>\''
GREEDY = {"temperature": 0, "repetition_penalty": 1.1, "top_p": 0.95, "max_new_tokens": 40}
CONFIG = ServingConfig(slots=4, playground=True, max_tokens=200_000)


def served() -> Models:
    """Two language models whose texts vary, and a task model of three layouts."""
    tokenizer = small_tokenizer(end_of_text=False)  # texts end where they are told to
    tokenizer.add_special_tokens([t for t in SPECIAL_TOKENS if t not in tokenizer.special_tokens])
    engines = {
        name: Engine(lively_lm(tokenizer, seed), slots=CONFIG.slots)
        for seed, name in enumerate(("before", "after"))
    }
    heads = {
        "mood": HeadConfig(layout="text", classes=("bad", "good")),
        "follows": HeadConfig(layout="pair", classes=("yes", "no", "maybe")),
        "ending": HeadConfig(layout="choice"),
    }
    tasks = {
        name: ServedTask(
            model=TaskModel(lively_model(tokenizer.vocab_size, n_positions=64), head).eval(),
            tokenizer=tokenizer,
        )
        for name, head in heads.items()
    }
    return Models(engines=engines, tasks=tasks)


def lively_lm(tokenizer: Any, seed: int) -> Any:
    from gpt1.language_model import LanguageModel

    model = lively_model(tokenizer.vocab_size, n_positions=64, seed=seed)
    with torch.no_grad():
        model.tokens_embed.weight.mul_(8)  # some tokens are far likelier than others
    return LanguageModel(model, tokenizer)


MODELS = served()


def lm_of(name: str) -> Any:
    return MODELS.engine(name).lm


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with live(create_app(MODELS, CONFIG)) as address:
        yield address


@contextmanager
def opened(
    browser: Browser, server: str, size: tuple[int, int] = DESKTOP, scheme: Any = "light"
) -> Iterator[Page]:
    """The page; at the end nothing went wrong in it, and no other host was asked."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    try:
        page.goto(server)
        page.wait_for_selector(".g-choice")
        yield page
        assert page.evaluate("window.hit") is None
    finally:
        context.close()  # a server waits for pages that are open
    assert complaints == []
    own = (server, "about:srcdoc", "data:")
    assert [url for url in requests if not url.startswith(own)] == []


@pytest.fixture(scope="module")
def desktop(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, server) as page:
        yield page


@pytest.fixture
def page(desktop: Page) -> Page:
    """The page, freshly loaded."""
    desktop.reload()
    desktop.wait_for_selector(".g-choice")
    return desktop


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def shown(page: Page, selector: str) -> Any:
    return page.locator(f"{selector}:visible")


def wait_until(page: Page, script: str, value: Any = None) -> None:
    page.wait_for_function(script, arg=value)


def set_slider(page: Page, label: str, value: float) -> None:
    field = page.get_by_role("spinbutton", name=re.compile(label)).locator("visible=true")
    field.fill(str(value))
    field.press("Tab")


def set_prompt(page: Page, prompt: str = PROMPT) -> None:
    page.get_by_label("Prompt").locator("visible=true").fill(prompt)
    script = """prompt => [...document.querySelectorAll('.g-code pre')].some(e =>
        e.offsetParent && e.innerText.includes(prompt))"""
    wait_until(page, script, f"prompt={prompt!r}")


def is_done(page: Page, text: str) -> None:
    script = """text => [...document.querySelectorAll('.g-text')].some(e =>
        e.offsetParent && e.innerText.replaceAll('\\n', '') === text)"""
    wait_until(page, script, text.replace("\n", "↵"))


def continued(name: str, prompt: Any, **settings: Any) -> Any:
    [completion] = MODELS.engine(name).complete(prompt, logprobs=0, **{**GREEDY, **settings})
    return completion


def whole(completion: Any) -> str:
    return str(completion.prompt + completion.text)


def test_text_streams_in_colours_of_its_probability(page: Page) -> None:
    set_prompt(page)
    set_slider(page, "Temperature", 2)
    page.get_by_label("Seed").locator("visible=true").fill("3")
    counts = """() => { window.counts = new Set(); new MutationObserver(() =>
        window.counts.add(document.querySelectorAll('.g-token').length))
        .observe(document.body, {childList: true, subtree: true}); }"""
    page.evaluate(counts)
    button(page, "Write").click()
    expected = continued("before", PROMPT, temperature=2, seed=3)
    is_done(page, whole(expected))
    tokens = page.locator(".g-token").evaluate_all("all => all.map(t => +t.dataset.level)")
    explained = lm_of("before").explain(expected.prompt_ids + expected.ids)
    assert tokens == [level(one.surprisal) for one in explained[len(expected.prompt_ids) :]]
    assert len(set(tokens)) > 1
    assert page.evaluate("window.counts.size") > 1  # not all at once


def test_another_choice_by_keys_alone_is_continued(page: Page) -> None:
    set_prompt(page)
    set_slider(page, "Temperature", 0)
    button(page, "Write").focus()
    page.keyboard.press("Enter")
    before = continued("before", PROMPT)
    is_done(page, whole(before))
    for _ in range(3):  # Write more, Stop, the text
        page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    replaced = readable(lm_of("before").tokenizer.pieces([before.ids[4]])[0])
    page.wait_for_selector(f"h2:has-text('In place of “{replaced}”')")
    assert page.evaluate("document.activeElement.dataset.choice") == "4"
    other = page.locator("button.g-choice:not(.here):not(:disabled)").first
    token = int(other.get_attribute("data-choice") or "")
    other.focus()
    page.keyboard.press("Enter")
    prefix = [*before.prompt_ids, *before.ids[:4], token]
    assert prefix[-1] != before.ids[4]
    is_done(page, whole(continued("before", prefix)))
    code = page.locator(".g-code pre").first.inner_text()
    assert json.loads(shlex.split(code)[-1])["prompt"] == prefix


def test_settings_change_the_bars_at_once(page: Page) -> None:
    set_prompt(page)
    hint = page.locator(".g-choices ~ .g-hint")
    first = hint.inner_text()
    set_slider(page, "Top k", 1)
    wait_until(page, "document.querySelector('.g-hint').innerText.includes('leave 1 token,')")
    set_slider(page, "Top k", 0)
    wait_until(page, "first => document.querySelector('.g-hint').innerText === first", first)
    slider = page.get_by_role("slider", name=re.compile("Temperature")).locator("visible=true")
    slider.focus()
    page.keyboard.press("Home")  # temperature 0
    wait_until(page, "document.querySelector('.g-hint').innerText.includes('leave 1 token,')")
    lm = lm_of("before")
    config = generation_config(**GREEDY)
    expected = Expectations(lm)(lm.tokenizer.encode(PROMPT), config)
    names = page.locator("button.g-choice .name").all_inner_texts()
    assert names == ["end of text" if c.ends else c.word for c in expected.choices]


def test_stop_ends_the_text_and_frees_its_slot(page: Page) -> None:
    engine = MODELS.engine("before")
    set_slider(page, "Max tokens", 200_000)
    button(page, "Write").click()
    page.wait_for_selector(".g-token")
    button(page, "Stop").click()
    is_idle(engine)
    page.wait_for_selector("h2:has-text('What comes next')")


def test_a_tab_that_is_closed_frees_its_slot(browser: Browser, server: str) -> None:
    engine = MODELS.engine("before")
    with opened(browser, server) as page:
        set_slider(page, "Max tokens", 200_000)
        button(page, "Write").click()
        page.wait_for_selector(".g-token")
        assert engine.running == 1
    is_idle(engine)


def is_idle(engine: Engine) -> None:
    end = time.monotonic() + 30
    while engine.running:
        assert time.monotonic() < end, "the slot is still taken"
        time.sleep(0.02)


def test_attention_and_the_lens_are_chosen_by_layer_and_head(page: Page) -> None:
    tab(page, "Look inside")
    page.get_by_label("Text").locator("visible=true").fill("the quick brown fox")
    button(page, "Look inside").click()
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for()
    explanation = lm_of("before").explain("the quick brown fox")
    frame.locator("#text .token").nth(2).click()
    lens = frame.locator("#panel .lens .name").all_inner_texts()
    assert lens == [readable(layer[1].piece) for layer in explanation.lens]
    frame.locator("#layer").select_option(index=2)
    frame.locator("#head").select_option(index=1)
    looks = frame.locator("#looks .token").evaluate_all(
        "all => all.map(t => parseFloat(t.style.getPropertyValue('--look')))"
    )
    weights = np.rint(explanation.attentions[1, 0, 2, :3] * 255) / 255
    assert looks[:3] == pytest.approx(np.minimum(1, np.sqrt(weights / 0.4)) * 100, abs=0.1)
    box = page.locator("iframe").bounding_box()
    inside = frame.locator("body").evaluate("body => body.scrollHeight")
    assert box is not None
    assert box["height"] == pytest.approx(inside, abs=1)


def test_two_models_continue_one_prompt_side_by_side(page: Page) -> None:
    tab(page, "Compare")
    set_prompt(page)
    page.get_by_role("button", name="Sampling").click()
    set_slider(page, "Temperature", 0)
    button(page, "Write with both").click()
    for name in ("before", "after"):
        is_done(page, whole(continued(name, PROMPT)))
    assert whole(continued("before", PROMPT)) != whole(continued("after", PROMPT))
    left, right = shown(page, ".g-written").all()
    assert left.bounding_box()["y"] == right.bounding_box()["y"]


def test_classes_come_with_the_words_that_mattered(page: Page) -> None:
    tab(page, "Classify")
    page.get_by_label("Text", exact=True).locator("visible=true").fill(HOSTILE)
    button(page, "Classify").click()
    frame = page.frame_locator("iframe:visible")
    words = frame.locator("p.text").inner_text()
    assert words == HOSTILE
    task = MODELS.task("mood")
    [record] = predict(task.model, task.tokenizer, [text(HOSTILE)]).records()
    expected = [f"{share:.0%}" for share in record["probabilities"].values()]
    assert shown(page, ".g-choice .figures").all_inner_texts() == expected
    assert frame.locator("tbody tr").count() == len(HOSTILE.split())
    [command] = shown(page, ".g-code pre[aria-label=curl]").all_inner_texts()
    assert json.loads(shlex.split(command.replace("\\\n", " "))[-1])["input"] == HOSTILE


def test_the_fields_follow_the_task(page: Page) -> None:
    tab(page, "Classify")
    page.get_by_label("Task model").click()
    page.get_by_role("option", name="ending").click()
    page.get_by_label("Context").fill("the fox")
    button(page, "Classify").click()
    page.wait_for_selector("text='Options, one a line' is empty")
    page.get_by_label("Options, one a line").fill("jumps\nisn't lazy")
    button(page, "Classify").click()
    page.locator("iframe:visible").wait_for()
    task = MODELS.task("ending")
    example = choice("the fox", ["jumps", "isn't lazy"])
    [record] = predict(task.model, task.tokenizer, [example]).records()
    expected = [f"{share:.0%}" for share in record["probabilities"]]
    assert shown(page, ".g-choice .figures").all_inner_texts() == expected


def test_what_is_typed_stays_text(page: Page) -> None:
    set_prompt(page, HOSTILE)
    button(page, "Write").click()
    page.wait_for_selector(".g-token")
    [program] = shown(page, ".g-code pre[aria-label=Python]").all_inner_texts()
    assert f"prompt={HOSTILE!r}" in program
    page.get_by_label("Seed").locator("visible=true").fill("<img src=x onerror=window.hit=1>")
    page.wait_for_selector("text=must be a whole number")
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_it(
    browser: Browser, server: str, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, server, size, scheme) as page:
        button(page, "Write").click()
        page.wait_for_selector(".g-token")
        page.wait_for_selector("h2:has-text('What comes next')")
        page.locator(".g-token").first.click()
        page.wait_for_selector("h2:has-text('In place of')")
        check_view(page, size[0])
        tab(page, "Look inside")
        button(page, "Look inside").click()
        page.frame_locator("iframe").locator("html[data-ready]").wait_for()
        check_view(page, size[0])
        tab(page, "Compare")
        button(page, "Write with both").click()
        page.get_by_role("button", name="Sampling").click()
        wait_until(page, "document.querySelectorAll('span.g-token').length > 1")
        check_view(page, size[0])
        tab(page, "Classify")
        page.get_by_label("Text", exact=True).locator("visible=true").fill("the lazy dog")
        button(page, "Classify").click()
        page.locator("iframe:visible").wait_for()
        check_view(page, size[0])


def check_view(page: Page, width: int) -> None:
    """Nothing is wider than the screen, and axe-core finds nothing serious, in frames neither."""
    axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
    axe = axe_playwright.Axe()
    looked_at = [page]
    for frame in shown(page, "iframe").all():  # as pages of their own: one may run no scripts
        alone = page.context.new_page()
        alone.set_viewport_size({"width": width, "height": 900})
        alone.set_content(frame.get_attribute("srcdoc"))
        looked_at.append(alone)
    for one in looked_at:
        assert one.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(one).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []
    for alone in looked_at[1:]:
        alone.close()


# ---------------------------------------------------------------- without a browser


def alone(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it in an event loop of its own: playwright's runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_the_bars_are_the_formulas() -> None:
    lm = lm_of("before")
    ids = lm.tokenizer.encode("the quick brown fox isn't")
    config = generation_config(temperature=0.7, top_k=5, repetition_penalty=1.3)
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0, -1].double().numpy()
    before, after = Expectations(lm).probabilities(ids, config)
    special = sorted(lm.limits(config)["suppress"])
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    shares[special] = 0
    np.testing.assert_allclose(before, shares, atol=1e-6)
    logits[special] = -np.inf
    seen = sorted(set(ids))
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / 1.3, logits[seen] * 1.3)
    logits /= 0.7
    logits[logits < np.sort(logits)[-5]] = -np.inf
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(after, expected / expected.sum(), atol=1e-6)
    found = Expectations(lm)(ids, config, also=special[0])
    assert found.kept == 5
    assert special[0] in [one.id for one in found.choices]
    assert found.kept_share == pytest.approx(shares[expected > 0].sum(), abs=1e-6)


def test_special_tokens_cannot_be_chosen() -> None:
    lm = lm_of("before")
    expectations = Expectations(lm)
    assert expectations.check(5) == 5
    special = lm.tokenizer.special_tokens.values()
    for wrong in (*special, -1, lm.tokenizer.vocab_size, "5", None):
        with pytest.raises(DataError, match=f"the token is {wrong!r} but must be the id of a word"):
            expectations.check(wrong)


def test_a_stop_string_is_cut_off_the_drawn_text() -> None:
    engine = MODELS.engine("before")
    [long] = engine.complete(PROMPT, **GREEDY)
    stop = long.text[9:12]

    async def run() -> list[list[Written]]:
        asked = [(engine, engine.lm.prompt_ids(PROMPT))]
        return [both async for both in write(asked, 60, **{**GREEDY, "stop": stop})]

    [last] = alone(run())[-1]
    [expected] = engine.complete(PROMPT, **{**GREEDY, "stop": stop})
    assert last.finish_reason == "stop"
    draft = Draft("before", tuple(expected.prompt_ids)).grown(engine.lm.tokenizer, last)
    prompt, texts = draft.texts(engine.lm.tokenizer)
    assert (prompt + "".join(texts)).rstrip() == whole(expected).rstrip()
    assert draft.ids == expected.prompt_ids + expected.ids


def test_what_ends_a_text_is_raised_and_its_slots_are_free() -> None:
    engine = Engine(lm_of("before"), slots=1)

    async def run() -> None:
        steps = write([(engine, [5, 6])], 60, max_new_tokens=100_000)
        await anext(steps)
        engine.close()
        async for _ in steps:
            pass

    with pytest.raises(Overloaded, match="the server was stopped"):
        alone(run())
    assert engine.running == 0


def test_a_page_is_told_no_more_often_than_it_can_draw() -> None:
    asked = [(MODELS.engine(name), [5, 6]) for name in ("before", "after")]

    async def run() -> list[tuple[float, list[Written]]]:
        steps = write(asked, 60, **{**GREEDY, "max_new_tokens": 600})
        return [(time.monotonic(), both) async for both in steps]

    times, shown = zip(*alone(run()), strict=True)
    assert [len(one.tokens) for one in shown[-1]] == [600, 600]
    assert all(
        later - time >= frame_s(both) - 0.01  # what clocks may differ by
        for time, later, both in zip(times, times[1:], shown, strict=False)
    )


def test_drawings_escape_what_they_show() -> None:
    drawn = tokens_html(HOSTILE, [f" {HOSTILE}", "\n"], [-1.0, -2.0], chosen=0)
    assert "<img" not in drawn + frame_html(f"<head></head>{HOSTILE}", HOSTILE, has_scripts=True)
    assert drawn.count("<br>") == 1
    end = Expectation([Choice(3, "x", 0.5, 0.5, ends=True)], kept=1, kept_share=0.5)
    row = expectation_html(end, "here", None)
    assert "end of text" in row
    assert 'data-choice="3" disabled' in row
    code = snippets.code_html(HOSTILE, HOSTILE)
    assert "<img" not in code
    assert code.count("</pre>") == 2


def sampled(config: ServingConfig, **changed: Any) -> Any:
    """Settings of controls of which some are changed."""
    sampling = Sampling(config)
    values = {part: part.value for part in sampling.components}
    labels = {part.label: part for part in sampling.components}
    return sampling.settings(
        values | {labels[name.replace("_", " ")]: value for name, value in changed.items()}
    )


def test_controls_stand_for_settings() -> None:
    settings = sampled(CONFIG, Stop_strings="dog\n\nfox ", Seed=" 7", Top_k=3, Top_p=1)
    assert settings == {
        "temperature": 0.8,
        "top_k": 3,
        "top_p": None,
        "min_p": None,
        "repetition_penalty": 1.1,
        "max_new_tokens": 40,
        "stop": ["dog", "fox "],
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Max_tokens": 9}, "max tokens is 9 but must be 1 to 8"),
        ({"Max_tokens": "9"}, "max tokens is '9' but must be 1 to 8"),
        ({"Seed": "x"}, "the seed is 'x' but must be a whole number, or empty"),
        ({"Stop_strings": "a\nb\nc\nd\ne"}, "there are 5 stop strings but may be 4"),
    ],
)
def test_values_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        sampled(ServingConfig(max_tokens=8), **changed)


def test_long_texts_are_refused() -> None:
    assert checked("x" * PROMPT_CHARS)
    with pytest.raises(DataError, match="the text has 8001 characters but may have 8000 here"):
        checked("x" * (PROMPT_CHARS + 1))


@pytest.mark.parametrize("has_key", [False, True])
def test_the_command_and_the_programs_send_the_same_request(
    monkeypatch: pytest.MonkeyPatch, has_key: bool
) -> None:
    monkeypatch.setenv(snippets.KEY, "secret")
    app, bodies, keys = FastAPI(), [], []

    @app.post("/v1/completions")
    async def completions(request: Request) -> Any:
        bodies.append(await request.json())
        keys.append(request.headers.get("authorization"))
        choice = {"index": 0, "text": "x", "finish_reason": "stop", "logprobs": None}
        return {"id": "1", "object": "text_completion", "created": 1, "choices": [choice]}

    settings = sampled(CONFIG, Stop_strings="it's", Seed="3", Top_k=4, Min_p=0.1)
    body = snippets.completion("before", HOSTILE, settings)
    with live(app) as address:
        server = snippets.Server(address, has_key)
        command = snippets.curl(server, "/v1/completions", body)
        program = snippets.openai_program(server, [body])
        other = snippets.http_program(server, "/v1/completions", body)
        subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=60)
        for code in (program, other):
            exec(code, {})
    assert bodies == [body] * 3
    unkeyed = [None, "Bearer none", None]
    assert keys == (["Bearer secret"] * 3 if has_key else unkeyed)
    assert body == {
        "model": "before",
        "prompt": HOSTILE,
        "max_tokens": 40,
        "temperature": 0.8,
        "top_p": 0.95,
        "repetition_penalty": 1.1,
        "top_k": 4,
        "min_p": 0.1,
        "stop": ["it's"],
        "seed": 3,
    }


def test_only_what_the_page_needs_can_be_reached(server: str) -> None:
    for path in ("gradio_api/info", "gradio_api/file=/etc/passwd", "gradio_api/proxy=x", "v1/none"):
        answer = httpx.get(f"{server}/{path}")
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "invalid_request_error"
    upload = httpx.post(f"{server}/gradio_api/upload", files={"files": b"x"})
    assert upload.status_code == 404
    page = httpx.get(server)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert httpx.get(f"{server}/openapi.json").json()["info"]["title"] == "gpt1"


def test_open_pages_do_not_keep_a_server_from_stopping() -> None:
    app = FastAPI()

    @app.post("/stop")
    async def stop() -> None:
        app.state.end_pages()

    mount_playground(app, Models(engines={}, tasks={}), CONFIG)
    with live(app) as address, httpx.stream("GET", f"{address}/gradio_api/heartbeat/a") as beats:
        lines = beats.iter_lines()
        assert next(lines) == "data: ALIVE"
        assert httpx.post(f"{address}/stop").status_code == 200
        assert list(lines) == [""]


def test_a_server_without_models_says_so() -> None:
    with live(create_app(Models(engines={}, tasks={}), CONFIG)) as address:
        page = httpx.get(address).text
    assert "This server has no language model" in page
    assert "This server has no model for a task" in page


def test_gradio_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gpt1\[playground\]"'):
        mount_playground(FastAPI(), MODELS, CONFIG)
