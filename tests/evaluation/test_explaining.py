"""Explanations against transformers' GPT-1 in float64, and against the scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.explaining import Explanation, explain_ids
from gpt1.evaluation.scoring import score_ids
from gpt1.model import GPT
from lively import TEXT, lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
VOCAB = TOKENIZER.vocab_size
LONG = TOKENIZER.encode(TEXT * 2)
IDS = LONG[:16]
MODEL = lively_model(VOCAB)


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return explain_ids(MODEL, IDS, TOKENIZER, top=3)


@pytest.fixture(scope="module")
def twin() -> OpenAIGPTLMHeadModel:
    """Transformers' model with the same weights, in double precision."""
    config = MODEL.config
    twin = OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(
            vocab_size=VOCAB,
            n_positions=config.n_positions,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            attn_implementation="eager",
        )
    ).eval()
    missing, unexpected = twin.transformer.load_state_dict(MODEL.state_dict(), strict=False)
    assert (missing, unexpected) == ([], [])
    twin.tie_weights()
    return twin.double()


@torch.no_grad()
def probabilities(twin: OpenAIGPTLMHeadModel, ids: list[int]) -> Tensor:
    """``(T, V)``: of every token behind each of the ids."""
    probabilities: Tensor = twin(torch.tensor([ids])).logits[0].softmax(-1)
    return probabilities


# ---------------------------------------------------------------- against transformers


def test_probability_surprisal_and_rank_are_those_of_transformers(
    explanation: Explanation, twin: OpenAIGPTLMHeadModel
) -> None:
    for token, row in zip(explanation[1:], probabilities(twin, IDS), strict=False):
        expected = float(row[token.id])
        assert token.probability == pytest.approx(expected, rel=1e-4)
        assert token.surprisal == pytest.approx(-math.log2(expected), abs=1e-4)
        assert token.rank == 1 + int((row > row[token.id]).sum())


def test_the_alternatives_are_the_top_of_transformers(
    explanation: Explanation, twin: OpenAIGPTLMHeadModel
) -> None:
    offered = [*(token.alternatives for token in explanation[1:]), explanation.next]
    for alternatives, row in zip(offered, probabilities(twin, IDS), strict=True):
        best = row.topk(3)
        assert [other.id for other in alternatives] == best.indices.tolist()
        assert [other.piece for other in alternatives] == TOKENIZER.pieces(best.indices.tolist())
        ours = [other.probability for other in alternatives]
        assert ours == pytest.approx(best.values.tolist(), rel=1e-4)


@torch.no_grad()
def test_attention_maps_equal_those_of_transformers(
    explanation: Explanation, twin: OpenAIGPTLMHeadModel
) -> None:
    theirs = twin(torch.tensor([IDS]), output_attentions=True).attentions
    assert explanation.attentions.dtype == np.float32
    assert explanation.attentions.shape == (2, 2, 16, 16)
    np.testing.assert_allclose(explanation.attentions, torch.cat(theirs), atol=1e-5)


