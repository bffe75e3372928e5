"""The network: equal to transformers' GPT-1, and equal to itself by every faster way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt1.config import GPTConfig
from gpt1.fused.attention import attend_blocks, packed_blocks
from gpt1.model import (
    GPT,
    IGNORED,
    LONG_TEXT,
    LOSS_CHUNK_BYTES,
    Blocks,
    KVCache,
    attention_weights,
    lm_loss,
    packed_mask,
    packed_positions,
    shift_labels,
    token_log_probs,
    token_scores,
)
from gpt1.native.gradients import spread

CONFIG = GPTConfig(vocab_size=50, n_positions=12, n_embd=16, n_layer=2, n_head=2)
TOLERANCE = 1e-5
PROPERTY = settings(max_examples=30, deadline=None)

Lengths = list[list[int]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def strong_model(config: GPTConfig = CONFIG, seed: int = 0) -> GPT:
    """Weights large enough that every part of the network matters to the result."""
    model = GPT(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = ".ln_" in name and name.endswith("weight")
            parameter.normal_(1.0 if gain else 0.0, 0.3, generator=generator)
    return model


MODEL = strong_model()


def random_ids(*shape: int, seed: int = 0, vocab_size: int = CONFIG.vocab_size) -> Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def logits(model: GPT, ids: Tensor, **arguments: Any) -> Tensor:
    output = model(ids, **arguments).logits
    assert isinstance(output, Tensor)
    return output


def loss_and_gradients(
    model: GPT, ids: Tensor, labels: Tensor, **arguments: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    loss = model(ids, labels=labels, **arguments).loss
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.detach(), gradients


def assert_close(actual: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


class LargestTensor(TorchDispatchMode):
    """Sees every tensor any operation makes, in the forward and in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else (result,)
        self.elements = max([self.elements, *(t.numel() for t in made if isinstance(t, Tensor))])
        return result


# Against transformers


def transformers_twin(model: GPT) -> OpenAIGPTLMHeadModel:
    """Transformers' model with the same weights under the same names."""
    config = model.config
    twin = OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(
            vocab_size=config.vocab_size,
            n_positions=config.n_positions,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            afn=config.afn,
        )
    ).eval()
    missing, unexpected = twin.transformer.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert not unexpected
    twin.tie_weights()
    return twin


@pytest.mark.parametrize("afn", ["gelu", "relu", "silu"])
def test_everything_a_pass_returns_equals_transformers(afn: Any) -> None:
    model = strong_model(CONFIG.replace(afn=afn))
    ids = random_ids(3, 12)
    ours = model(ids, output_hidden_states=True, output_attentions=True)
    theirs = transformers_twin(model)(ids, output_hidden_states=True, output_attentions=True)
    assert_close(ours.logits, theirs.logits)
    assert_close(ours.hidden_states, theirs.hidden_states)
    assert_close(ours.attentions, theirs.attentions)
    assert ours.loss is None


@pytest.mark.parametrize("afn", ["gelu", "relu", "silu"])
def test_the_loss_and_every_gradient_equal_transformers(afn: Any) -> None:
    model = strong_model(CONFIG.replace(afn=afn))
    ids = random_ids(3, 12)
    labels = ids.masked_fill(random_ids(3, 12, seed=1) < 10, IGNORED)
    loss, gradients = loss_and_gradients(model, ids, labels)
    twin = transformers_twin(model)
    theirs = twin(ids, labels=labels).loss
    theirs.backward()
    expected = {name: p.grad for name, p in twin.transformer.named_parameters()}
    assert_close(loss, theirs.detach())
    assert gradients.keys() == expected.keys()
    assert_close(gradients, expected)


# Shape and initial weights


def test_the_papers_model_has_its_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = GPT()
    assert model.num_parameters() == 116_534_784
    assert {sum(p.numel() for p in block.parameters()) for block in model.h} == {7_087_872}
    assert len(model.h) == 12


