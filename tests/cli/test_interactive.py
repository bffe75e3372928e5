"""What each line typed at `gpt1 generate --interactive` does."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt1.cli.interactive import COMMANDS, Kind, Session
from gpt1.errors import ConfigError
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

SAMPLED: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 8}


class Screen:
    """What has been shown, by kind."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, Kind]] = []
        self.then: Callable[[], object] = lambda: None

    def __call__(self, text: str, kind: Kind) -> None:
        self.shown.append((text, kind))
        if kind == "text":
            self.then()

    def take(self, kind: Kind) -> str:
        """The text of a kind that was shown since it was last taken."""
        text = "".join(text for text, of in self.shown if of == kind)
        self.shown = [(text, of) for text, of in self.shown if of != kind]
        return text


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    tokenizer = small_tokenizer()
    return LanguageModel(lively_model(tokenizer.vocab_size), tokenizer)


@pytest.fixture
def screen() -> Screen:
    return Screen()


def settings(**changed: Any) -> dict[str, Any]:
    """What the command line hands over: every setting."""
    from gpt1.cli import generate
    from gpt1.cli.generation_arguments import generation_settings
    from gpt1.cli.parsing import parse

    return {**generation_settings(parse("generate", generate, [])), **changed}


@pytest.fixture
def session(lm: LanguageModel, screen: Screen) -> Session:
    return Session(lm, settings(**SAMPLED, seed=4), screen)


def continuation(lm: LanguageModel, prompt: str, **changed: Any) -> str:
    text: str = lm.generate(prompt, include_prompt=False, **{**SAMPLED, "seed": 4, **changed})
    return text


def test_a_text_is_continued(session: Session, screen: Screen, lm: LanguageModel) -> None:
    assert session.handle("the fox")
    assert screen.take("text") == continuation(lm, "the fox")
    assert screen.take("note") == "\n"


def test_a_blank_line_does_nothing(session: Session, screen: Screen) -> None:
    assert session.handle("  ")
    assert screen.shown == []


def test_more_continues_the_whole_text(session: Session, screen: Screen, lm: LanguageModel) -> None:
    session.handle("the fox")
    whole = "the fox" + screen.take("text")
    session.handle("/more")
    assert screen.take("text") == continuation(lm, whole)


def test_retry_replaces_the_last_continuation_with_that_of_the_next_seed(
    session: Session, screen: Screen, lm: LanguageModel
) -> None:
    session.handle("the fox")
    first = screen.take("text")
    session.handle("/retry")
    second = screen.take("text")
    session.handle("/retry")
    third = screen.take("text")
    assert [first, second, third] == [continuation(lm, "the fox", seed=n) for n in (4, 5, 6)]
    assert [turn.text for turn in session.turns] == [third]


def test_retry_says_when_nothing_can_change(session: Session, screen: Screen) -> None:
    for line in ("/unset temperature", "the fox", "/retry"):
        session.handle(line)
    assert "without sampling the text is the same again" in screen.take("note")


def test_undo_takes_back_one_continuation_at_a_time(session: Session, screen: Screen) -> None:
    session.handle("the fox")
    whole = "the fox" + screen.take("text")
    session.handle("/more")
    session.handle("/undo")
    assert f"the last text now is: {whole!r}" in screen.take("note")
    session.handle("/undo")
    assert "nothing is left" in screen.take("note")
    session.handle("/undo")
    assert "there is no text yet" in screen.take("error")


@pytest.mark.parametrize("command", ["/more", "/retry", "/undo", "/explain", "/seed", "/save x"])
def test_commands_on_the_last_text_need_one(session: Session, screen: Screen, command: str) -> None:
    assert session.handle(command)
    assert screen.take("error") == "there is no text yet; type the beginning of one\n"


def test_without_a_seed_every_text_has_a_new_one_that_can_be_used_again(
    lm: LanguageModel, screen: Screen
) -> None:
    session = Session(lm, settings(**SAMPLED), screen)
    session.handle("the fox")
    session.handle("the fox")
    first, second = session.turns
    assert first.seed != second.seed
    session.handle("/seed")
    assert f"the last text had seed {second.seed}" in screen.take("note")
    session.handle(f"/seed {first.seed}")
    session.handle("the fox")
    assert session.turns[-1] == first


