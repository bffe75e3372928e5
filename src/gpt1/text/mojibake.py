"""Undoes mojibake: text whose UTF-8 bytes were once read in a single-byte encoding.

What counts as damage, and in what order it is undone, are the findings of ftfy 6.3 (Robyn Speer,
Apache License 2.0), restated here. `undo_mojibake` gives what its ``fix_encoding`` gives.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

_C1 = "\x80-\x9f"
_BAD = "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\ufffdªº"
_LAW = "¶§"
_MONEY = "¢£¥₧€"
_COMMON = "\xa0\xad·´–—―…’"
_OPENING = "¡«¿©΄΅‘‚“„•‹\uf8ff"
_CLOSING = "®»˝”›™"
_NUMERIC = "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"
_KAOMOJI = "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°"
_UPPER = "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"
_LOWER = "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ"
_UPPER_COMMON = "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я"
_LOWER_COMMON = "α-ωάέήίΰа-џ"
_BOX = "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"
_MARKS = _LOWER + _UPPER + _BOX + _OPENING + _CLOSING + _MONEY + _NUMERIC + _LAW
_ARABIC_TAIL = f"[{_COMMON}{_MONEY}{_BAD}{_NUMERIC}{_OPENING}ŸŠ®°»]"
_ANY = _MARKS + _BAD + _COMMON + _KAOMOJI + _UPPER_COMMON + _LOWER_COMMON

_UNLIKELY_PAIRS = {
    rf"[{_BAD}]": rf"[{_BAD}{_MARKS}]",
    rf"[{_BOX}]": rf"[{_MARKS}{_BAD}{_KAOMOJI}](?<![{_BOX}]{{2}})",
    rf"[{_MONEY}{_NUMERIC}]": rf"[{_BAD}{_UPPER}{_LOWER}{_OPENING}{_BOX}]",
    rf"[{_CLOSING}]": rf"(?:[{_BAD}{_UPPER}{_LOWER}{_MONEY}{_BOX}]|[{_OPENING}][{_NUMERIC}])",
    rf"[{_OPENING}{_LAW}]": rf"[{_BAD}{_BOX}]",
    rf"[{_LOWER}]": rf"[{_BAD}{_UPPER}{_MONEY}{_BOX}]",
    rf"[{_UPPER}]": rf"[{_BAD}{_NUMERIC}{_LAW}{_BOX}°]",
    rf"[{_LOWER}{_UPPER}]": rf"(?:[{_OPENING}][{_NUMERIC}]|[{_OPENING}{_CLOSING}]\w)",
    rf"[{_LOWER}{_UPPER}{_MONEY}{_NUMERIC}{_LAW}]": rf"[{_CLOSING}][{_OPENING}]",
    rf"[{_LOWER_COMMON}]": rf"[{_UPPER}]",
    rf"\s[{_UPPER}]": rf"[{_MONEY}]",
    rf"[a-z][{_UPPER}]": rf"[{_OPENING}{_MONEY}]",
    rf"[A-Za-z][{_LOWER_COMMON}{_UPPER_COMMON}]": rf"[{_BAD}]",
    # UTF-8 read as windows-1252: Latin, Arabic and South Asian letters.
    r"[ÂÃÎÐ]": rf"[€œŠš¢£Ÿž\xa0\xad·–—´{_OPENING}{_CLOSING}]",
    r"[ØÙ]": rf"{_ARABIC_TAIL}[ØÙ]{_ARABIC_TAIL}",
    r"×": r"[²³]",
    r"à": r"[²µ¹¼½¾]",
    # UTF-8 read as MacRoman.
    r"√": r"[±∂†≠®™´≤≥¥µø]",
    r"≈": r"[°¢]",
    r"‚": r"(?:Ä[ìîïòôúùû†°¢π]|[âó][àä°ê])",
    # UTF-8 read as windows-1251 (also on top of windows-1252) and windows-1253.
    r"в": r"Ђ",
    r"Г": r"ўВЂВ.[A-Za-z ]",
    r"[ВГРС]": rf"[{_C1}{_BAD}{_OPENING}{_CLOSING}{_MONEY}°µ][ВГРС]",
    r"β": r"€[™\xa0Ά\xad®°]",
    r"[ΒΓΞΟ]": rf"[{_C1}{_BAD}{_OPENING}{_CLOSING}{_MONEY}°][ΒΓΞΟ]",
}
"""Characters, and what is far likelier damage than intended if it follows them."""

_LOST_SPACE = r" (?:(?<=^[ÃÂ] )|(?<=[a-z][ÃÂ] )|(?<=[a-z]\s[ÃÂ] )|(?<=[.,?!]Â ))"
_LONELY = rf"(?<=[{_C1}])|(?<=[Œœ])[^A-Za-z]|{_LOST_SPACE}"
_PAIRS = "|".join(rf"(?<={before}){after}" for before, after in _UNLIKELY_PAIRS.items())
# Assertions first, for speed: most characters have no neighbour that matters.
_DAMAGE = rf"{_LONELY}|(?=[{_ANY}])(?<=[{_ANY}])(?:{_PAIRS})"

HINT = rf"(?<=[ÃÂ]) |{_DAMAGE}"
"""Pattern that follows a character of each text that has a line with mojibake, and few others."""

_LATIN_LIKE = (
    "latin-1",
    "windows-1252",
    "windows-1251",
    "windows-1250",
    "windows-1253",
    "windows-1254",
    "windows-1257",
)
_ENCODINGS = (*_LATIN_LIKE, "iso-8859-2", "mac-roman", "cp437")

_LOST = rb"[\x1a?]"
_TAIL = rb"[\x1a\x80-\xbf]"
_SURROGATE_TAIL = rb"[\x1a?\x80-\xbf]"
_LOSSY = re.compile(
    rb"[\xc2-\xdf]\x1a|[\xc2\xc3]\?"
    rb"|\xed[\xa0-\xaf](?:%(lost)b\xed[\xb0-\xbf]%(any)b|%(any)b\xed[\xb0-\xbf]%(lost)b)"
    rb"|[\xe0-\xef](?:%(lost)b%(tail)b|%(tail)b%(lost)b)"
    rb"|[\xf0-\xf4](?:%(lost)b%(tail)b{2}|%(tail)b%(lost)b%(tail)b|%(tail)b{2}%(lost)b)"
    rb"|\x1a" % {b"lost": _LOST, b"tail": _TAIL, b"any": _SURROGATE_TAIL}
)
"""UTF-8 that lost bytes: unknown characters became 0x1A here, or one a question mark before."""

# Leading bytes are only those whose character is common when the byte after them is 0xA0.
_SPACED = re.compile(
    rb"[\xc2\xc3\xc5\xce\xd0\xd9] "
    rb"|[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] "
    rb"|\xf0(?: [\x80-\xbf]{2}|[\x80-\xbf] [\x80-\xbf]|[\x80-\xbf]{2} )"
)
"""UTF-8 in which a space stands for byte 0xA0."""

# Of Portuguese words only these begin with the letter; elsewhere it is a word, as in French.
_GRAVE_WORD = re.compile(rb"\xc3 (?! |quele|quela|quilo|s )")

# A final newline passes for the last byte, as it does in ftfy.
_VARIANT = re.compile(
    rb"\xc0(?:\x80|\n\Z)|\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf](?:[\x80-\xbf]|\n\Z)"
)
"""Java's NUL, and CESU-8: each half of a UTF-16 surrogate pair written as UTF-8."""