def test_new_weights_are_normal_biases_zero_and_gains_one() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=500, n_positions=100, n_embd=96, n_layer=2, n_head=2))
    for name, parameter in model.state_dict().items():
        if parameter.dim() > 1:
            assert abs(float(parameter.mean())) < 4 * 0.02 / math.sqrt(parameter.numel()), name
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.03), name
        else:
            gain = "ln_" in name and name.endswith("weight")
            assert torch.equal(parameter, torch.full_like(parameter, float(gain))), name


def test_weights_drawn_with_equal_generators_are_equal() -> None:
    first, second = GPT(CONFIG), GPT(CONFIG)
    first.reset_parameters(torch.Generator().manual_seed(5))
    second.reset_parameters(torch.Generator().manual_seed(5))
    assert_close(first.state_dict(), second.state_dict(), 0.0)
    second.reset_parameters(torch.Generator().manual_seed(6))
    assert not torch.equal(first.h[0].mlp.c_fc.weight, second.h[0].mlp.c_fc.weight)


def test_dropout_acts_in_training_mode_alone() -> None:
    model, ids = strong_model(), random_ids(2, 8)
    assert torch.equal(logits(model, ids), logits(model, ids))
    model.train()
    assert not torch.equal(logits(model, ids), logits(model, ids))
    without = CONFIG.replace(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    assert_close(logits(strong_model(without).train(), ids), logits(MODEL, ids))


@pytest.mark.parametrize("where", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
@pytest.mark.parametrize("output_attentions", [False, True])
def test_each_dropout_is_applied(where: str, output_attentions: bool) -> None:
    off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    model = strong_model(CONFIG.replace(**{**off, where: 0.5})).train()
    ids = random_ids(2, 8)
    passes = [logits(model, ids, output_attentions=output_attentions) for _ in range(2)]
    assert not torch.allclose(*passes)


# Attention, written out and fused


def test_a_token_does_not_see_later_ones() -> None:
    ids = random_ids(1, 10)
    changed = ids.clone()
    changed[0, 6:] = (ids[0, 6:] + 1) % CONFIG.vocab_size
    before, after = logits(MODEL, ids), logits(MODEL, changed)
    assert_close(after[:, :6], before[:, :6])
    assert not torch.allclose(after[:, 6], before[:, 6])


def test_long_texts_have_the_loss_and_gradients_of_attention_written_out() -> None:
    model = strong_model(CONFIG.replace(n_positions=LONG_TEXT))
    ids = random_ids(2, LONG_TEXT)
    actual = loss_and_gradients(model, ids, ids)
    expected = loss_and_gradients(model, ids, ids, output_attentions=True)
    # Both sum 256 terms in another order, which moves the last bits of gradients of up to 10.
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_asking_for_attention_weights_changes_nothing_else() -> None:
    ids, segment_ids = random_ids(2, 9), torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2, 2]] * 2)
    for arguments in ({}, {"segment_ids": segment_ids}):
        output = MODEL(ids, output_attentions=True, **arguments)
        assert_close(output.logits, logits(MODEL, ids, **arguments))
        weights = torch.stack(output.attentions)
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert weights.shape == (2, 2, 2, 9, 9)


@pytest.mark.parametrize("masked", [False, True])
def test_the_bfloat16_path_of_the_cpu_equals_the_fused_kernel(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 12, 8, generator=generator).bfloat16().unbind(0)
    segments = torch.tensor([[0] * 5 + [1] * 7, [0] * 2 + [1] * 10])
    mask = packed_mask(segments) if masked else None
    expected = F.scaled_dot_product_attention(
        q.float(), k.float(), v.float(), attn_mask=mask, is_causal=not masked
    )
    weights = attention_weights(q, k, mask, causal=not masked)
    assert weights.dtype == torch.bfloat16
    # bfloat16 has 8 bits: a rounding is up to 1/256 of weights and values of about 1.
    assert_close((weights @ v).float(), expected, 2e-2)


