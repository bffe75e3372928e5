"""Held-out jokes, and how well any model over one vocabulary predicts them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpt1.backbone import Backbone
from gpt1.evaluation.scoring import score_ids
from gpt1.reproduce.tutorial_recipe import PREFIX
from gpt1.tokenizer import Tokenizer


class Judge:
    """Measures models that share a tokenizer: each joke alone behind the prefix.

    The end marker, which recipes write differently, is not counted; whatever probability a model
    gives it in the middle of a joke costs it.

    Args:
        tokenizer: Of the models.
        jokes: Seen by none of them.
    """

    def __init__(self, tokenizer: Tokenizer, jokes: Sequence[str]) -> None:
        self.given = len(tokenizer.encode(PREFIX))
        self.ids = tokenizer.encode_batch(PREFIX + joke for joke in jokes)
        self.tokens = sum(len(ids) - self.given for ids in self.ids)

    def loss(self, model: Backbone) -> float:
        """Mean loss over the jokes' own tokens, nats."""
        scores = score_ids(model, self.ids)
        own = (p for score in scores for p in score.log_probs[self.given :] if p is not None)
        return -math.fsum(own) / self.tokens
