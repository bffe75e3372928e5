"""The LSTM: a float64 NumPy LSTM written out, and the ways it differs from the Transformer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import gpt1
from gpt1.checkpoint import save_model
from gpt1.config import HeadConfig, LSTMConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.lstm import LSTM, _Recurrence
from gpt1.task_checkpoint import load_task_model, save_task_model
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import collate
from gpt1.tasks.encoding import Encoded
from gpt1.tokenizer import END_OF_TEXT, Tokenizer

CONFIG = LSTMConfig(
    vocab_size=30, n_positions=12, n_embd=6, n_units=10, embd_pdrop=0.0, resid_pdrop=0.0
)
Array = NDArray[np.float64]


@pytest.fixture
def model() -> LSTM:
    """A small LSTM of which no weight is zero."""
    model = LSTM(CONFIG.replace(initializer_range=0.5))
    generator = torch.Generator().manual_seed(0)
    model.reset_parameters(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(30, (3, 11), generator=torch.Generator().manual_seed(1))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def logits_in_numpy(model: LSTM, ids: Tensor) -> Array:
    """Logits by the formulas of Hochreiter and Schmidhuber (1997) with forget gates."""
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
    n_units, rows = model.config.n_units, []
    for row in ids.numpy():
        h, c = np.zeros(n_units), np.zeros(n_units)
        outputs = []
        for token in row:
            x = w["tokens_embed.weight"][token]
            gates = w["lstm.weight_ih_l0"] @ x + w["lstm.bias_ih_l0"]
            gates += w["lstm.weight_hh_l0"] @ h + w["lstm.bias_hh_l0"]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(w["proj.weight"] @ h + w["proj.bias"])
        rows.append(np.array(outputs) @ w["tokens_embed.weight"].T)
    return np.array(rows)


def loss_in_numpy(model: LSTM, ids: Tensor) -> float:
    logits = logits_in_numpy(model, ids)[:, :-1]
    norm = np.log(np.exp(logits).sum(-1))
    targets = np.take_along_axis(logits, ids.numpy()[:, 1:, None], 2)[..., 0]
    return float((norm - targets).mean())


# The formulas


def test_logits_are_those_of_the_formulas(model: LSTM, ids: Tensor) -> None:
    expected = logits_in_numpy(model, ids)
    np.testing.assert_allclose(model.double()(ids).logits.detach(), expected, rtol=1e-10)


def test_the_loss_is_the_mean_over_the_next_tokens(model: LSTM, ids: Tensor) -> None:
    assert float(model(ids, labels=ids).loss.detach()) == pytest.approx(
        loss_in_numpy(model, ids), rel=1e-5
    )


def test_positions_that_are_no_target_do_not_count(model: LSTM, ids: Tensor) -> None:
    labels = ids.clone()
    labels[:, 6:] = -100
    torch.testing.assert_close(
        model(ids, labels=labels).loss, model(ids[:, :6], labels=ids[:, :6]).loss
    )


def test_gradients_are_the_slopes_of_the_formulas(model: LSTM, ids: Tensor) -> None:
    model.double()
    model(ids, labels=ids).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        flat, grad = parameter.data.view(-1), parameter.grad.view(-1)
        at = int(grad.abs().argmax())
        value, ends = float(flat[at]), []
        for step in (1e-5, -1e-5):
            flat[at] = value + step
            ends.append(loss_in_numpy(model, ids))
        flat[at] = value
        slope = (ends[0] - ends[1]) / 2e-5
        # The loss is computed in float32, whatever the weights are.
        assert float(grad[at]) == pytest.approx(slope, rel=1e-4), name


def test_nothing_later_is_seen(model: LSTM, ids: Tensor) -> None:
    changed = ids.clone()
    changed[:, 7:] = (ids[:, 7:] + 1) % 30
    torch.testing.assert_close(model(changed).logits[:, :7], model(ids).logits[:, :7])


# Our recurrence


def recurrence_and_layer(model: LSTM, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """States and gradients by our recurrence and by PyTorch's layer, for the same inputs."""
    results = []
    [[w_input, w_state, b_input, b_state]] = model.lstm.all_weights
    for ours in (True, False):
        model.zero_grad()
        x = torch.randn(9, 4, 6, generator=torch.Generator().manual_seed(3), requires_grad=True)
        if ours:
            states = _Recurrence.apply(x, w_input, w_state, b_input + b_state, dtype)  # type: ignore[no-untyped-call]
        else:
            states, _ = model.lstm(x)
        (states.float() * torch.linspace(-1, 1, 90).view(9, 1, 10)).sum().backward()
        weights = (w_input, w_state, b_input, b_state)
        results.append([states.detach().float(), *(p.grad.clone() for p in (x, *weights))])
    return results[0], results[1]