def test_set_changes_what_is_written_next(
    session: Session, screen: Screen, lm: LanguageModel
) -> None:
    for line in ("/set max_new_tokens 3", "/set  top_p  0.5", "/unset temperature", "the fox"):
        session.handle(line)
    assert screen.take("error") == ""
    expected = continuation(lm, "the fox", max_new_tokens=3, top_p=0.5, temperature=None)
    assert screen.take("text") == expected


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("/set stop the end", "stop", ["the end"]),
        ("/set stop [", "stop", ["["]),
        ('/set stop ["a", "b"]', "stop", ["a", "b"]),
        ("/set stop \\n", "stop", ["\n"]),
        ("/set stop_ids [5, 6]", "stop_ids", (5, 6)),
        ("/set logit_bias 5=-2.5", "logit_bias", {5: -2.5}),
        ('/set logit_bias {"5": 1, "6": 2}', "logit_bias", {5: 1.0, 6: 2.0}),
        ("/set presence_penalty -1", "presence_penalty", -1.0),
        ("/set temperature null", "temperature", None),
    ],
)
def test_values_are_written_as_on_the_command_line(
    session: Session, screen: Screen, line: str, name: str, value: object
) -> None:
    session.handle(line)
    assert screen.take("error") == ""
    assert session.settings[name] == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set top_p 3", "top_p is 3.0 but must be"),
        ("/set top_p abc", "top_p cannot be 'abc'. It is: Sample among the smallest set"),
        ("/set logit_bias x", "logit_bias is 'x' but must be ID=BIAS"),
        ("/set temprature 1", "there is no setting 'temprature'; did you mean temperature?"),
        ("/set", "there is no setting ''; there are max_new_tokens, "),
        ("/unset max_tokens", "did you mean max_new_tokens?"),
        ("/set n 2", "n is 2 but here one text is written at a time; use /retry"),
        ("/set max_new_tokens 0", "max_new_tokens is 0 but must be at least 1"),
        ("/setings", "there is no command /setings; did you mean /settings?"),
        ("/xyz", "there is no command /xyz; /help lists the commands"),
        ("/", "there is no command /; /help lists the commands"),
        ("/save", "/save needs the name of a file"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    session: Session, screen: Screen, line: str, message: str
) -> None:
    before = dict(session.settings)
    assert session.handle(line)
    shown = screen.take("error")
    assert message in shown
    assert shown.count("\n") == 1
    assert session.settings == before


def test_settings_that_suit_no_single_text_are_refused_at_the_start(
    lm: LanguageModel, screen: Screen
) -> None:
    with pytest.raises(ConfigError, match="n is 3 but here one text is written at a time"):
        Session(lm, settings(**SAMPLED, n=3), screen)


def test_settings_lists_what_differs_from_the_defaults(session: Session, screen: Screen) -> None:
    session.handle("/settings")
    assert screen.take("note") == "max_new_tokens  8\ntemperature     1.0\nseed            4\n"
    for name in ("max_new_tokens", "temperature", "seed"):
        session.handle(f"/unset {name}")
    session.handle("/settings")
    assert screen.take("note") == "all settings are at their defaults\n"


def test_set_without_a_value_explains_the_setting(session: Session, screen: Screen) -> None:
    session.handle("/set stop_ids")
    assert screen.take("note").startswith("stop_ids is (). Token ids that end the text")


def test_ctrl_c_stops_the_text_and_keeps_what_is_there(
    session: Session, screen: Screen, lm: LanguageModel
) -> None:
    session.handle("/set max_new_tokens 100000000")
    screen.then = lambda: signal.raise_signal(signal.SIGINT)
    assert session.handle("the fox")
    screen.then = lambda: None
    begun = screen.take("text")
    assert "[stopped]" in screen.take("note")
    assert continuation(lm, "the fox", max_new_tokens=50).startswith(begun)
    session.handle("/set max_new_tokens 8")
    session.handle("/more")
    assert screen.take("text") == continuation(lm, "the fox" + begun)


def test_a_text_that_ends_at_once_is_said_to(
    session: Session, screen: Screen, lm: LanguageModel
) -> None:
    session.handle(f"/set stop_ids {list(range(lm.tokenizer.vocab_size))}")
    session.handle("the fox")
    assert screen.take("note") == "(the model ends the text here)\n"


def test_explain_shows_the_tokens_of_the_last_text(
    session: Session, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    session.handle("the fox")
    session.handle("/explain")
    (turn,) = session.turns
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    ids = [int(line.split()[1]) for line in lines]
    assert ids == lm.tokenizer.encode(turn.prompt + turn.text)


def test_save_writes_a_new_file(session: Session, screen: Screen, tmp_path: Path) -> None:
    session.handle("the fox")
    text = "the fox" + screen.take("text") + "\n"
    path = tmp_path / "my story.txt"
    session.handle(f"/save {path}")
    assert path.read_text(encoding="utf-8") == text
    session.handle("/more")
    session.handle(f"/save {path}")
    assert screen.take("error") == f"{path} exists; name another file\n"
    assert path.read_text(encoding="utf-8") == text
    session.handle(f"/save {tmp_path / 'nowhere' / 'x'}")
    assert "cannot write" in screen.take("error")


def test_help_lists_every_command(session: Session, screen: Screen) -> None:
    session.handle("/help")
    shown = screen.take("note")
    assert all(f"  /{name}" in shown for name in COMMANDS)


def test_quit_leaves(session: Session) -> None:
    assert not session.handle("/quit")
