r"""How English words are cut from a chunk of text: what splits off, and what stays whole.

The rules are those of spaCy 3.8 for English, less those that standardised text cannot meet: there,
``- ~ ! " ; ? + , ( ) \ / * [ ] { } | _`` stand in runs of their own (GPT-1's released text code).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

SEPARATORS = '!";?+,()*[]{}_-~\\/|'
"""Characters that stand alone in standardised text."""

WHOLE_RUNS = frozenset("-~\\/|")
"""The separators whose runs are one word; in runs of the others, each character is one."""

# Ranges of code points, in hexadecimal. Letters with case, and without:
_CASED = (
    "41-5a 61-7a c0-d6 d8-f6 f8-1bf 1c4-2af 386 388-38a 38c 38e-38f 391-3a9 3ac-3af 3b1-3c9 "
    "3cc-3ce 400-401 403-40a 40c-40d 410-451 453-45a 45c-45d 490-491 496-497 4a2-4a3 4ae-4af "
    "4ba-4bb 4d8-4d9 4e8-4e9 1d00-1d25 1d6b-1d77 1d79-1d9a 1e00-1eff 2c60-2c7b 2c7e-2c7f "
    "a722-a76f a771-a787 a78b-a78e a790-a7b9 a7fa ab30-ab5a ab60-ab64 ff21-ff3a ff41-ff5a"
)
_UNCASED = (
    "591-5f4 620-64a 66e-6d5 6e5-6ff 750-77f 8a0-8bd 900-9ff b80-cff d80-dff 1100-137f 2e80-2fdf "
    "2ff0-30ff 31c0-31ef 3200-4dbf 4e00-9fff ac00-d7af f900-faff fb1d-fbb1 fbd3-fd3d fd50-fdc7 "
    "fdf0-fdfb fe30-fe4f fe70-fefc 1ee00-1eebb 1f200-1f2ff 20000-2a6df 2a700-2ebef 2f800-2fa1f"
)
# Symbols (emoji, dingbats, box drawing, degrees) of Unicode 11; later emoji are like letters.
_ICONS = (
    "a6 a9 ae b0 482 58d-58e 60e-60f 6de 6e9 6fd-6fe 7f6 9fa b70 bf3-bf8 bfa c7f d4f d79 f01-f03 "
    "f13 f15-f17 f1a-f1f f34 f36 f38 fbe-fc5 fc7-fcc fce-fcf fd5-fd8 109e-109f 1390-1399 1940 "
    "19de-19ff 1b61-1b6a 1b74-1b7c 2100-2101 2103-2106 2108-2109 2114 2116-2117 211e-2123 2125 "
    "2127 2129 212e 213a-213b 214a 214c-214d 214f 218a-218b 2195-2199 219c-219f 21a1-21a2 "
    "21a4-21a5 21a7-21ad 21af-21cd 21d0-21d1 21d3 21d5-21f3 2300-2307 230c-231f 2322-2328 "
    "232b-237b 237d-239a 23b4-23db 23e2-2426 2440-244a 249c-24e9 2500-25b6 25b8-25c0 25c2-25f7 "
    "2600-266e 2670-2767 2794-27bf 2800-28ff 2b00-2b2f 2b45-2b46 2b4d-2b73 2b76-2b95 2b98-2bc8 "
    "2bca-2bfe 2ce5-2cea 2e80-2e99 2e9b-2ef3 2f00-2fd5 2ff0-2ffb 3004 3012-3013 3020 3036-3037 "
    "303e-303f 3190-3191 3196-319f 31c0-31e3 3200-321e 322a-3247 3250 3260-327f 328a-32b0 "
    "32c0-32fe 3300-33ff 4dc0-4dff a490-a4c6 a828-a82b a836-a837 a839 aa77-aa79 fdfd ffe4 ffe8 "
    "ffed-ffee fffc-fffd 10137-1013f 10179-10189 1018c-1018e 10190-1019b 101a0 101d0-101fc "
    "10877-10878 10ac8 1173f 16b3c-16b3f 16b45 1bc9c 1d000-1d0f5 1d100-1d126 1d129-1d164 "
    "1d16a-1d16c 1d183-1d184 1d18c-1d1a9 1d1ae-1d1e8 1d200-1d241 1d245 1d300-1d356 1d800-1d9ff "
    "1da37-1da3a 1da6d-1da74 1da76-1da83 1da85-1da86 1ecac 1f000-1f02b 1f030-1f093 1f0a0-1f0ae "
    "1f0b1-1f0bf 1f0c1-1f0cf 1f0d1-1f0f5 1f110-1f16b 1f170-1f1ac 1f1e6-1f202 1f210-1f23b "
    "1f240-1f248 1f250-1f251 1f260-1f265 1f300-1f3fa 1f400-1f6d4 1f6e0-1f6ec 1f6f0-1f6f9 "
    "1f700-1f773 1f780-1f7d8 1f800-1f80b 1f810-1f847 1f850-1f859 1f860-1f887 1f890-1f8ad "
    "1f900-1f90b 1f910-1f93e 1f940-1f970 1f973-1f976 1f97a 1f97c-1f9a2 1f9b0-1f9b9 1f9c0-1f9c2 "
    "1f9d0-1f9ff 1fa60-1fa6d"
)
_MARKS = ":¿؟¡<>#&。？！，、；：～·।،۔؛٪"
_QUOTES = "'”“`‘’‚„»«「」『』（）〔〕【】《》〈〉\u2329\u232a⟦⟧"
_CURRENCIES = "$ £ € ¥ ฿ US$ C$ A$ ﷼ " + " ".join(map(chr, range(0x20A0, 0x20C0)))
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz kmh "
    "mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм "
    "мм² мм³ нм кг г мг кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² "
    "سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب"
)


def _expand(ranges: str) -> str:
    """All characters of ranges as written above."""
    bounds = ([int(bound, 16) for bound in part.split("-")] for part in ranges.split())
    return "".join(chr(point) for pair in bounds for point in range(pair[0], pair[-1] + 1))


def _inside(ranges: str) -> str:
    """Ranges as they are written inside a regular expression's brackets."""
    return re.sub(r"[^ -]+", lambda point: rf"\U{point[0]:0>8}", ranges).replace(" ", "")


