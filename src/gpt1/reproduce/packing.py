"""What becomes of jokes in the tutorial's packs, measured on its own loop, and in ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from gpt1.data.packing import PackedTexts, TokenTexts
from gpt1.model import IGNORED
from gpt1.reproduce.findings import Section
from gpt1.reproduce.tutorial_recipe import END_MARKER, PACKS_PER_UPDATE, PREFIX, packs, shuffled
from gpt1.tokenizer import Tokenizer


@dataclass(frozen=True)
class TutorialPacking:
    """The tutorial's packs of a whole run.

    Attributes:
        jokes: Jokes it was given, each epoch's again.
        ids: Ids of these jokes, end marker included.
        marker_ids: Of these, ids of end markers.
        packs: Packs it trains on.
        packed_ids: Ids in them.
        too_long: Jokes it leaves out, as longer than a pack.
        cut: Jokes that lost their first id.
        unfinished_jokes: Jokes in the last pack, which is never trained on.
        foreign_share: Of the tokens a token sees, itself included: the share from other jokes.
    """

    jokes: int
    ids: int
    marker_ids: int
    packs: int
    packed_ids: int
    too_long: int
    cut: int
    unfinished_jokes: int
    foreign_share: float

    @property
    def updates(self) -> int:
        """Updates the packs are enough for."""
        return self.packs // PACKS_PER_UPDATE

    @property
    def packs_without_update(self) -> int:
        """Packs after the last update."""
        return self.packs % PACKS_PER_UPDATE


def measure_tutorial(
    tokenizer: Tokenizer, jokes: Sequence[str], *, epochs: int, limit: int, seed: int
) -> TutorialPacking:
    """Run the tutorial's packing loop on stand-ins: joke n is its number, once for each id.

    Args:
        tokenizer: Of the model.
        jokes: As the recipe gets them.
        epochs: Passes over them.
        limit: Ids of a pack at most.
        seed: Of the order.
    """
    marker = len(tokenizer.encode(END_MARKER))
    _, lengths = tokenizer.encode_flat(PREFIX + joke for joke in jokes)
    length_of = dict(zip(jokes, (lengths + marker).tolist(), strict=True))
    given = [length_of[joke] for joke in shuffled(jokes, epochs, seed)]
    stand_ins = (torch.full((1, length), number) for number, length in enumerate(given))
    full, last = _packs_and_rest(stand_ins, limit)
    total = sum(map(len, full))
    seen = sum(len(pack) * (len(pack) + 1) // 2 for pack in full)
    own = cut = 0
    for pack in full:
        numbers, counts = np.unique(pack.numpy(), return_counts=True)
        own += int((counts * (counts + 1) // 2).sum())
        cut += sum(given[n] - c for n, c in zip(numbers.tolist(), counts.tolist(), strict=True))
    return TutorialPacking(
        jokes=len(given),
        ids=sum(given),
        marker_ids=marker * len(given),
        packs=len(full),
        packed_ids=total,
        too_long=sum(length > limit for length in given),
        cut=cut,
        unfinished_jokes=len(np.unique(last.numpy())),
        foreign_share=1 - own / seen if seen else 0.0,
    )


def _packs_and_rest(stand_ins: Iterable[Tensor], limit: int) -> tuple[list[Tensor], Tensor]:
    """The packs of the loop, and the one it leaves unfinished: a joke more makes it come out."""
    flush = torch.full((1, limit), -1)
    found = [pack[0] for pack in packs(chain(stand_ins, [flush]), limit)]
    return (found[:-1], found[-1]) if found else ([], torch.empty(0, dtype=torch.long))


@dataclass(frozen=True)
class OurPacking:
    """Our rows of one epoch.

    Attributes:
        texts: Jokes with prefix and end token.
        rows: The same in rows.
    """

    texts: TokenTexts
    rows: PackedTexts

    @property
    def lost_ids(self) -> int:
        """Ids of the jokes that are in no row."""
        return len(self.texts.ids) - int((self.rows.labels != IGNORED).sum())


def packing_section(
    tutorial: TutorialPacking, ours: OurPacking, *, epochs: int, limit: int
) -> Section:
    """Packs of the whole run beside ours."""
    rows, room = len(ours.rows), ours.rows.input_ids.shape[1]
    ids = len(ours.texts.ids)
    return Section(
        f"Packing, {epochs} epoch{'s' if epochs > 1 else ''}",
        ("", "tutorial", "gpt1"),
        (
            ("jokes, every epoch's counted", tutorial.jokes, len(ours.texts) * epochs),
            ("their ids", tutorial.ids, ids * epochs),
            ("of these, in packs", tutorial.packed_ids, (ids - ours.lost_ids) * epochs),
            ("packs", tutorial.packs, rows * epochs),
            ("ids a pack has room for", limit, room),
            (
                "room filled, %",
                100 * tutorial.packed_ids / max(1, tutorial.packs * limit),
                100 * (1 - ours.rows.padding_fraction),
            ),
            ("first ids cut off", tutorial.cut, None),
            ("jokes left out, longer than a pack", tutorial.too_long, None),
            ("jokes in a last pack that is not used", tutorial.unfinished_jokes, None),
            ("packs after the last update", tutorial.packs_without_update, None),
        ),
        (
            "Of the jokes gpt1 is given, it holds a part out to choose its best weights; a joke "
            "longer than a row goes on in another.",
        ),
    )