def test_our_recurrence_equals_pytorchs_layer_and_its_gradients(model: LSTM) -> None:
    ours, theirs = recurrence_and_layer(model, torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_it_does_without_the_layout_of_onednn(model: LSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    ours, theirs = recurrence_and_layer(model, torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_near(model: LSTM) -> None:
    ours, theirs = recurrence_and_layer(model, torch.bfloat16)
    for low, full in zip(ours, theirs, strict=True):
        assert float((low - full).norm() / full.norm()) < 0.02  # bfloat16 has 8 bits


def test_training_in_bfloat16_has_the_gradients_of_float32(model: LSTM, ids: Tensor) -> None:
    grads = []
    for enabled in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(ids, labels=ids).loss
        loss.backward()
        grads.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
    assert {grad.dtype for grad in grads[0].values()} == {torch.float32}
    for name, grad in grads[1].items():
        assert float((grads[0][name] - grad).norm() / grad.norm()) < 0.05, name


# Weights


def test_new_weights_follow_the_generator_and_predict_nearly_nothing() -> None:
    shape = LSTMConfig(vocab_size=500, n_positions=32, n_embd=64, n_units=128)
    first, second = LSTM(shape), LSTM(shape)
    for model in (first, second):
        model.reset_parameters(torch.Generator().manual_seed(5))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert float(first.tokens_embed.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    ids = torch.randint(500, (4, 32))
    assert float(first.eval()(ids, labels=ids).loss.detach()) == pytest.approx(
        math.log(500), rel=0.01
    )


def test_the_gates_of_a_new_model_have_inputs_of_variance_1() -> None:
    model = LSTM(LSTMConfig(vocab_size=500, n_positions=32, n_embd=64, n_units=128))
    inputs = model.tokens_embed.weight @ model.lstm.all_weights[0][0].T
    assert float(inputs.detach().std()) == pytest.approx(1, rel=0.05)


def test_the_forget_bias_of_a_new_model_is_1_and_its_recurrence_orthogonal() -> None:
    model = LSTM(CONFIG)
    [[_, w_state, b_input, b_state]] = model.lstm.all_weights
    expected = [0.0] * 10 + [1.0] * 10 + [0.0] * 20
    assert (b_input + b_state).tolist() == expected
    for gate in w_state.detach().split(10):
        torch.testing.assert_close(gate @ gate.T, torch.eye(10), rtol=0, atol=1e-5)


def test_the_papers_lstm_is_the_default() -> None:
    with torch.device("meta"):
        model = LSTM()
    assert (model.config.n_units, model.config.n_embd, model.config.n_positions) == (2048, 768, 512)
    cells = 4 * 2048 * (768 + 2048) + 2 * 4 * 2048
    assert model.num_parameters() == 40_478 * 768 + cells + 768 * 2048 + 768


def test_the_vocabulary_grows_behind_the_old_rows(model: LSTM) -> None:
    old = model.tokens_embed.weight.detach().clone()
    model.grow_vocabulary(33)
    assert model.config.vocab_size == 33
    assert model(torch.tensor([[32]])).logits.shape == (1, 1, 33)
    torch.testing.assert_close(model.tokens_embed.weight[:30], old)
    with pytest.raises(ValueError, match="vocab_size is 32 but the model has 33 tokens"):
        model.grow_vocabulary(32)


def test_dropout_acts_in_training_alone(ids: Tensor) -> None:
    model = LSTM(CONFIG.replace(embd_pdrop=0.5)), LSTM(CONFIG.replace(resid_pdrop=0.5))
    for network in model:
        network.train()
        assert not torch.equal(network(ids).logits, network(ids).logits)
        network.eval()
        assert torch.equal(network(ids).logits, network(ids).logits)


# What it refuses


def test_what_only_a_transformer_can_is_refused(model: LSTM, ids: Tensor) -> None:
    with pytest.raises(ValueError, match="segment_ids are given but an LSTM reads one text a row"):
        model(ids, segment_ids=torch.zeros_like(ids))
    with pytest.raises(ValueError, match="positions or a mask are given but an LSTM reads tokens"):
        model.hidden(ids, positions=ids)
    with pytest.raises(ValueError, match="the sequence has 13 tokens but there is room for 12"):
        model(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ConfigError, match="activation_checkpointing is on but an LSTM has no"):
        model.activation_checkpointing = True
    model.activation_checkpointing = False
    assert not model.activation_checkpointing


# With a tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved LSTM with its tokenizer."""
    tokenizer = Tokenizer.train(["the cat sat on the mat, and the dog sat too"], merges=9)
    tokenizer.add_special_tokens([END_OF_TEXT])
    torch.manual_seed(0)
    save_model(tmp_path / "lstm", LSTM(CONFIG.replace(vocab_size=tokenizer.vocab_size)), tokenizer)
    return tmp_path / "lstm"


def test_it_scores_texts_as_the_formulas_do(folder: Path) -> None:
    lm = gpt1.load(folder)
    assert isinstance(lm.model, LSTM)
    score = lm.score("the cat sat")
    ids = torch.tensor([score.ids])
    assert score.sum == pytest.approx(-loss_in_numpy(lm.model, ids) * score.num_tokens, rel=1e-5)
    assert lm.perplexity(["the cat sat"]).nats_per_token == pytest.approx(
        loss_in_numpy(lm.model, ids), rel=1e-5
    )


def test_it_does_not_generate_and_says_so_at_once(folder: Path) -> None:
    lm = gpt1.load(folder)
    message = "generation needs a Transformer, and this model is an LSTM; it can be scored"
    with pytest.raises(CheckpointError, match=message):
        lm.generate("the cat")
    with pytest.raises(CheckpointError, match=message):
        lm.generate("the cat", num_beams=2)
    with pytest.raises(CheckpointError, match=message):
        lm.stream("the cat")
    with pytest.raises(CheckpointError, match="an explanation needs a Transformer"):
        lm.explain("the cat")


# With the head of a task


def encoded(*texts: tuple[int, ...]) -> list[Encoded]:
    return [Encoded(sequences=(text,), shared=0) for text in texts]


def test_a_head_reads_the_state_at_the_extract_token_whatever_the_padding(model: LSTM) -> None:
    task = TaskModel(model, HeadConfig(layout="text", classes=("no", "yes"))).eval()
    texts = [(1, 2, 3), (4, 5, 6, 7, 8, 9)]
    labels = np.array([0, 1])
    together = task(collate(encoded(*texts), labels, share_context=False)).logits
    for row, text in zip(together, texts, strict=True):
        expected = task.score(model.hidden(torch.tensor([text]))[0, -1])
        torch.testing.assert_close(row, expected)


def test_a_task_model_comes_back_and_claims_no_class_of_transformers(
    model: LSTM, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.train(["the cat sat on the mat"], merges=2)
    task = TaskModel(model, HeadConfig(layout="text", classes=("no", "yes")))
    save_task_model(tmp_path / "task", task, tokenizer)
    loaded, _ = load_task_model(tmp_path / "task")
    torch.testing.assert_close(loaded.state_dict(), task.state_dict(), rtol=0, atol=0)
    config = json.loads((tmp_path / "task" / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "gpt1-lstm"
    assert "architectures" not in config