def passes() -> Iterator[int]:
    """A fresh budget of passes over one text.

    Each pass removes one layer of damage. Real texts have a few; the bound keeps hostile input,
    which can have as many layers as characters, in linear time.

    Returns:
        An iterator of 32 items, to be shared by all loops over the text.
    """
    return iter(range(32))


def undo_mojibake(text: str, budget: Iterator[int]) -> str:
    """Rereads a text until it no longer looks like mojibake or nothing helps.

    Args:
        text: One segment, at most a line.
        budget: From `passes`; each reading takes one.

    Returns:
        The text in its likeliest form, which is the text itself if it looks right.
    """
    while not text.isascii() and _unlikely().search(text) and next(budget, None) is not None:
        reread = _reread(text)
        if reread == text:
            break
        text = reread
    return text


def replace_c1_controls(text: str) -> str:
    """Reads C1 control characters as windows-1252, as browsers do.

    Args:
        text: Any text.

    Returns:
        The text with U+0080 to U+009F replaced, except the five that windows-1252 lacks.
    """
    return text.translate(_C1_READINGS)


def _reread(text: str) -> str:
    for encoding in _ENCODINGS:
        with suppress(UnicodeError):
            return _as_utf8(text, encoding).decode()
    reread = _utf8_like().sub(functools.partial(_reread_part, whole=text), text)
    return reread if reread != text else replace_c1_controls(text)


