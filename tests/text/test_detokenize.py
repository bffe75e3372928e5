"""Readable text from vocabulary pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import TokenizerError
from gpt1.text.detokenize import RULES, SETTLED, Detokenizer, TokenStream, checked_id

MARKS = sorted(
    {*RULES, *SETTLED, '"', "e", "hello", "u", "s", "said", "7", "000", "30", "\n", "<unk>"}
)


def read(pieces: list[str]) -> str:
    detokenizer = Detokenizer()
    return "".join([*map(detokenizer.push, pieces), detokenizer.flush()])


def read_words(words: str) -> str:
    return read([f"{word}</w>" for word in words.split(" ")])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "hello , my dog is cute and i ' m going to take him for a walk .",
            "hello, my dog is cute and i'm going to take him for a walk.",
        ),
        ("i 'm sure you ca n't , do n't ; it 's", "i'm sure you can't, don't; it's"),
        ("they ' re sure we ' ve won ' t", "they're sure we've won't"),
        ("he 's gon na go , got ta run", "he's gonna go, gotta run"),
        ("( no ) [ yes ] { 5 % } ! ? :", "(no) [yes] {5%}!?:"),
        ("wait . . . what ...", "wait... what..."),
        ('he said , " hi " . " bye ! "', 'he said, "hi". "bye!"'),
        ("o ' clock o'clock y ' all", "o'clock o'clock y'all"),
        ("call ' em back in the ' 90s", "call 'em back in the '90s"),
        ("the dogs ' tails , goin ' home", "the dogs' tails, goin' home"),
        ("he says ' how '", "he says 'how'"),
        ("a well - known fact", "a well-known fact"),
        ("a fact - he said - indeed", "a fact - he said-indeed"),
        ("well - - no", "well -- no"),
        ("$ 3 . 14 or # 10 , 000 at 10 : 30 p . m .", "$3.14 or #10,000 at 10:30 p.m."),
        ("in 1999 , 20 came : 5 . left", "in 1999, 20 came: 5. left"),
        ("the u . s . a . is vitamin c . i know", "the u.s.a. is vitamin c. i know"),
        ("see www . example . co or example . com .", "see www.example.co or example.com."),
        ("and / or w / her w / o you", "and/or w/ her w/o you"),
        ("fun : ) sad : (", "fun :) sad :("),
        ("* runs * f * ck r & b you & me", "*runs* f*ck r&b you & me"),
        ("a _ _ _ b c _ d", "a ___ b c_d"),
        ("what ?! !! -- ...", "what ?!!! --..."),
    ],
)
def test_words_are_spaced_as_people_write_them(words: str, text: str) -> None:
    assert read_words(words) == text


def test_pieces_of_one_word_join_without_space() -> None:
    assert read(["cu", "te</w>", "do", "g</w>"]) == "cute dog"


def test_a_newline_word_becomes_a_newline_without_spaces() -> None:
    assert read_words("one \n two") == "one\ntwo"


def test_a_newline_closes_open_quotation_marks() -> None:
    assert read_words('" one \n " two "') == '"one\n"two"'


def test_an_unfinished_word_is_held_back_until_its_end() -> None:
    detokenizer = Detokenizer()
    assert [detokenizer.push(piece) for piece in ("my</w>", "cu", "te</w>")] == ["my", "", " cute"]


def test_flush_returns_the_unfinished_word() -> None:
    detokenizer = Detokenizer()
    detokenizer.push("cu")
    assert detokenizer.flush() == "cu"


def test_a_word_with_rules_waits_for_exactly_one_more_word() -> None:
    detokenizer = Detokenizer()
    pushed = [detokenizer.push(f"{word}</w>") for word in ("i", "'", "m", "here")]
    assert pushed == ["i", "", "'m", " here"]


def test_after_flush_a_new_text_starts() -> None:
    detokenizer = Detokenizer()
    for piece in ('"</w>', "one</w>", "tw"):
        detokenizer.push(piece)
    detokenizer.flush()
    assert detokenizer.push("cold</w>") == "cold"
    assert detokenizer.push('"</w>') + detokenizer.push("start</w>") == ' "start'


@given(st.lists(st.sampled_from([f"{mark}{end}" for mark in MARKS for end in ("", "</w>")])))
def test_final_text_is_a_prefix_of_every_continuation(pieces: list[str]) -> None:
    detokenizer = Detokenizer()
    whole = read(pieces)
    emitted = ""
    for piece in pieces:
        emitted += detokenizer.push(piece)
        assert whole.startswith(emitted)
    assert emitted + detokenizer.flush() == whole


@given(st.lists(st.sampled_from(MARKS), max_size=30))
def test_only_spaces_are_added_and_never_two_in_a_row(words: list[str]) -> None:
    text = read([f"{word}</w>" for word in words])
    assert text.replace(" ", "") == "".join(words)
    assert "  " not in text
    assert text == text.strip(" ")


@given(st.lists(st.sampled_from(MARKS), min_size=1, max_size=30))
def test_at_most_one_whole_word_is_held_back(words: list[str]) -> None:
    detokenizer = Detokenizer()
    emitted = "".join(detokenizer.push(f"{word}</w>") for word in words)
    assert emitted.replace(" ", "") in ("".join(words), "".join(words[:-1]))


def test_a_stream_leaves_out_skipped_ids() -> None:
    stream = TokenStream(["my</w>", "_start_</w>", "dog</w>"], skipped=[1])
    assert [*map(stream.push, [0, 1, 2]), stream.flush()] == ["my", "", " dog", ""]


@pytest.mark.parametrize("token_id", [-1, 3, 10**9])
def test_an_id_outside_the_vocabulary_is_named_with_the_range(token_id: int) -> None:
    stream = TokenStream(["a</w>", "b</w>", "c</w>"], skipped=[])
    with pytest.raises(TokenizerError, match=f"token id {token_id} is outside .*: 0 to 2"):
        stream.push(token_id)


def test_ids_of_other_integer_types_become_plain_ints() -> None:
    np = pytest.importorskip("numpy")
    assert type(checked_id(np.int64(2), 3)) is int