@torch.no_grad()
@pytest.mark.parametrize("segment_ids", [None, torch.tensor([[0] * 5 + [1] * 7] * 2)])
def test_a_bfloat16_model_is_near_its_float32_original(segment_ids: Tensor | None) -> None:
    ids = random_ids(2, 12)
    low = strong_model().bfloat16()
    assert low.dtype == torch.bfloat16
    actual = logits(low, ids, segment_ids=segment_ids).float().log_softmax(-1)
    expected = logits(MODEL, ids, segment_ids=segment_ids).log_softmax(-1)
    assert float((actual - expected).abs().mean()) < 0.02


# Cached passes


@PROPERTY
@given(data=st.data())
def test_cached_passes_equal_one_uncached_pass_on_ragged_batches(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, CONFIG.n_positions), min_size=1, max_size=4))
    texts = [random_ids(length, seed=row) for row, length in enumerate(lengths)]
    expected = [logits(MODEL, text[None])[0] for text in texts]
    cache = MODEL.new_cache(len(texts))
    rows, done = list(range(len(texts))), [0] * len(texts)
    while left := [row for row in rows if done[row] < lengths[row]]:
        if left != rows:
            left = data.draw(st.permutations(left))
            cache.select(torch.tensor([rows.index(row) for row in left]))
        rows = left
        width = data.draw(st.integers(1, CONFIG.n_positions - max(done[row] for row in rows)))
        counts = [
            data.draw(st.integers(int(row == rows[0]), min(width, lengths[row] - done[row])))
            for row in rows
        ]
        ids = random_ids(len(rows), width, seed=99)  # what is not overwritten is padding
        for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
            ids[place, :count] = texts[row][done[row] : done[row] + count]
        with torch.no_grad():
            actual = logits(MODEL, ids, cache=cache)
        cache.advance(torch.tensor(counts))
        for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
            assert_close(actual[place, :count], expected[row][done[row] : done[row] + count])
            done[row] += count
        assert cache.lengths.tolist() == [done[row] for row in rows]


@torch.no_grad()
def test_selecting_a_row_twice_lets_it_go_on_in_two_ways() -> None:
    stem, ends = random_ids(1, 6), random_ids(3, 4, seed=1)
    cache = MODEL.new_cache(2, capacity=10)
    MODEL(torch.cat([random_ids(1, 6, seed=2), stem]), cache=cache)
    cache.advance(6)
    cache.select(torch.tensor([1, 1, 1]))
    actual = logits(MODEL, ends, cache=cache)
    whole = torch.cat([stem.expand(3, 6), ends], dim=1)
    assert_close(actual, logits(MODEL, whole)[:, 6:])


@torch.no_grad()
def test_attention_weights_with_a_cache_are_the_last_rows_of_those_without() -> None:
    ids = random_ids(2, 10)
    cache = MODEL.new_cache(2)
    MODEL(ids[:, :7], cache=cache)
    cache.advance(7)
    actual = MODEL(ids[:, 7:], cache=cache, output_attentions=True).attentions
    expected = MODEL(ids, output_attentions=True).attentions
    assert_close(actual, tuple(weights[:, :, 7:] for weights in expected))


@torch.no_grad()
def test_tokens_that_were_not_counted_are_overwritten() -> None:
    ids = random_ids(1, 8)
    cache = MODEL.new_cache(1)
    MODEL(random_ids(1, 12, seed=3), cache=cache)
    actual = logits(MODEL, ids, cache=cache)
    assert_close(actual, logits(MODEL, ids))


def test_a_cache_has_the_models_format_and_room_for_its_positions() -> None:
    cache = strong_model().bfloat16().new_cache(3)
    assert (cache.capacity, cache.data.dtype) == (CONFIG.n_positions, torch.bfloat16)
    assert KVCache(CONFIG, 3, capacity=5).capacity == 5


