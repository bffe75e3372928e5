"""Zero-shot rules against transformers, one sequence at a time and in float64."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.zero_shot import compare_options, normalised, zero_shot
from gpt1.evaluation.zero_shot_data import find_tasks, task_rows
from gpt1.evaluation.zero_shot_rules import RULES, ZeroShotConfig
from gpt1.language_model import LanguageModel, load
from lively import lively_model, small_tokenizer
from twin import twin

TOKENIZER = small_tokenizer()
LM = LanguageModel(lively_model(TOKENIZER.vocab_size, n_positions=40), TOKENIZER)
THEIRS = twin(copy.deepcopy(LM.model).double())

SENTENCES = [
    {"sentence": text, "label": label}
    for label, text in enumerate(
        ["The fox jumps.", "It quick the", "Why?", "The lazy dog said it isn't brown.", "fox", "he"]
    )
]
for row in SENTENCES:
    row["label"] %= 2
WINOGRAD = [
    {"text": "The dog saw the fox, and it jumps.", "span": [25, 27], "label": 1},
    {"text": "It is quick, said the fox of the dog.", "span": [0, 2], "label": 0},
    {"text": "the fox jumps over it", "span": [19, 21], "label": 1},
]
for row in WINOGRAD:
    row["options"] = ["The lazy dog", "the fox"]
RACE = [
    {
        "article": "The quick brown fox jumps over the lazy dog. " * repeats,
        "question": question,
        "options": ["the dog", "a fox it is", "he said", "no"],
        "answer": answer,
    }
    for repeats, question, answer in [(1, "Why?", "A"), (1, "The fox", "B"), (5, "Who?", "D")]
]


def log_prob(context: list[int], continuation: list[int]) -> list[float]:
    """Of each token of the continuation, by transformers."""
    ids = [*context, *continuation]
    if not continuation:
        return []
    with torch.no_grad():
        table = THEIRS(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return [float(table[at - 1, ids[at]]) for at in range(len(context), len(ids))]


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


REDUCE = {"mean": mean, "sum": math.fsum}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("first_token", ["skip", "period", "end_of_text", "newline"])
def test_cola_is_the_mean_log_probability_of_the_sentence(first_token: str, reduction: str) -> None:
    tokenizer = TOKENIZER
    lm = LM
    if first_token == "newline":
        tokenizer = copy.copy(TOKENIZER)
        pieces = {"\n</w>": 7}
        tokenizer.token_id = pieces.__getitem__  # type: ignore[method-assign]
        lm = LanguageModel(LM.model, tokenizer)
    contexts = {
        "period": [TOKENIZER.token_id(".</w>")],
        "end_of_text": [TOKENIZER.end_of_text_id],
        "newline": [7],
    }
    config: Any = ZeroShotConfig(first_token=first_token, reduction=reduction)  # type: ignore[arg-type]
    result = zero_shot(lm, "cola", SENTENCES, train_rows=SENTENCES, config=config)
    for row, scores in zip(SENTENCES, result.scores, strict=True):
        ids = TOKENIZER.encode(str(row["sentence"]))
        context = contexts.get(first_token)
        values = log_prob(context, ids) if context else log_prob(ids[:1], ids[1:])
        assert scores == pytest.approx([REDUCE[reduction](values)], abs=1e-4)
    assert result.threshold is not None
    assert result.predictions == [int(s > result.threshold) for [s] in result.scores]
    assert result.score == pytest.approx(matthews_corrcoef(result.labels, result.predictions))
    assert (result.metric, result.chance, result.n) == ("matthews", 0.0, len(SENTENCES))
    assert result.normalised == pytest.approx(result.score / 0.35)
    assert result.options == {"reduction": reduction, "first_token": first_token}


def test_the_threshold_is_fitted_on_the_training_rows_alone() -> None:
    flipped = [{**row, "label": 1 - int(row["label"])} for row in SENTENCES]
    one = zero_shot(LM, "cola", SENTENCES, train_rows=SENTENCES)
    other = zero_shot(LM, "cola", flipped, train_rows=SENTENCES)
    assert one.threshold == other.threshold
    assert one.predictions == other.predictions


@pytest.mark.parametrize("words", [("fox", "dog"), ("lazy", "jumps over")])
def test_sst2_compares_two_words_behind_very(words: tuple[str, str]) -> None:
    result = zero_shot(LM, "sst2", SENTENCES, config=ZeroShotConfig(words=words))
    for row, scores in zip(SENTENCES, result.scores, strict=True):
        prompt = TOKENIZER.encode(f"{row['sentence']} very")
        expected = [mean(log_prob(prompt, TOKENIZER.encode(word))) for word in words]
        assert scores == pytest.approx(expected, abs=1e-4)
    assert result.predictions == [int(b > a) for a, b in result.scores]
    assert result.chance == 0.5
    assert result.options["template"] == "{text} very"


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_race_is_the_mean_log_probability_of_the_answer_given_passage_and_question(
    reduction: str,
) -> None:
    config: Any = ZeroShotConfig(reduction=reduction)  # type: ignore[arg-type]
    result = zero_shot(LM, "race", RACE, config=config)
    for row, scores in zip(RACE, result.scores, strict=True):
        context = TOKENIZER.encode(row["article"]) + TOKENIZER.encode(row["question"])
        answers = TOKENIZER.encode_batch(row["options"])
        room = 41 - max(map(len, answers))
        expected = [REDUCE[reduction](log_prob(context[-room:], ids)) for ids in answers]
        assert scores == pytest.approx(expected, abs=1e-4)
    assert result.labels == [0, 1, 3]
    assert result.predictions == [int(np.argmax(scores)) for scores in result.scores]
    assert (result.chance, result.cut) == (0.25, 1)
    right = sum(a == b for a, b in zip(result.labels, result.predictions, strict=True))
    assert result.score == pytest.approx(right / 3)
    assert result.normalised == pytest.approx((right / 3 - 0.25) / (0.59 - 0.25))


def test_race_permuted_options_permute_the_scores() -> None:
    turned = [{**row, "options": row["options"][::-1]} for row in RACE]
    plain, other = zero_shot(LM, "race", RACE), zero_shot(LM, "race", turned)
    for a, b in zip(plain.scores, other.scores, strict=True):
        assert a == pytest.approx(b[::-1], abs=1e-5)


@pytest.mark.parametrize("scored", ["after", "full"])
@pytest.mark.parametrize("task", ["dprd", "wsc273"])
def test_winograd_scores_what_follows_the_candidate(task: str, scored: str) -> None:
    config: Any = ZeroShotConfig(scored=scored)  # type: ignore[arg-type]
    result = zero_shot(LM, task, WINOGRAD, config=config)
    for row, scores in zip(WINOGRAD, result.scores, strict=True):
        start, end = row["span"]
        expected = []
        for option in row["options"]:
            head = TOKENIZER.encode(row["text"][:start] + option)
            tail = TOKENIZER.encode(row["text"][end:])
            ids = head + tail
            first = len(head) if scored == "after" else 1
            expected.append(mean(log_prob(ids[:first], ids[first:])))
        assert scores == pytest.approx(expected, abs=1e-4)
    assert result.labels == [1, 0, 1]
    assert (result.chance, result.normalised) == (0.5, None)


def test_candidates_with_nothing_behind_them_are_equal_and_the_first_is_taken() -> None:
    result = zero_shot(LM, "dprd", [WINOGRAD[2]])
    assert (result.scores, result.predictions) == ([[0.0, 0.0]], [0])


def test_the_order_of_rows_changes_nothing_else() -> None:
    for task, rows in (("race", RACE), ("dprd", WINOGRAD), ("sst2", SENTENCES)):
        one, other = zero_shot(LM, task, rows), zero_shot(LM, task, rows[::-1])
        for a, b in zip(one.scores, other.scores[::-1], strict=True):
            assert a == pytest.approx(b, abs=1e-5)


def test_options_are_compared_as_if_each_were_asked_for() -> None:
    rows: Any = {"cola": SENTENCES, "sst2": SENTENCES, "race": RACE, "dprd": WINOGRAD}
    for task, some in rows.items():
        config = ZeroShotConfig(words=("fox", "dog"))
        results = compare_options(LM, task, some, train_rows=some, config=config)
        options = [result.options for result in results]
        assert all(options.count(one) == 1 for one in options)
        for result in results:
            asked = replace(config, **result.options)
            alone = zero_shot(LM, task, some, train_rows=some, config=asked)
            assert alone.predictions == result.predictions
            np.testing.assert_allclose(alone.scores, result.scores, atol=1e-5)


def test_options_that_differ_in_the_reduction_are_read_once() -> None:
    told: list[tuple[int, int]] = []
    compare_options(LM, "race", RACE, advance=lambda *now: told.append(now))
    passes = sum(done == total for done, total in told)
    assert passes == 1


def test_variants_the_vocabulary_has_no_token_for_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        results = compare_options(LM, "cola", SENTENCES, train_rows=SENTENCES)
    firsts = {result.options["first_token"] for result in results}
    assert firsts == {"skip", "period", "end_of_text"}
    [record] = caplog.records
    assert "cola: left out: first_token is 'newline'" in record.getMessage()


def test_a_summary_is_without_examples_and_examples_are_records() -> None:
    result = zero_shot(LM, "dprd", WINOGRAD)
    assert set(result.summary()) == set(vars(result)) - {"labels", "predictions", "scores"}
    records = list(result.examples())
    assert [record["scores"] for record in records] == result.scores
    assert [record["label"] for record in records] == [1, 0, 1]


def test_the_scale_of_the_figure() -> None:
    assert normalised(0.5, 0.5, 0.932) == 0.0
    assert normalised(0.932, 0.5, 0.932) == 1.0
    assert normalised(0.4, 0.5, 0.9) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("mnli", {}, "there is no zero-shot task 'mnli'; there are cola, sst2, race, dprd, wsc273"),
        ("cola", {"first_token": "newline"}, r"'newline' but the vocabulary has no '\\n</w>'"),
        ("cola", {"first_token": "comma"}, "must be one of skip, end_of_text, newline, period"),
        ("dprd", {"scored": "before"}, "scored is 'before' but must be one of after, full"),
        ("race", {"reduction": "max"}, "reduction is 'max' but must be one of mean, sum"),
        ("sst2", {"words": ("fox",)}, "there is 1 label word but a choice needs at least 2"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    task: str, options: dict[str, Any], message: str
) -> None:
    rows: Any = {"cola": SENTENCES, "race": RACE, "dprd": WINOGRAD, "sst2": SENTENCES}
    with pytest.raises(ConfigError, match=message):
        zero_shot(
            LM,
            task,
            rows.get(task, SENTENCES),
            train_rows=SENTENCES,
            config=ZeroShotConfig(**options),
        )


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("cola", {"label": 1}, "cola, row 0: no 'sentence' among its columns .*; needed are"),
        ("sst2", {"sentence": "fox", "label": "good"}, "the label 'good' names none of the 2"),
        ("sst2", {"sentence": "fox", "label": 2}, "the label 2 names none of the 2 answers"),
        ("race", {**RACE[0], "answer": "E"}, "the label 'E' names none of the 4 answers"),
        ("race", {**RACE[0], "options": []}, "no 'options' among"),
        ("dprd", {**WINOGRAD[0], "span": [30, 99]}, r"row 0 has the span \[30, 99\] but needs"),
        ("dprd", {**WINOGRAD[0], "span": "30"}, "row 0 has the span '30' but needs"),
        ("cola", {"sentence": " ", "label": 1}, "sentence 0 has no tokens; leave it out"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(task: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        zero_shot(LM, task, [row], train_rows=SENTENCES)


def test_there_have_to_be_rows() -> None:
    with pytest.raises(DataError, match="there are no rows of dprd to score"):
        zero_shot(LM, "dprd", [])
    with pytest.raises(DataError, match="cola needs labelled training rows to fit its threshold"):
        zero_shot(LM, "cola", SENTENCES)


@pytest.mark.parametrize("task", RULES)
def test_real_rows_are_scored_alike_together_and_one_by_one(task: str, shared_data: Path) -> None:
    lm = load("mini")
    files = find_tasks(shared_data / "tasks", [task])[task]
    rows = task_rows(files.scored, task, 4)
    train = task_rows(files.train, task, 4) if files.train and RULES[task].threshold else []
    together = zero_shot(lm, task, rows, train_rows=train)
    assert together.n == 4
    for row, scores in zip(rows, together.scores, strict=True):
        [alone] = zero_shot(lm, task, [row], train_rows=train).scores
        assert alone == pytest.approx(scores, abs=1e-4)
