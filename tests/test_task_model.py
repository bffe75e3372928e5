"""Heads and losses: against the paper's formulas in float64, transformers, and themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.config import GPTConfig, HeadConfig
from gpt1.model import GPT
from gpt1.task_model import TaskModel, task_loss
from gpt1.tasks.batches import TaskBatch, collate
from gpt1.tasks.encoding import Encoded, encode_examples
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.training.objectives import TaskLearning
from tasks.worlds import choices, new_tokenizer
from twin import twin

TOKENIZER = new_tokenizer()
CONFIG = GPTConfig(
    vocab_size=TOKENIZER.vocab_size,
    n_positions=64,
    n_embd=16,
    n_layer=2,
    n_head=2,
    initializer_range=0.3,
)
HEADS = {
    "text": HeadConfig(layout="text", classes=("a", "b", "c")),
    "pair": HeadConfig(layout="pair", classes=("a", "b", "c")),
    "similarity": HeadConfig(layout="similarity", label_mean=2.0, label_std=1.5),
    "choice": HeadConfig(layout="choice"),
}
EXAMPLES = {
    "text": [text("the old cat", 0), text("a dog", 2), text("red", 1)],
    "pair": [pair("the cat sees", "a dog", 1), pair("a man", "the red sea", 0)],
    "similarity": [similarity("the cat", "a red dog", 1), similarity("sea", "man hears", 4)],
    "choice": [choice(("the cat", "sees"), ["a dog", "the sea"], 1), choice("a", ["b", "c"], 0)],
}
Array = NDArray[np.float64]


def new_model(layout: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> TaskModel:
    backbone = GPT(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    backbone.reset_parameters(generator)
    model = TaskModel(backbone, HEADS[layout])
    model.reset_head(generator)
    return model.eval().to(dtype)


def encoded(items: list[Example]) -> list[Encoded]:
    return encode_examples(items, TOKENIZER, CONFIG.n_positions)[0]


def batch_of(items: list[Example], share: bool = True) -> TaskBatch:
    head = HEADS[items[0].layout]
    dtype = np.float64 if head.kind == "value" else np.int64
    labels = np.array([0 if item.label is None else item.label for item in items], dtype)
    return collate(encoded(items), labels, share_context=share)


class Paper:
    """The formulas of GPT-1 section 3, a sequence at a time, in float64 NumPy.

    The vectors h come from transformers' GPT-1 with the same weights.
    """

    def __init__(self, model: TaskModel) -> None:
        self.hugging_face = twin(model.backbone)
        self.table = model.backbone.tokens_embed.weight.detach().numpy()
        self.w_y = model.score.weight.detach().numpy().T  # (D, O)

    def states(self, sequence: tuple[int, ...]) -> Array:
        with torch.no_grad():
            ids = torch.tensor([sequence])
            h: Array = self.hugging_face.transformer(ids).last_hidden_state[0].numpy()
        return h

    def lm_loss(self, sequence: tuple[int, ...]) -> float:
        """Equation 1 over one sequence, as a mean over its targets."""
        scores = self.states(sequence)[:-1] @ self.table.T
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return float(-log_p[np.arange(len(sequence) - 1), sequence[1:]].mean())

    def logits(self, example: Encoded, layout: str) -> Array:
        """Equation 3 before the softmax; figure 1 for the layouts of several sequences."""
        vectors = [self.states(sequence)[-1] for sequence in example.sequences]
        if layout == "choice":
            return np.array([(vector @ self.w_y)[0] for vector in vectors])
        return np.asarray(sum(vectors) @ self.w_y)


def cross_entropy(logits: Array, label: int) -> float:
    return float(np.log(np.exp(logits).sum()) - logits[label])


@pytest.mark.parametrize("layout", HEADS)
@pytest.mark.parametrize("share", [False, True])
def test_logits_and_losses_are_those_of_the_papers_formulas(layout: str, share: bool) -> None:
    model, items = new_model(layout), EXAMPLES[layout]
    paper = Paper(model)
    expected = [paper.logits(example, layout) for example in encoded(items)]
    batch = batch_of(items, share)
    with torch.no_grad():
        output = model(batch, need_lm_loss=True)
        loss = TaskLearning(lm_coef=0.5).loss(model, batch)
    np.testing.assert_allclose(output.logits.numpy(), np.array(expected), atol=1e-5)

    lm = np.mean([np.mean([paper.lm_loss(s) for s in e.sequences]) for e in encoded(items)])
    assert float(output.lm_loss) == pytest.approx(lm, abs=1e-5)
    labels: list[Any] = [item.label for item in items]
    if layout == "similarity":
        clf = np.mean([(x[0] - y) ** 2 for x, y in zip(expected, labels, strict=True)])
    else:
        clf = np.mean([cross_entropy(x, y) for x, y in zip(expected, labels, strict=True)])
    assert float(loss) == pytest.approx(clf + 0.5 * lm, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(items=st.lists(choices(), min_size=1, max_size=4))
def test_a_shared_context_gives_the_logits_loss_and_gradients_of_the_plain_way(
    items: list[Example],
) -> None:
    gradients = []
    outputs = []
    for share in (False, True):
        model = new_model("choice")
        batch = batch_of(items, share)
        output = model(batch, need_lm_loss=True)
        TaskLearning(lm_coef=0.5).loss(model, batch).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        outputs.append(output)
    plain, shared = outputs
    torch.testing.assert_close(shared.logits, plain.logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(shared.lm_loss, plain.lm_loss, atol=1e-6, rtol=1e-6)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)


# Invariances


def test_permuting_options_permutes_their_logits() -> None:
    model, options = new_model("choice"), ["a dog", "the red sea", "man"]
    logits = [
        model(batch_of([choice("the cat sees", [options[i] for i in order])])).logits[0]
        for order in ((0, 1, 2), (2, 0, 1))
    ]
    torch.testing.assert_close(logits[1], logits[0][[2, 0, 1]])


def test_swapping_a_similarity_changes_nothing_and_swapping_a_pair_does() -> None:
    a, b = "the old cat", "a dog"
    model = new_model("similarity")
    one, other = (model(batch_of([similarity(*p)])).logits for p in ((a, b), (b, a)))
    torch.testing.assert_close(one, other)
    model = new_model("pair")
    one, other = (model(batch_of([pair(*p)])).logits for p in ((a, b), (b, a)))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("layout", HEADS)
def test_neither_padding_nor_the_order_in_the_batch_changes_a_result(layout: str) -> None:
    model, items = new_model(layout), EXAMPLES[layout]
    together = model(batch_of(items)).logits
    reverse = model(batch_of(items[::-1])).logits.flip(0)
    alone = torch.cat([model(batch_of([item])).logits for item in items])
    torch.testing.assert_close(together, reverse)
    torch.testing.assert_close(together, alone)


def test_an_option_that_is_not_there_has_no_probability() -> None:
    model = new_model("choice")
    logits = model(batch_of([choice("a", ["cat", "dog", "sea"]), choice("a", ["cat", "dog"])]))
    assert float(logits.logits[1, 2].detach()) == float("-inf")
    assert float(logits.logits.detach().softmax(dim=1)[1, :2].sum()) == pytest.approx(1.0)


# The rest


def test_the_sequences_of_an_example_share_one_dropout_mask() -> None:
    model = new_model("choice")
    model.drop.train()
    same = model(batch_of([choice("the cat", ["a dog", "a dog"])] * 8)).logits
    torch.testing.assert_close(same[:, 0], same[:, 1])
    assert len({round(x, 6) for x in same[:, 0].tolist()}) > 1, "but every example has its own"


def test_class_weights_multiply_the_loss_of_their_class() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.tensor([0, 1, 2, 1]), torch.tensor([0.5, 2.0, 1.0])
    expected = np.mean(
        [
            float(weights[y]) * cross_entropy(x, y)
            for x, y in zip(logits.numpy(), labels.tolist(), strict=True)
        ]
    )
    loss = task_loss(logits, labels, HEADS["text"], weights)
    assert float(loss) == pytest.approx(expected)


def test_the_new_weights_are_drawn_as_in_the_paper() -> None:
    backbone = GPT(GPTConfig(n_layer=1, n_embd=768, n_head=12, vocab_size=10))
    model = TaskModel(backbone, HeadConfig(layout="text", classes=tuple("abcdefgh")))
    assert float(model.score.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert model.score.bias is None