@torch.no_grad()
def test_the_lens_is_the_output_matrix_on_every_hidden_state_of_transformers(
    explanation: Explanation, twin: OpenAIGPTLMHeadModel
) -> None:
    hidden = twin(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    assert len(explanation.lens) == len(hidden) == 3
    for layer, states in zip(explanation.lens, hidden, strict=True):
        best = twin.lm_head(states[0]).softmax(-1).max(-1)
        assert [entry.id for entry in layer] == best.indices.tolist()
        assert [entry.piece for entry in layer] == TOKENIZER.pieces(best.indices.tolist())
        ours = [entry.probability for entry in layer]
        assert ours == pytest.approx(best.values.tolist(), rel=1e-4)


# ---------------------------------------------------------------- against one another


def test_the_last_layer_of_the_lens_is_what_the_model_expects(explanation: Explanation) -> None:
    expected = [*(token.alternatives[0] for token in explanation[1:]), explanation.next[0]]
    assert [entry.id for entry in explanation.lens[-1]] == [other.id for other in expected]


def test_bits_per_token_are_the_nats_of_the_score(explanation: Explanation) -> None:
    (score,) = score_ids(MODEL, [IDS])
    assert explanation.bits_per_token == pytest.approx(-score.sum / math.log(2) / 15)


def test_the_first_token_has_no_expectation(explanation: Explanation) -> None:
    first = explanation[0]
    assert (first.position, first.id, first.piece, first.text) == (0, IDS[0], "the</w>", "the")
    assert (first.probability, first.surprisal, first.rank) == (None, None, None)
    assert first.alternatives == []


def test_the_texts_of_the_tokens_join_to_the_decoded_text(explanation: Explanation) -> None:
    tokens = explain_ids(MODEL, LONG, TOKENIZER)
    assert tokens.text == "".join(token.text for token in tokens) == TOKENIZER.decode(LONG)
    assert [token.text for token in tokens][:5] == ["the", " quick", " brown", " fox", " jumps"]


def test_special_tokens_and_parts_of_words_have_their_texts() -> None:
    ids = [TOKENIZER.token_id(piece) for piece in ("the</w>", "_start_", "q", "u", "fox</w>")]
    texts = [token.text for token in explain_ids(MODEL, ids, TOKENIZER)]
    assert texts == ["the", " _start_", " q", "u", "fox"]


def test_it_is_a_sequence_with_an_entry_a_token(explanation: Explanation) -> None:
    assert len(explanation) == 16
    assert [token.id for token in explanation] == IDS
    assert [token.position for token in explanation[3:5]] == [3, 4]
    assert explanation[-1].position == 15
    assert explanation == explain_ids(MODEL, IDS, TOKENIZER, top=3)
    assert explanation != explain_ids(MODEL, IDS, TOKENIZER, top=2)
    assert repr(explanation).startswith("Explanation([TokenExplanation(position=0,")


def test_its_dictionary_is_json_with_every_figure(explanation: Explanation) -> None:
    record = json.loads(json.dumps(explanation.to_dict()))
    last = record["tokens"][-1]
    assert (record["text"], record["bits_per_token"]) == (
        explanation.text,
        explanation.bits_per_token,
    )
    assert last["surprisal"] == explanation[-1].surprisal
    assert last["alternatives"][0]["piece"] == explanation[-1].alternatives[0].piece
    assert [other["id"] for other in record["next"]] == [other.id for other in explanation.next]


# ---------------------------------------------------------------- long texts


def test_a_long_text_has_the_probabilities_of_its_score() -> None:
    tokens = explain_ids(MODEL, LONG, TOKENIZER)
    (score,) = score_ids(MODEL, [LONG])
    assert len(tokens) == len(LONG) > 2 * MODEL.config.n_positions
    for token, log_prob in zip(tokens[1:], score.log_probs[1:], strict=True):
        assert token.surprisal == pytest.approx(-(log_prob or 0) / math.log(2), rel=1e-4)


def test_the_last_window_is_the_last_n_positions_tokens_as_a_text_of_their_own(
    explanation: Explanation,
) -> None:
    tokens = explain_ids(MODEL, LONG, TOKENIZER, top=3)
    assert tokens.last_window() == explain_ids(MODEL, LONG[-16:], TOKENIZER, top=3)
    assert tokens.next == tokens.last_window().next
    assert explanation.last_window() is explanation


@pytest.mark.parametrize("part", ["lens", "attentions"])
@pytest.mark.parametrize("ids", [LONG[:17], []])
def test_lens_and_maps_need_a_text_of_one_pass(part: str, ids: list[int]) -> None:
    tokens = explain_ids(MODEL, ids, TOKENIZER)
    with pytest.raises(DataError, match=rf"the text has {len(ids)} tokens, .* of one pass over 1"):
        getattr(tokens, part)


# ---------------------------------------------------------------- edges


def test_top_limits_the_alternatives(explanation: Explanation) -> None:
    assert {len(token.alternatives) for token in explanation[1:]} == {3}
    every = explain_ids(MODEL, IDS, TOKENIZER, top=10**6)
    assert {len(token.alternatives) for token in every[1:]} == {VOCAB}
    assert sum(other.probability for other in every.next) == pytest.approx(1, abs=1e-5)


def test_ids_the_tokenizer_does_not_have_are_not_offered() -> None:
    tokens = explain_ids(lively_model(VOCAB + 50), IDS, TOKENIZER, top=10**6)
    lens = {entry.id for layer in tokens.lens for entry in layer}
    assert {other.id for token in tokens[1:] for other in token.alternatives} == set(range(VOCAB))
    assert max(lens) < VOCAB


def test_no_ids_are_explained_by_nothing() -> None:
    tokens = explain_ids(MODEL, [], TOKENIZER)
    assert (len(tokens), tokens.next, tokens.bits_per_token, tokens.text) == (0, [], None, "")


def test_one_token_has_only_a_next() -> None:
    tokens = explain_ids(MODEL, IDS[:1], TOKENIZER)
    assert tokens.bits_per_token is None
    assert tokens.attentions.tolist() == [[[[1.0]]] * 2] * 2
    assert len(tokens.next) == 5


def test_dropout_is_off_while_explaining(explanation: Explanation) -> None:
    training = lively_model(VOCAB).train()
    tokens = explain_ids(training, IDS, TOKENIZER, top=3)
    assert tokens == explanation
    assert tokens.lens == explanation.lens
    np.testing.assert_array_equal(tokens.attentions, explanation.attentions)
    assert training.training


def test_a_bfloat16_model_has_float32_maps(explanation: Explanation) -> None:
    model: GPT = lively_model(VOCAB).bfloat16()
    tokens = explain_ids(model, IDS, TOKENIZER)
    assert tokens.attentions.dtype == np.float32
    np.testing.assert_allclose(tokens.attentions, explanation.attentions, atol=0.1)


def test_top_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="top is 0 but must be at least 1"):
        explain_ids(MODEL, IDS, TOKENIZER, top=0)


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(DataError, match=f"text 0 holds the id {VOCAB}"):
        explain_ids(MODEL, [VOCAB], TOKENIZER)
