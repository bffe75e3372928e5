"""The drawings of the playground as HTML; every text in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gpt1.evaluation.explanation_page import BITS_PER_LEVEL, LIGHT, level
from gpt1.serving.playground.distribution import Choice, Expectation

FRAMED = "main { padding: 2px 2px 1rem; max-width: none; } h1 { font-size: 1.3rem; }"
"""What pages in a frame look like, beside what they look like alone."""

MANY_TOKENS = 120
"""A text of more tokens is written smaller."""


def percent(probability: float) -> str:
    """A probability, for people."""
    if probability >= 0.0995 or probability == 0:
        return f"{probability:.0%}"
    return f"{probability:.1%}" if probability >= 0.001 else "<0.1%"


def tokens_html(
    prompt: str,
    texts: Sequence[str],
    log_probs: Sequence[float],
    chosen: int | None = None,
    *,
    can_choose: bool = True,
) -> str:
    """A text, each token of which is coloured by how probable it was.

    Args:
        prompt: In front of it.
        texts: What each token adds.
        log_probs: Of the tokens, in nats; there may be more of them than texts.
        chosen: Number of the token that is looked at; the one behind the text is none.
        can_choose: Whether tokens are buttons; the Tab key stops at one of them.
    """
    size = " long" if len(texts) > MANY_TOKENS else ""
    at = chosen if chosen is not None and chosen < len(texts) else 0
    tokens = []
    for number, (text, log_prob) in enumerate(zip(texts, log_probs, strict=False)):
        button = ""
        if can_choose:
            pressed, tab = str(number == chosen).lower(), 0 if number == at else -1
            button = f'data-choice="{number}" aria-pressed="{pressed}" tabindex="{tab}"'
        tokens.append(_token(text, log_prob, button))
    written = f'<span role="group" aria-label="Tokens">{"".join(tokens)}</span>' if tokens else ""
    return f'<div class="g-text{size}"><span>{escape(prompt)}</span>{written}</div>'


def _token(text: str, log_prob: float, button: str) -> str:
    """A token; a button with these attributes, if there are any."""
    word = text.strip(" ")
    space = " " * (len(text) - len(text.lstrip(" ")))
    shown = escape(word).replace("\n", "↵") or "␣"
    figure = percent(math.exp(log_prob))
    look = f'class="g-token" data-level="{level(-log_prob / math.log(2))}" title="{figure}"'
    if button:
        name = f'type="button" aria-label="{shown}, {figure}"'
        drawn = f"<button {look} {name} {button}>{shown}</button>"
    else:
        drawn = f"<span {look}>{shown}</span>"
    return space + drawn + "<br>" * word.count("\n")


def legend_html() -> str:
    """What the colours of tokens mean."""
    steps = "".join(
        f'<span data-level="{number}">{_bound(number)}</span>' for number in range(len(LIGHT) + 1)
    )
    return (
        '<div class="g-legend"><span>expected</span>'
        '<span class="g-scale" role="img" aria-label="Colours from a probability above '
        f'{_bound(1)} to one below {_bound(len(LIGHT))}">{steps}</span>'
        "<span>surprising</span></div>"
    )


def _bound(number: int) -> str:
    """The highest probability of a level."""
    share = 100 * 2.0 ** (-BITS_PER_LEVEL * number)
    return f"{share:.0f}%" if share > 10 else f"{share:.{2 if share > 1 else 1}g}%"


def expectation_html(expectation: Expectation, place: str, here: int | None) -> str:
    """What could come next: for each token two bars, without and with the settings.

    Args:
        expectation: What to draw.
        place: Where this is, as HTML.
        here: Id of the token that stands there.
    """
    largest = max((max(c.before, c.after) for c in expectation.choices), default=1.0) or 1.0
    rows = "".join(
        _row(choice, largest, is_here=choice.id == here) for choice in expectation.choices
    )
    tokens = "1 token" if expectation.kept == 1 else f"{expectation.kept:,} tokens"
    return (
        f'<div class="g-card"><h2>{place}</h2><ol class="g-choices">{rows}</ol>'
        '<p class="g-legend"><span class="g-swatch before"></span>the model alone '
        '<span class="g-swatch after"></span>with your settings</p>'
        f'<p class="g-hint">The settings leave {tokens}, which hold '
        f"{percent(expectation.kept_share)} of the probability. "
        "Choose a row to continue with it.</p></div>"
    )


def _row(choice: Choice, largest: float, *, is_here: bool) -> str:
    word = "end of text" if choice.ends else choice.word
    figures = f"{percent(choice.before)} → {percent(choice.after)}"
    name = (
        f"{word}: {percent(choice.before)} by the model, "
        f"{percent(choice.after)} with the settings" + (", stands here" if is_here else "")
    )
    bars = "".join(
        f'<span class="{kind}" style="width:{100 * share / largest:.1f}%"></span>'
        for kind, share in (("before", choice.before), ("after", choice.after))
    )
    state = " disabled" if choice.ends else ""
    marks = ("" if choice.after else " cut") + (" here" if is_here else "")
    return (
        f'<li><button type="button" class="g-choice{marks}" data-choice="{choice.id}"{state} '
        f'aria-label="{escape(name)}"><span class="name">{escape(word)}</span>'
        f'<span class="bars">{bars}</span><span class="figures">{figures}</span></button></li>'
    )


def shares_html(title: str, shares: Sequence[tuple[str, float]]) -> str:
    """Probabilities of classes or options, the most probable one marked."""
    best = max((share for _, share in shares), default=0.0)
    rows = "".join(
        f'<li class="g-choice{" here" if share == best else ""}"><span class="name">{escape(name)}'
        f'</span><span class="bars"><span class="after" style="width:{100 * share:.1f}%"></span>'
        f'</span><span class="figures">{percent(share)}</span></li>'
        for name, share in shares
    )
    return f'<div class="g-card"><h2>{escape(title)}</h2><ol class="g-choices">{rows}</ol></div>'


def frame_html(page: str, title: str, *, has_scripts: bool) -> str:
    """A page in a frame that can reach nothing but itself.

    Args:
        page: HTML.
        title: What is in it, for those who do not see it.
        has_scripts: Whether its scripts may run; then it has to tell its height.
    """
    page = page.replace("</head>", f"<style>{FRAMED}</style></head>", 1)
    rights = "allow-scripts" if has_scripts else "allow-same-origin"
    return (
        f'<iframe class="g-frame" title="{escape(title)}" sandbox="{rights}" '
        f'srcdoc="{escape(page)}"></iframe>'
    )


def card_html(content: str) -> str:
    """A drawing on a card, high enough for a text that grows.

    Args:
        content: HTML.
    """
    return f'<div class="g-card g-written">{content}</div>'


def note_html(text: str) -> str:
    """A remark, where there is nothing to draw."""
    return f'<p class="g-note">{escape(text)}</p>'


def figures_html(log_probs: Sequence[float]) -> str:
    """How many tokens there are, and how surprising they were on average."""
    if not log_probs:
        return ""
    bits = -math.fsum(log_probs) / len(log_probs) / math.log(2)
    return f'<p class="g-hint">{len(log_probs)} tokens, {bits:.1f} bits each on average</p>'
