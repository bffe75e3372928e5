"""Beam search: texts that are likely as a whole, where greedy search takes the next token alone.

The rules and results are those of transformers' ``generate(num_beams=...)``. A prompt is read once;
then a step is one forward pass with a row for each beam of each prompt that is not decided yet.
Beams of a prompt share their past: of a row that changes hands, only the tokens since the two beams
parted are moved in the cache, ``2 * n_layer * n_embd`` numbers each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from gpt1.backbone import evaluation_mode
from gpt1.config import GenerationConfig
from gpt1.generation.bad_words import BadWords
from gpt1.generation.decode import check_prompts
from gpt1.generation.processors import INFINITY
from gpt1.generation.reading import read_newest, read_prompts, slide
from gpt1.generation.scores import Scores, nothing_allowed
from gpt1.model import GPT, KVCache


@dataclass(frozen=True)
class Hypothesis:
    """A continuation that beam search found.

    Attributes:
        ids: Generated token ids, without the stop id.
        score: What it is ranked by: ``log_prob`` over the number of tokens, the stop id included,
            to the power of ``length_penalty``.
        log_prob: Sum of its tokens' log-probabilities, the stop id's included, in nats; as the
            settings that read the text so far have changed them, without normalising them again.
        finished: Whether it met a stop id.
    """

    ids: list[int]
    score: float
    log_prob: float
    finished: bool


@torch.inference_mode()
def beam_search(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    stop_ids: Collection[int] = (),
    suppress: Collection[int] = (),
    bad_words: BadWords | None = None,
) -> list[list[Hypothesis]]:
    """Find likely continuations of each prompt; those of a prompt do not depend on the others.

    A context longer than ``n_positions`` slides: see `gpt1.generation.reading`.

    Args:
        model: Any device, any dtype.
        prompts: Token ids, at least one a prompt.
        config: `num_beams`, `length_penalty`, `early_stopping`, `n` and `max_new_tokens`, and the
            settings of the text so far. `stop` is text and not looked at.
        stop_ids: Ids that end a continuation, beside ``config.stop_ids``.
        suppress: Ids never to generate.
        bad_words: What `config.bad_words` forbids, for the tokenizer of the model.

    Returns:
        For each prompt the n best, best first; fewer only if the settings allow no more.

    Raises:
        DataError: If a prompt has no tokens or an id outside the vocabulary.
        ConfigError: If a setting names an id outside the vocabulary, or no token is allowed.
        CheckpointError: If the model's scores are not numbers.
    """
    check_prompts(prompts, model)
    scores = Scores(
        model.config.vocab_size,
        config,
        stop_ids=stop_ids,
        suppress=suppress,
        bad_words=bad_words,
    )
    searches = [_Search(list(p), row, config, scores.stop_ids) for row, p in enumerate(prompts)]
    if searches:
        with evaluation_mode(model):
            _run(model, searches, scores, config)
    return [search.found[: config.n] for search in searches]


def _run(model: GPT, searches: list[_Search], scores: Scores, config: GenerationConfig) -> None:
    """Advance the searches together until each is decided."""
    rows = [beam for search in searches for beam in search.running]
    reading, cache = read_prompts(model, [beam.prompt for beam in rows], config.max_new_tokens)
    while True:
        best = _best_tokens(reading.logits, rows, scores, config.num_beams)
        for search in searches:
            search.extend(best)
        searches = [search for search in searches if search.running]
        if not searches:
            return
        beams = [beam for search in searches for beam in search.running]
        _reorder(cache, rows, beams)
        rows = beams
        contexts = [beam.prompt + beam.ids for beam in rows]
        slide(model, cache, contexts)
        reading = read_newest(model, cache, contexts)


@dataclass
class _Beam:
    """A continuation that may go on.

    Attributes:
        prompt: Token ids.
        ids: Generated ids.
        log_prob: Sum over the generated ids.
        row: Of the cache, where all tokens but the newest are.
    """

    prompt: list[int]
    ids: list[int]
    log_prob: float
    row: int


class _Search:
    """The beams of one prompt, and what they have led to.

    Attributes:
        running: Best first, at most ``num_beams``; none once the search is decided.
        found: Best first, at most ``num_beams``.
    """

    def __init__(
        self, prompt: list[int], row: int, config: GenerationConfig, stop_ids: Collection[int]
    ) -> None:
        self.running = [_Beam(prompt, [], 0.0, row)]
        self.found: list[Hypothesis] = []
        self._config, self._stop_ids = config, stop_ids

    def extend(self, best: Sequence[Sequence[tuple[float, int]]]) -> None:
        """Add a token to each beam: log-probabilities and ids, best first, by row of the cache."""
        extended = [
            _Beam(beam.prompt, [*beam.ids, token], beam.log_prob + log_prob, beam.row)
            for beam in self.running
            for log_prob, token in best[beam.row]
            if log_prob > -INFINITY
        ]
        if not extended and not self.found:
            raise nothing_allowed()
        extended.sort(key=lambda beam: beam.log_prob, reverse=True)
        width, length = self._config.num_beams, len(self.running[0].ids) + 1
        is_last = length == self._config.max_new_tokens
        # Only an end among the best num_beams counts; behind them it would crowd out beams.
        ends = [beam for beam in extended[:width] if is_last or self._meets_stop(beam)]
        self.found += [self._hypothesis(beam) for beam in ends]
        self.found = sorted(self.found, key=lambda found: found.score, reverse=True)[:width]
        self.running = [beam for beam in extended if not self._meets_stop(beam)][:width]
        if is_last or self._is_decided(length):
            self.running = []

    def _meets_stop(self, beam: _Beam) -> bool:
        return beam.ids[-1] in self._stop_ids

    def _hypothesis(self, beam: _Beam) -> Hypothesis:
        finished = self._meets_stop(beam)
        score = beam.log_prob / len(beam.ids) ** self._config.length_penalty
        return Hypothesis(beam.ids[:-1] if finished else beam.ids, score, beam.log_prob, finished)

    def _is_decided(self, length: int) -> bool:
        """Whether what is found stays, as ``early_stopping`` has it."""
        config = self._config
        if not self.running:
            return True
        if len(self.found) < config.num_beams:
            return False
        if config.early_stopping is True:
            return True
        if config.early_stopping == "never" and config.length_penalty > 0:
            length = config.max_new_tokens
        best_possible: float = self.running[0].log_prob / length**config.length_penalty
        return best_possible <= self.found[-1].score


def _best_tokens(
    logits: Tensor, rows: Sequence[_Beam], scores: Scores, num_beams: int
) -> list[list[tuple[float, int]]]:
    """Log-probability and id of the tokens of each row that can matter, best first."""
    log_probs = scores(
        logits.float().log_softmax(-1),
        [beam.prompt + beam.ids for beam in rows],
        [len(beam.prompt) for beam in rows],
    )
    # At worst all stop ids come before the num_beams tokens that go on.
    best = log_probs.topk(min(num_beams + len(scores.stop_ids), log_probs.shape[1]))
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [list(zip(*pair, strict=True)) for pair in pairs]


def _reorder(cache: KVCache, rows: Sequence[_Beam], beams: Sequence[_Beam]) -> None:
    """Give each beam its row, where ``rows`` are the beams of the rows so far."""
    if [beam.prompt for beam in rows] != [beam.prompt for beam in beams]:
        cache.select(torch.tensor([beam.row for beam in beams], device=cache.lengths.device))
    elif moved := [row for row, beam in enumerate(beams) if beam.row != row]:
        sources = [beams[row].row for row in moved]
        parted = max(_parted(rows[a].ids, rows[b].ids) for a, b in zip(moved, sources, strict=True))
        end = slice(max(0, cache.shortest - parted), cache.longest)
        cache.data[:, :, moved, :, end] = cache.data[:, :, sources, :, end]
    for row, beam in enumerate(beams):
        beam.row = row


def _parted(ids: Sequence[int], others: Sequence[int]) -> int:
    """Number of tokens since two texts of equal length parted."""
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=True))
    return len(ids) - sum(1 for _ in equal)
