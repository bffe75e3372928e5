"""Which documents, or which part of each, are held out for validation."""

from __future__ import annotations

from typing import NamedTuple


class HeldOut(NamedTuple):
    """The rule: documents are spread evenly over the splits, or each is cut where they are few.

    At a share of 1%, every hundredth is held out. With fewer documents than that, the last part of
    each is held out instead.

    Attributes:
        fraction: Share that is held out.
        documents: How many there are in all.
    """

    fraction: float
    documents: int

    def parts(self, number: int, text: str) -> tuple[str, str]:
        """What of a document is trained on, and what is held out; one of them may be empty.

        Args:
            number: Of the document, from 1.
            text: All of it.
        """
        if 0 < self.documents * self.fraction < 1:
            cut = _last_blank(text, int(len(text) * (1 - self.fraction)))
            return text[:cut], text[cut:]
        is_held = int(number * self.fraction) > int((number - 1) * self.fraction)
        return ("", text) if is_held else (text, "")


def _last_blank(text: str, end: int) -> int:
    """Place of the last blank before ``end``, or behind the text: one word is not cut."""
    cut = max(text.rfind("\n", 0, end), text.rfind(" ", 0, end))
    return len(text) if cut < 0 else cut