def _reread_part(match: re.Match[str], whole: str) -> str:
    part = match[0]
    return undo_mojibake(part, passes()) if len(part) < len(whole) else part


def _as_utf8(text: str, encoding: str) -> bytes:
    encoded, _ = _encoder(encoding)(text)
    if encoding != "mac-roman":  # where a dash and a space would look like two bytes of UTF-8
        encoded = _GRAVE_WORD.sub(b"\xc3\xa0 ", encoded)
        encoded = _SPACED.sub(lambda match: match[0].replace(b" ", b"\xa0"), encoded)
    if encoding.startswith("windows"):
        encoded = _LOSSY.sub("\ufffd".encode(), encoded)
    return _VARIANT.sub(_standard_utf8, encoded)


def _standard_utf8(match: re.Match[bytes]) -> bytes:
    if len(match[0]) == 2:
        return b"\0"
    _, high, high_tail, _, low, low_tail = match[0]
    bits = (high & 0x0F) << 16 | (high_tail & 0x3F) << 10 | (low & 0x0F) << 6 | low_tail & 0x3F
    return chr(0x10000 + bits).encode()


def _alphabet(encoding: str) -> str:
    """The characters of the 256 bytes, as lenient programs decode them."""
    characters = [bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in range(256)]
    if encoding.startswith("windows"):
        characters[0x1A] = "\ufffd"
    return "".join(characters)


_C1_READINGS = dict(zip(range(0x80, 0xA0), _alphabet("windows-1252")[0x80:], strict=False))


@functools.cache
def _encoder(encoding: str) -> Callable[[str], tuple[bytes, int]]:
    charmap = codecs.charmap_build(_alphabet(encoding))
    return lambda text: codecs.charmap_encode(text, "strict", charmap)


@functools.cache
def _unlikely() -> re.Pattern[str]:
    return re.compile(rf"[^\x00-\x7f](?:{_DAMAGE})")


@functools.cache
def _utf8_like() -> re.Pattern[str]:
    """Stretches that may be UTF-8, whichever of the Latin-like encodings each was read in."""
    alphabets = [_alphabet(encoding) for encoding in _LATIN_LIKE]

    def letters(first: int, last: int) -> str:
        return "".join({letter for alphabet in alphabets for letter in alphabet[first : last + 1]})

    tail = letters(0x80, 0xBF)
    damaged_before = "".join(set(tail) - set("–—―‘’‚“”„•…"))
    return re.compile(
        f"(?<![{damaged_before}])(?:[{letters(0xC2, 0xDF)}][ {tail}]"
        f"|[{letters(0xE0, 0xEF)}][ {tail}]{{2}}"
        f"|[{letters(0xF0, 0xF0)}{letters(0xF3, 0xF3)}][ {tail}]{{3}})+"
    )