@cache
def letters() -> tuple[str, str, str]:
    """Character classes, without brackets: all letters, lower case, upper case.

    Letters of scripts without case count as both.
    """
    cased, uncased = _expand(_CASED), _inside(_UNCASED)
    # The glottal stop, and a gap among the Greek capitals.
    lower = "\u0294" + "".join(filter(str.islower, cased))
    upper = "\u03a2" + "".join(filter(str.isupper, cased))
    return _inside(_CASED) + uncased, lower + uncased, upper + uncased


def _any_of(spellings: str) -> str:
    return "|".join(map(re.escape, spellings.split()))


@cache
def prefix() -> re.Pattern[str]:
    """What splits off where a chunk starts."""
    return re.compile(rf"[§%={_MARKS}{_QUOTES}{_inside(_ICONS)}]|\.\.+|{_any_of(_CURRENCIES)}")


LONGEST_SUFFIX = 1 + max(map(len, _UNITS.split()))
"""Characters at a chunk's end within which `suffix` finds all it needs: a digit and a unit."""


@cache
def suffix() -> re.Pattern[str]:
    """What splits off where a chunk ends, to be searched; runs of periods apart."""
    _, lower, upper = letters()
    return re.compile(
        rf"(?:[{_MARKS}{_QUOTES}{_inside(_ICONS)}]|['’][sS]"
        rf"|(?<=[0-9])(?:{_any_of(_CURRENCIES)}|{_any_of(_UNITS)})"
        rf"|(?<=[0-9%²{lower}{_MARKS}{_QUOTES}])\.|(?<=[{upper}]{{2}})\.|(?<=°[FCK])\.)\Z"
    )


@cache
def infix() -> re.Pattern[str]:
    """What splits a chunk inside."""
    alpha, lower, upper = letters()
    return re.compile(
        rf"\.\.+|[{_inside(_ICONS)}]|(?<=[0-9])\^(?=[0-9])"
        rf"|(?<=[{lower}{_QUOTES}])\.(?=[{upper}{_QUOTES}])|(?<=[{alpha}0-9])[:<>=](?=[{alpha}])"
    )


_AFTER_HOST = r"(?::\d{2,5})?(?:#|\Z)"  # a port, a fragment


@cache
def ip_address() -> re.Pattern[str]:
    """A web address whose host is a public IP address."""
    octet = r"1?\d{1,2}|2[0-4]\d|25[0-5]"
    return re.compile(
        r"(?!(?:10|127)(?:\.\d{1,3}){3}|(?:169\.254|192\.168)(?:\.\d{1,3}){2}"
        r"|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})"
        rf"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:{octet})){{2}}"
        rf"\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]){_AFTER_HOST}"
    )


