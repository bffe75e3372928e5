"""Mojibake is noticed and undone where ftfy notices and undoes it."""

from __future__ import annotations

import re
from itertools import product

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt1.text.mojibake import HINT, passes, replace_c1_controls, undo_mojibake

CHARACTERS = re.findall(
    f"[{''.join(MOJIBAKE_CATEGORIES.values())}]", "".join(map(chr, range(0x10000)))
)
PLAIN = [*"aZ0 .,!?_\n", "\u3042", "\u0301"]
garbled = st.text(
    st.sampled_from([*CHARACTERS, *PLAIN * 5, *"ÂÃØÙВГРСЂўВΒΓΞΟ€™ " * 3]), max_size=12
)


def undo(text: str) -> str:
    return undo_mojibake(text, passes())


@settings(max_examples=500, deadline=None)
@given(garbled)
@example("Ã\x83Æ\x92ƒ")
@example("Â\xa0À\n")  # a final newline read as the last byte of Java's NUL
@example("í\xa0½í¸\n")  # ... and of a surrogate pair
@example("í\xa0½í²© í\x95\x9c À\x80")
@example("ÃƒÂ©Æ’Ã©Ð¿â€“")
@example("à quele à s à le SÃ£o")
@example("ГўВЂВњтест a")
def test_text_is_reread_as_ftfy_rereads_it(text: str) -> None:
    assert undo(text) == ftfy.fix_encoding(text)


def test_each_pair_of_characters_is_judged_as_ftfy_judges_it() -> None:
    hint = re.compile(f"[^\\x00-\\x7f](?:{HINT})")
    for pair in map("".join, product([*CHARACTERS[::6], *PLAIN], [*CHARACTERS, *PLAIN])):
        if ftfy.is_bad(pair):
            assert hint.search(pair), pair
            assert undo(pair) == ftfy.fix_encoding(pair)


@pytest.mark.parametrize("text", ["naïve café", "“Élodie” — «À l’été»", "Ελλάδα", "Привет", "Ã la"])
def test_sound_text_is_not_reread(text: str) -> None:
    assert undo(text) == ftfy.fix_encoding(text)


def test_the_budget_bounds_how_often_a_text_is_reread() -> None:
    assert undo_mojibake("schÃƒÂ¶n", iter([0])) == "schÃ¶n"
    assert undo_mojibake("schÃƒÂ¶n", iter([])) == "schÃƒÂ¶n"


def test_c1_controls_are_read_as_windows_1252() -> None:
    assert replace_c1_controls("\x80\x81\x92\x9fé") == "€\x81’Ÿé"
