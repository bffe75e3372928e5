"""The page: its title, its tabs, and what it looks like."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from gpt1.evaluation.explanation_page import fill
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from gpt1.serving.playground.classify_view import ClassifyView
from gpt1.serving.playground.compare_view import CompareView
from gpt1.serving.playground.drawing import note_html
from gpt1.serving.playground.generate_view import GenerateView
from gpt1.serving.playground.inside_view import InsideView

STYLE = Path(__file__).parents[2] / "assets" / "playground.css"

NO_LANGUAGE_MODEL = "This server has no language model; start it with: gpt1 serve --model mini"
NO_TASK_MODEL = (
    "This server has no model for a task; fine-tune one, and start the server with: "
    "gpt1 serve --model mini --model FOLDER"
)


def build(models: Models, config: ServingConfig) -> gr.Blocks:
    """The page over some models.

    Args:
        models: What there is to play with.
        config: Its limits hold.
    """
    page = gr.Blocks(title="gpt1 playground", analytics_enabled=False)
    with page:
        gr.HTML(_header(models), apply_default_css=False)
        with gr.Tabs():
            _add_language_tabs(page, models, config)
            with gr.Tab("Classify"):
                if models.tasks:
                    ClassifyView(models).connect()
                else:
                    gr.HTML(note_html(NO_TASK_MODEL), apply_default_css=False)
    page.queue(default_concurrency_limit=config.slots, max_size=max(1, config.waiting))
    return page


def _add_language_tabs(page: gr.Blocks, models: Models, config: ServingConfig) -> None:
    names = ("Generate", "Look inside", "Compare")
    for name in names:
        with gr.Tab(name):
            if not models.engines:
                gr.HTML(note_html(NO_LANGUAGE_MODEL), apply_default_css=False)
            elif name == "Generate":
                GenerateView(models, config).connect(page)
            elif name == "Compare":
                CompareView(models, config).connect(page)
            else:
                InsideView(models).connect()


def _header(models: Models) -> str:
    names = " · ".join(f"<b>{escape(name)}</b>" for name in models.names)
    return (
        '<header class="g-header"><h1>gpt1 playground</h1>'
        f"<p>Write with the model, and see how it thinks. Served here: {names}</p></header>"
    )


def theme() -> gr.themes.Base:
    """Fonts and colours; no font is loaded."""
    fonts = [
        gr.themes.Font(name) for name in ("Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
    ]
    code = [gr.themes.Font(name) for name in ("Cascadia Mono", "Liberation Mono", "monospace")]
    return gr.themes.Base(font=fonts, font_mono=code)


def style() -> str:
    """The style sheet of the page."""
    return fill(STYLE, {})