class Host(NamedTuple):
    """What makes a web address whose host is a name."""

    name: re.Pattern[str]  # all that can be part of the name
    label: re.Pattern[str]  # each of its parts but the last
    last: re.Pattern[str]
    after: re.Pattern[str]  # what follows it


@cache
def host() -> Host:
    """The rules of host names, in pieces: as one expression they would backtrack."""
    _, lower, _ = letters()
    label = r"A-Za-z0-9\u00a1-\uffff"
    pieces = rf"[{label}{lower}.]*", rf"[{label}]{{1,64}}", rf"[{lower}]{{2,63}}", _AFTER_HOST
    return Host(*map(re.compile, pieces))


# Subjects and auxiliaries, and what contracts with them; spaces stand between the words.
_ASKING = "who what when where why how there"
_CONTRACTIONS = (
    ("i", "'m|'m a"),
    (f"i you he she it we they {_ASKING} that this these those", "'ll|'ll 've|'d|'d 've"),
    (f"i you we they {_ASKING} these those could might must should would not", "'ve"),
    (f"you we they {_ASKING} these those", "'re"),
    (f"he she it {_ASKING} that this", "'s"),
    (
        "ca could do does did had may might must need ought sha should wo would",
        "n't|n't 've",
    ),
    ("ai are is was were have has dare", "n't"),
)
_OTHER_WORDS = {"ill", "its", "hell", "shell", "shed", "were", "well", "whore"}
_SPLIT = "can not|gon na|got ta|let 's|c'm on|how 'd 'y"

# Words that would be split without being listed here.
_WHOLE = (
    "' '' 'd 'em 'll 'nuff 're 's 'S ‘s ‘S 'bout 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz a.m. "
    "Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. co. Colo. Conn. Corp. Dec. Del. Dr. e.g. "
    "E.g. Feb. Fla. Ga. Gen. Gov. i.e. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. "
    "Ky. La. Ltd. Mar. Mass. Md. Messrs. Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. Neb. Nebr. "
    "Nev. Nov. Oct. Okla. Ore. p.m. Pa. Ph.D. Prof. Rep. Rev. Sen. Sep. Sept. St. Tenn. v.s. Va. "
    "vs. Wash. Wis. ä. ö. ü. "
    ":0 :1 :3 :> :D :O :P :X :o :p :x =3 =D <3 <33 <333 <space> <.< >.< >.> >:o o.O"
)
_CLIPPED = "doin goin havin lovin nothin nuthin ol somethin"

LOOKALIKES = (
    "( :|( - :|( o :|( =|) :|) - :|[ :|[ - :|[ =|] =|. _ .|: - >|: o )|> : (|> < ( ( ( * >|w / o"
)
"""Emoticons and such that separators always split, but that keep what they overlap from joining."""


LONGEST_SPECIAL_CASE = 12
"""Characters of the longest special case, at most."""


@cache
def special_cases() -> dict[str, tuple[str, ...]]:
    """The words of chunks that rules do not split as English does, by chunk."""
    cases = {"".join(words): words for words in _all_cases()}
    for chunk, words in list(cases.items()):
        cases[chunk.replace("'", "’")] = tuple(word.replace("'", "’") for word in words)
    return cases


def _all_cases() -> Iterator[tuple[str, ...]]:
    for words, tails in _CONTRACTIONS:
        for first in _with_title(words.split()):
            yield from _contracted(first, tails.split("|"))
    for words in _with_title(_SPLIT.split("|")):
        yield tuple(words.split(" "))
    yield from (("y'", "all"), ("y", "all"))
    for hour in range(1, 13):
        yield from ((str(hour), half) for half in ("am", "pm", "a.m.", "p.m."))
    for unit in "cfkCFK":
        yield "°", unit, "."
    for word in _WHOLE.split():
        yield (word,)
    for letter in map(chr, range(ord("a"), ord("z") + 1)):
        yield (f"{letter}.",)
    for word in _with_title(_CLIPPED.split()):
        yield (f"{word}'",)


def _contracted(first: str, tails: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """A word with each tail, with its apostrophes and without; ``ill`` and such are other words."""
    for tail in tails:
        yield first, *tail.split(" ")
        bare = tail.replace("'", "")
        if (first + bare).lower() not in _OTHER_WORDS:
            yield first, *bare.split(" ")


def _with_title(words: Iterable[str]) -> Iterator[str]:
    """Each word as it is, and with a capital."""
    for word in words:
        yield from (word, word.capitalize())
