"""Contrastive search: the likeliest tokens compete, and what sounds like the text so far loses.

Follows "A Contrastive Framework for Neural Text Generation" (Su et al. 2022), section 4, with the
results of transformers' ``generate(penalty_alpha=..., top_k=...)``. A prompt is read once; then a
token costs one forward pass with ``top_k`` rows a prompt, one for each candidate. All of them hold
the text so far: the key and value of the chosen candidate alone are moved in the cache.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation.bad_words import BadWords
from gpt1.generation.decode import Decoder
from gpt1.generation.processors import INFINITY
from gpt1.generation.reading import read_newest, read_prompts, slide
from gpt1.generation.scores import check_choice
from gpt1.model import GPT


class ContrastiveDecoder(Decoder):
    """Continues each prompt by contrastive search, as `Decoder` does by greedy search.

    A candidate v is worth ``(1 - penalty_alpha) * p(v) - penalty_alpha * s(v)``, where s is the
    greatest cosine similarity of its hidden state, in the last layer, to those of the tokens the
    model sees before it. A context longer than ``n_positions`` slides: see `reading`.

    Args:
        config: `penalty_alpha`, `top_k` and `max_new_tokens`, and the settings of the text so far;
            n is 1.
        others: As of `Decoder`.

    Raises:
        ConfigError: If `penalty_alpha` or `top_k` is not set; further as `Decoder` does.
    """

    def __init__(
        self,
        model: GPT,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        super().__init__(
            model, prompts, config, stop_ids=stop_ids, suppress=suppress, bad_words=bad_words
        )
        self._model = model
        self._alpha, self._width = _settings(config, model.config.vocab_size)

    def _next(self) -> list[int]:
        if self._steps == 0:
            self._start()
        self._drop_finished()
        return self._choose_candidates()

    def _start(self) -> None:
        """Read every prompt once."""
        reading, self._cache = read_prompts(
            self._model, self._prompts, self._config.max_new_tokens, states=True
        )
        self._logits = reading.logits
        rows = torch.arange(len(self._prompts), device=self._model.device)
        self._cache.select(rows.repeat_interleave(self._width))
        last = reading.states[-1]
        room = self._cache.capacity - last.shape[1]
        self._directions = F.pad(_directions(last), (0, 0, 0, room))  # (B, capacity, D)

    def _drop_finished(self) -> None:
        """Keep what belongs to running sequences only."""
        if len(self._rows) == len(self.running):
            return
        kept = torch.tensor(
            [row for row, sequence in enumerate(self._rows) if sequence in self.running],
            device=self._model.device,
        )
        self._logits, self._directions = self._logits[kept], self._directions[kept]
        rows = kept[:, None] * self._width + torch.arange(self._width, device=kept.device)
        self._cache.select(rows.flatten())
        self._rows = self.running.copy()

    def _choose_candidates(self) -> list[int]:
        """The best candidate of each sequence; the tensors then include it."""
        own = self._own(self._logits)
        log_probs, ids = self._candidates()  # (B, k)
        contexts = [
            [*self._contexts[sequence], token]
            for sequence, tokens in zip(self._rows, ids.tolist(), strict=True)
            for token in tokens
        ]
        self._slide(contexts)
        seen = self._cache.lengths
        reading = read_newest(self._model, self._cache, contexts, states=True)
        directions = _directions(reading.states[-1]).view(*ids.shape, -1)  # (B, k, D)
        similarity = self._similarity(directions, seen[:: self._width])
        worth = (1 - self._alpha) * log_probs.exp() - self._alpha * similarity
        chosen = worth.masked_fill(log_probs == -INFINITY, -INFINITY).argmax(1)  # (B,)
        rows = torch.arange(len(chosen), device=chosen.device)
        self._logits = reading.logits.view(*ids.shape, -1)[rows, chosen]
        self._directions[rows, seen[:: self._width]] = directions[rows, chosen]
        self._keep_in_cache(rows * self._width + chosen, seen)
        tokens: list[int] = ids[rows, chosen].tolist()
        self._note(own, tokens)
        return tokens

    def _candidates(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities and ids of the likeliest tokens, ``(B, k)`` each."""
        scores = self._score(self._logits)
        best = scores.topk(self._width)
        check_choice(best.values[:, 0].tolist())
        return best.values - scores.logsumexp(1, keepdim=True), best.indices

    def _similarity(self, directions: Tensor, seen: Tensor) -> Tensor:
        """Greatest cosine of directions ``(B, k, D)`` to the ``(B,)`` first ones of each row."""
        past = self._directions[:, : self._cache.longest]
        cosines = directions @ past.transpose(1, 2)  # (B, k, S)
        unseen = torch.arange(past.shape[1], device=seen.device) >= seen[:, None]
        # -1, the least there is, also where nothing is before the candidate.
        return cosines.masked_fill(unseen[:, None], -1.0).amax(2)

    def _slide(self, contexts: Sequence[Sequence[int]]) -> None:
        rows = slide(self._model, self._cache, contexts)[:: self._width]
        kept = int(self._cache.lengths[rows[0]]) if len(rows) else 0
        if kept:
            again = [contexts[row][-kept - 1 : -1] for row in rows.tolist()]
            states = self._model.hidden(torch.tensor(again, device=self._model.device))
            self._directions[rows // self._width, :kept] = _directions(states)

    def _keep_in_cache(self, chosen: Tensor, at: Tensor) -> None:
        """Copy what row ``chosen[b]`` wrote last, at position ``at``, to all rows of sequence b."""
        rows = torch.arange(len(at), device=at.device)
        sources = chosen.repeat_interleave(self._width)
        self._cache.data[:, :, rows, :, at] = self._cache.data[:, :, sources, :, at]


def _settings(config: GenerationConfig, vocab_size: int) -> tuple[float, int]:
    """The weight of the penalty and the number of candidates."""
    if config.penalty_alpha is None or config.top_k is None:
        raise ConfigError(
            f"penalty_alpha is {config.penalty_alpha} and top_k is {config.top_k}, but contrastive "
            "search needs both; 0.6 and 4 are usual"
        )
    return config.penalty_alpha, min(config.top_k, vocab_size)


def _directions(states: Tensor) -> Tensor:
    """Hidden states ``(..., D)`` at length 1, float32."""
    return F.normalize(states.float(), dim=-1)