@torch.no_grad()
def test_logits_of_one_position_of_each_row_equal_those_of_all() -> None:
    ids, at = random_ids(3, 9), torch.tensor([2, 8, 0])
    actual = logits(MODEL, ids, logits_at=at)
    assert actual.shape == (3, 1, CONFIG.vocab_size)
    assert_close(actual[:, 0], logits(MODEL, ids)[torch.arange(3), at])


# Packed texts


def packed_rows() -> st.SearchStrategy[Lengths]:
    """Lengths of the texts of each row; what is left of a row is padding."""
    row = st.lists(st.integers(1, 7), min_size=1, max_size=5)
    fitting = row.filter(lambda lengths: sum(lengths) <= CONFIG.n_positions)
    return st.lists(fitting, min_size=1, max_size=3)


def packed(lengths: Lengths, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and segment numbers of rows with texts of these lengths."""
    shape = (len(lengths), CONFIG.n_positions)
    ids = random_ids(*shape, seed=seed)
    segment_ids = torch.tensor(
        [
            [number for number, length in enumerate(row) for _ in range(length)]
            + [len(row)] * (CONFIG.n_positions - sum(row))
            for row in lengths
        ]
    )
    padding = segment_ids == torch.tensor([[len(row)] for row in lengths])
    return ids, ids.masked_fill(padding, IGNORED), segment_ids


@PROPERTY
@given(lengths=packed_rows())
def test_packed_texts_have_the_logits_of_separate_ones(lengths: Lengths) -> None:
    ids, _, segment_ids = packed(lengths)
    actual = logits(MODEL, ids, segment_ids=segment_ids)
    for row, texts in enumerate(lengths):
        for number in range(len(texts)):
            places = segment_ids[row] == number
            assert_close(actual[row, places], logits(MODEL, ids[row, places][None])[0])


@PROPERTY
@given(lengths=packed_rows())
def test_packed_texts_have_the_loss_and_gradients_of_separate_ones(lengths: Lengths) -> None:
    ids, labels, segment_ids = packed(lengths)
    actual = loss_and_gradients(MODEL, ids, labels, segment_ids=segment_ids)
    targets = sum(length - 1 for row in lengths for length in row)
    loss = torch.zeros(())
    total = {name: torch.zeros_like(p) for name, p in MODEL.named_parameters()}
    for row, texts in enumerate(lengths):
        for number, length in enumerate(texts):
            text = ids[row, segment_ids[row] == number][None]
            part_loss, part = loss_and_gradients(MODEL, text, text)
            share = (length - 1) / max(1, targets)
            loss += share * part_loss
            total = {name: total[name] + share * part[name] for name in total}
    assert_close(actual, (loss, total))


@torch.no_grad()  # on a CPU, FlexAttention has no backward pass
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_packed_texts_have_the_same_logits_by_the_attention_of_a_gpu() -> None:
    ids, _, segment_ids = packed([[5, 3], [1, 11], [12]])
    q, k, v = torch.randn(3, 3, 2, 12, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    actual = attend_blocks(q, k, v, packed_blocks(segment_ids))
    weights = attention_weights(q, k, packed_mask(segment_ids), causal=False)
    assert_close(actual, weights @ v)
    # A model takes it where it has been told to, and its other ways do not apply.
    model = strong_model().double()
    expected = logits(model, ids, segment_ids=segment_ids)
    model.attends_in_blocks = True
    assert isinstance(model._visible(ids, segment_ids), Blocks)
    assert_close(logits(model, ids, segment_ids=segment_ids), expected)


def test_padding_sees_nothing_of_the_texts_nor_they_of_it() -> None:
    ids, _, segment_ids = packed([[5, 3]])
    before = logits(MODEL, ids, segment_ids=segment_ids)
    for changed_part, other_part in ((slice(0, 8), slice(8, 12)), (slice(8, 12), slice(0, 8))):
        changed = ids.clone()
        changed[:, changed_part] = (ids[:, changed_part] + 1) % CONFIG.vocab_size
        after = logits(MODEL, changed, segment_ids=segment_ids)
        assert_close(after[:, other_part], before[:, other_part])
        assert not torch.allclose(after[:, changed_part], before[:, changed_part])


def test_positions_restart_with_every_segment() -> None:
    segment_ids = torch.tensor([[0, 0, 0, 1, 1, 4, 4, 4], [2, 3, 3, 3, 3, 3, 3, 3]])
    assert packed_positions(segment_ids).tolist() == [
        [0, 1, 2, 0, 1, 0, 1, 2],
        [0, 0, 1, 2, 3, 4, 5, 6],
    ]


def test_the_first_token_of_a_segment_is_no_target() -> None:
    labels = torch.tensor([[5, 6, 7, 8, IGNORED]])
    segment_ids = torch.tensor([[0, 0, 1, 1, 2]])
    assert shift_labels(labels).tolist() == [[6, 7, 8, IGNORED]]
    assert shift_labels(labels, segment_ids).tolist() == [[6, IGNORED, 8, IGNORED]]


# The fused loss


def loss_inputs(rows: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, token table, targets and weights, the first two wanting gradients."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, 6, generator=generator, requires_grad=True)
    table = torch.randn(11, 6, generator=generator, requires_grad=True)
    return hidden, table, random_ids(rows, vocab_size=11), torch.rand(rows, generator=generator)


@PROPERTY
@given(rows=st.integers(0, 9), chunk_rows=st.integers(0, 10), weighted=st.booleans())
def test_the_fused_loss_and_its_gradients_are_those_of_full_logits(
    rows: int, chunk_rows: int, weighted: bool
) -> None:
    hidden, table, targets, weights = loss_inputs(rows)
    losses = F.cross_entropy(hidden @ table.T, targets, reduction="none")
    plain = (losses * weights).sum() if weighted else losses.sum() / max(1, rows)
    expected = torch.autograd.grad(3 * plain, (hidden, table))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LOSS_CHUNK_BYTES, "cpu", chunk_rows * 4 * spread(len(table)))
        loss = lm_loss(hidden, table, targets, weights if weighted else None)
        actual = torch.autograd.grad(3 * loss, (hidden, table))
        log_probs = token_log_probs(hidden, table, targets)
        scores = token_scores(hidden, table, targets)
    assert_close(loss, plain)
    assert_close(actual, expected)
    assert_close(log_probs, -losses.detach())
    assert_close(scores[0], log_probs)
    assert scores[1].tolist() == ((hidden @ table.T).argmax(-1) == targets).tolist()


def test_a_frozen_table_gets_no_gradient_and_the_states_still_do() -> None:
    hidden, table, targets, _ = loss_inputs(5)
    expected = torch.autograd.grad(lm_loss(hidden, table, targets), hidden)
    assert_close(torch.autograd.grad(lm_loss(hidden, table.detach(), targets), hidden), expected)


def test_the_gradients_of_a_loss_are_not_given_out_twice() -> None:
    hidden, table, targets, _ = loss_inputs(5)
    loss = lm_loss(hidden, table, targets)
    torch.autograd.grad(2 * loss, hidden, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(2 * loss, hidden)


def test_the_models_loss_is_cross_entropy_of_its_logits_over_what_is_not_ignored() -> None:
    ids = random_ids(3, 12)
    labels = ids.masked_fill(random_ids(3, 12, seed=1) < 20, IGNORED)
    scores = logits(MODEL, ids)[:, :-1].flatten(0, 1)
    expected = F.cross_entropy(scores, labels[:, 1:].flatten(), ignore_index=IGNORED)
    output = MODEL(ids, labels=labels)
    assert_close(output.loss, expected)
    assert output.logits is None


def test_the_loss_of_no_target_is_zero_and_moves_nothing() -> None:
    ids = random_ids(2, 5)
    loss, gradients = loss_and_gradients(MODEL, ids, torch.full_like(ids, IGNORED))
    assert float(loss) == 0
    assert not any(gradient.any() for gradient in gradients.values())


def test_training_never_holds_the_logits_of_all_positions() -> None:
    # The largest tensor is exact where the peak memory of a process depends on its allocator.
    model = GPT(GPTConfig(n_positions=512, n_embd=8, n_layer=1, n_head=1))
    ids = random_ids(5, 512, vocab_size=40_478)
    with LargestTensor() as seen:
        model(ids, labels=ids).loss.backward()
    assert seen.elements <= LOSS_CHUNK_BYTES["cpu"] // 4
    with LargestTensor() as seen, torch.no_grad():
        model(ids)
    assert seen.elements == 5 * 512 * 40_478 > 2 * LOSS_CHUNK_BYTES["cpu"] // 4


def test_the_loss_under_bfloat16_autocast_is_near_that_in_float32() -> None:
    ids = random_ids(4, 12)
    expected_loss, expected = loss_and_gradients(MODEL, ids, ids)
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradients = loss_and_gradients(MODEL, ids, ids)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected_loss), rel=5e-3)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        if not name.endswith("c_attn.bias"):  # its key part has no gradient but rounding
            similarity = F.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0)
            assert float(similarity) > 0.99, name


# Activation checkpointing


@pytest.mark.parametrize("training", [False, True])
def test_activation_checkpointing_changes_neither_loss_nor_gradients(training: bool) -> None:
    model, ids = strong_model().train(training), random_ids(2, 12)
    results = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        torch.manual_seed(7)
        results.append(loss_and_gradients(model, ids, ids))
    assert_close(results[1], results[0], 0.0)


def test_activation_checkpointing_keeps_fewer_activations() -> None:
    model, ids = strong_model().train(), random_ids(2, 12)
    kept = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(ids, labels=ids)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


# New tokens


def test_a_grown_vocabulary_keeps_the_old_rows_and_their_logits() -> None:
    model, ids = strong_model(), random_ids(2, 12)
    old_rows, before = model.tokens_embed.weight.detach().clone(), logits(model, ids)
    model.grow_vocabulary(5_000, torch.Generator().manual_seed(1))
    weight = model.tokens_embed.weight
    assert torch.equal(weight[:50], old_rows)
    assert_close(logits(model, ids)[..., :50], before)
    new = weight[50:].detach()
    assert float(new.std()) == pytest.approx(0.02, rel=0.03)
    assert abs(float(new.mean())) < 1e-3
    assert (model.config.vocab_size, weight.shape) == (5_000, (5_000, 16))
    assert weight.requires_grad
    assert weight is model.get_parameter("tokens_embed.weight")


def test_a_vocabulary_cannot_shrink() -> None:
    with pytest.raises(ValueError, match="vocab_size is 49 but the model has 50 tokens; it can"):
        strong_model().grow_vocabulary(49)


# What is refused


def test_a_text_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="the sequence has 13 tokens but there is room for 12; sh"):
        MODEL(random_ids(1, 13))


@torch.no_grad()
def test_a_full_cache_is_refused() -> None:
    cache = MODEL.new_cache(1, capacity=6)
    MODEL(random_ids(1, 4), cache=cache)
    cache.advance(4)
    with pytest.raises(ValueError, match="the sequence has 7 tokens but there is room for 6"):
        MODEL(random_ids(1, 3), cache=cache)


def test_segments_and_a_cache_do_not_go_together() -> None:
    ids = random_ids(1, 4)
    with pytest.raises(ValueError, match="segment_ids and cache cannot be combined"):
        MODEL(ids, segment_ids=torch.zeros_like(ids), cache=MODEL.new_cache(1))
