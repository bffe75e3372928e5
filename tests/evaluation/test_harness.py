"""The model of lm-evaluation-harness against the harness's own, over transformers' GPT-1.

The examples of the tasks are invented; their fields are those of the data sets.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import ConfigError, MissingExtraError
from gpt1.evaluation import shared_prefix
from gpt1.evaluation.harness import HarnessModel, cut_to_fit, register, written
from gpt1.evaluation.scoring import score_ids
from gpt1.language_model import LanguageModel
from gpt1.tokenizer import Tokenizer
from lively import TEXT, lively_model

POSITIONS = 32
WORDS = TEXT.split()


def save(folder: Path, tokenizer: Tokenizer) -> Path:
    LanguageModel(lively_model(tokenizer.vocab_size, POSITIONS), tokenizer).save(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tokenizer that transformers reads as we do, and with an end-of-text token."""
    tokenizer = Tokenizer.train([TEXT] * 3, merges=60, mode="bert")
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return save(tmp_path_factory.mktemp("harness") / "bert", tokenizer)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a newline token and no end-of-text token, as the released one."""
    tokenizer = Tokenizer.train([TEXT] * 3, merges=60, mode="original")
    return save(tmp_path_factory.mktemp("harness") / "original", tokenizer)


@pytest.fixture(scope="module")
def ours(folder: Path) -> Any:
    return register()(model=folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    other = huggingface.HFLM(str(folder), device="cpu", dtype="float32", batch_size=3)
    other.model.generation_config.max_new_tokens = None
    return other


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def ask(*args: object) -> Any:
    return SimpleNamespace(args=args)


def text(source: random.Random, words: int) -> str:
    return " ".join(source.choices(WORDS, k=words))


def pairs() -> list[tuple[str, str]]:
    """Contexts and continuations, short and too long, with and without an own space."""
    source = random.Random(0)
    made = [
        (text(source, source.randrange(1, 30)), " " + text(source, source.randrange(1, 6)))
        for _ in range(30)
    ]
    shared = [(text(source, 9), " " + text(source, n)) for n in (1, 2, 3)]
    edges = [("", "the fox"), ("", " jumps over"), ("the lazy ", "dog"), ("the\n\n", "fox: he")]
    return made + [(shared[0][0], continuation) for _, continuation in shared] + edges


def likelihoods(model: Any, pairs: list[tuple[str, str]]) -> tuple[list[float], list[bool]]:
    found = model.loglikelihood([ask(*pair) for pair in pairs], disable_tqdm=True)
    return [value for value, _ in found], [greedy for _, greedy in found]


# ---------------------------------------------------------------- against the harness's own model


def test_likelihoods_are_those_of_the_harness_over_transformers(ours: Any, theirs: Any) -> None:
    values, greedy = likelihoods(ours, pairs())
    expected, expected_greedy = likelihoods(theirs, pairs())
    assert values == pytest.approx(expected, abs=1e-4)
    assert greedy == expected_greedy


def test_a_greedy_continuation_is_told_as_by_the_harness_over_transformers(
    ours: Any, theirs: Any
) -> None:
    context = "the quick brown"
    [generated] = ours.generate_until([ask(context, {"max_gen_toks": 6})])
    pair, longer = (context, generated), (context, generated + " fox")
    assert likelihoods(ours, [pair, longer])[1] == likelihoods(theirs, [pair, longer])[1]


def test_rolling_likelihoods_are_those_of_the_harness_over_transformers(
    ours: Any, theirs: Any
) -> None:
    source = random.Random(1)
    requests = [ask(text(source, words)) for words in (1, 5, 20, 40, 100)]
    expected = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    found = ours.loglikelihood_rolling(requests, disable_tqdm=True)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"until": ["ov", "zzz"]}, {"until": "?"}])
def test_generated_text_but_for_its_spaces_is_that_of_the_harness_over_transformers(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    source = random.Random(2)
    contexts = [text(source, words) for words in (1, 5, 20, 40, 100)]
    requests = [ask(c, {"until": [], "max_gen_toks": 12, **settings}) for c in contexts]
    expected = theirs.generate_until(requests, disable_tqdm=True)
    found = ours.generate_until(requests, disable_tqdm=True)
    assert list(map(unspaced, found)) == list(map(unspaced, expected))


def unspaced(text: str) -> str:
    return "".join(text.split())


# ---------------------------------------------------------------- the tasks of the harness


LAMBADA = [
    {"text": "The quick fox jumps over the lazy dog"},
    {"text": "The brown fox isn't the dog, he said. Why? The lazy dog jumps over the fox"},
    {"text": "It is the dog's nose"},
]
PIQA = [
    {"goal": "Wake a lazy dog", "sol1": "Jump over it.", "sol2": "Why, it isn't brown", "label": 0},
    {"goal": "Find the nose of a fox", "sol1": "12:30", "sol2": "Over the dog's.", "label": 1},
]
HELLASWAG = [
    {
        "ind": 4,
        "activity_label": "Jumping",
        "ctx_a": "The fox [title] jumps.",
        "ctx_b": "the dog",
        "ctx": "The fox [title] jumps. the dog",
        "endings": ["is lazy.", "[step] isn't brown.", "said: the nose", "jumps over it."],
        "source_id": "invented~1",
        "split": "val",
        "split_type": "indomain",
        "label": "3",
    },
    {
        "ind": 9,
        "activity_label": "Resting",
        "ctx_a": "It is 12:30 and the dog is lazy.",
        "ctx_b": "",
        "ctx": "It is 12:30 and the dog is lazy.",
        "endings": ["It jumps.", "The fox said why.", "He isn't quick.", "Brown over brown."],
        "source_id": "invented~2",
        "split": "val",
        "split_type": "zeroshot",
        "label": "0",
    },
]
TASKS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "lambada": ("lambada/lambada_openai.yaml", "test", LAMBADA),
    "piqa": ("piqa/piqa.yaml", "validation", PIQA),
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation", HELLASWAG),
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tasks as the harness defines them, but for where the examples are."""
    import lm_eval.tasks

    folder = tmp_path_factory.mktemp("tasks")
    for name, (definition, split, rows) in TASKS.items():
        examples = folder / f"{name}.jsonl"
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        examples.write_text(lines, encoding="utf-8")
        files = {"data_files": {split: str(examples)}, "cache_dir": str(folder / "cache")}
        local = {
            "include": str(Path(lm_eval.tasks.__file__).parent / definition),
            "task": f"local_{name}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": files,
            "training_split": None,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
    return folder


def evaluate(model: Any, tasks: Path, names: list[str], **options: Any) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    result: dict[str, Any] = lm_eval.simple_evaluate(
        model, tasks=[f"local_{name}" for name in names], task_manager=manager, **options
    )
    return result


def test_tasks_have_the_results_of_the_harness_over_transformers(
    ours: Any, theirs: Any, tasks: Path
) -> None:
    found = evaluate(ours, tasks, list(TASKS), bootstrap_iters=10)
    expected = evaluate(theirs, tasks, list(TASKS), bootstrap_iters=10)
    for name, (_, _, rows) in TASKS.items():
        task = f"local_{name}"
        assert found["results"][task]["sample_len"] == len(rows)
        assert figures(found, task) == pytest.approx(figures(expected, task), rel=1e-4)
        for one, other in zip(found["samples"][task], expected["samples"][task], strict=True):
            assert one["arguments"] == other["arguments"]
            values, greedy = zip(*one["filtered_resps"], strict=True)
            other_values, other_greedy = zip(*other["filtered_resps"], strict=True)
            assert values == pytest.approx(other_values, abs=1e-4)
            assert greedy == other_greedy


def figures(result: dict[str, Any], task: str) -> dict[str, float]:
    return {k: v for k, v in result["results"][task].items() if not isinstance(v, str)}


def test_the_harness_finds_the_model_by_name_and_says_what_it_is(folder: Path, tasks: Path) -> None:
    register()
    result = evaluate("gpt1", tasks, ["piqa"], model_args=f"model={folder},device=cpu", device="x")
    assert result["results"]["local_piqa"]["acc,none"] in (0, 0.5, 1)
    about = {
        "model": "gpt1",
        "model_num_parameters": register()(folder).network.num_parameters(),
        "model_dtype": "torch.float32",
        "tokenizer_mode": "bert",
        "prefix_token": "<|endoftext|>",
    }
    assert result["config"].items() >= about.items()


# ---------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("batch_size", [1, 3, "auto", "auto:4"])
@pytest.mark.parametrize("batch_tokens", [1, 100])
def test_neither_batches_nor_order_change_a_result(
    folder: Path,
    ours: Any,
    batch_size: int | str,
    batch_tokens: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = register()(model=folder, batch_size=batch_size)
    values, greedy = likelihoods(ours, pairs())
    monkeypatch.setattr(shared_prefix, "BATCH_TOKENS", batch_tokens)
    shuffled_values, shuffled_greedy = likelihoods(other, pairs()[::-1])
    assert shuffled_values[::-1] == pytest.approx(values, abs=1e-5)
    assert shuffled_greedy[::-1] == greedy
    requests = [ask(c, {"max_gen_toks": 5, "until": u}) for c, _ in pairs() for u in ("?", "e")]
    expected = ours.generate_until(requests, disable_tqdm=True)
    assert other.generate_until(requests[::-1], disable_tqdm=True)[::-1] == expected


@pytest.mark.parametrize("mode", ["folder", "original"])
def test_context_and_continuation_are_encoded_as_one_text(
    mode: str, request: pytest.FixtureRequest
) -> None:
    model = register()(model=request.getfixturevalue(mode))
    lm = LanguageModel(model.network, model.words)
    prefix = model.prefix_token_id
    for context, continuation in [("the lazy", " dog's"), ("Why?\n", "the fox"), ("the  ", "dog")]:
        [(value, _)] = model.loglikelihood([ask(context, continuation)])
        whole = lm.score(context + continuation).sum
        assert value == pytest.approx(whole - lm.score(context).sum, abs=1e-5)
    straddling = [("the qui", "ck fox"), ("", "ck fox"), (" \n", "the fox"), ("qui", "ck")]
    starts = [1, 0, 0, 0]  # tokens that end within the context
    for (context, continuation), start in zip(straddling, starts, strict=True):
        ids = model.words.encode(context + continuation)
        [(value, _)] = model.loglikelihood([ask(context, continuation)])
        [score] = score_ids(model.network, [ids if start else [prefix, *ids]])
        assert value == pytest.approx(sum(score.log_probs[max(1, start) :]), abs=1e-5)


def test_the_choices_of_a_question_share_one_reading_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: HarnessModel = register()(model=folder)
    question, choices = " ".join(WORDS[:6]), [" the", " fox", " nose", " lazy dog"]
    alone = [model.loglikelihood([ask(question, choice)])[0] for choice in choices]
    read: list[int] = []
    hidden = model.network.hidden
    monkeypatch.setattr(
        model.network,
        "hidden",
        lambda ids, **options: read.append(ids.numel()) or hidden(ids, **options),
    )
    together = model.loglikelihood([ask(question, choice) for choice in choices])
    assert [v for v, _ in together] == pytest.approx([v for v, _ in alone], abs=1e-5)
    [tokens] = read
    sizes = [len(model.words.encode(choice)) for choice in choices]
    assert tokens == len(model.words.encode(question)) + sum(size - 1 for size in sizes)


@given(st.integers(0, 60), st.integers(1, 20))
def test_the_windows_of_a_long_text_are_those_of_the_harness(length: int, n_positions: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    ids = list(range(100, 100 + length))
    windows = get_rolling_token_windows(ids, 1, max_seq_len=n_positions, context_len=1)
    expected = [make_disjoint_window(window) for window in windows]
    assert [tuple(part) for part in cut_to_fit([1], ids, n_positions)] == expected


def test_a_continuation_longer_than_the_positions_is_scored_in_windows(ours: Any) -> None:
    long = " " + text(random.Random(5), 40)
    [(value, is_greedy)] = ours.loglikelihood([ask("the", long)])
    ids = ours.words.encode("the" + long)
    [score] = score_ids(ours.network, [ids], stride=POSITIONS)
    assert len(ids) > 2 * POSITIONS
    assert (value, is_greedy) == (pytest.approx(score.sum), False)


def test_an_empty_continuation_is_certain(ours: Any) -> None:
    asked = [ask("the fox", ""), ask("", ""), ask("the fox", " \n")]
    assert ours.loglikelihood(asked) == [(0.0, True)] * 3
    assert ours.loglikelihood_rolling([ask("")]) == [0.0]


def trained(merges: int, text: str, *special: str, mode: str = "bert") -> Tokenizer:
    tokenizer = Tokenizer.train([text], merges=merges, mode=mode, min_frequency=1)
    tokenizer.add_special_tokens(special)
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "piece"),
    [
        (trained(9, "a dog.", "<|endoftext|>", mode="original"), "<|endoftext|>"),
        (trained(9, "a dog.", "<pad>", mode="original"), "\n</w>"),
        (trained(9, "a dog."), ".</w>"),
        (trained(9, "a dog"), "<unk>"),
    ],
)
def test_an_empty_context_is_the_end_of_a_text_a_line_or_a_sentence(
    tokenizer: Tokenizer, piece: str, tmp_path: Path
) -> None:
    model: HarnessModel = register()(model=save(tmp_path / "m", tokenizer))
    prefix = tokenizer.token_id(piece)
    assert model.prefix_token_id == prefix
    [score] = score_ids(model.network, [[prefix, *tokenizer.encode("a dog")]])
    assert model.loglikelihood([ask("", "a dog")])[0][0] == pytest.approx(score.sum)
    assert model.loglikelihood_rolling([ask("a dog")]) == pytest.approx([score.sum])


def test_a_text_that_begins_with_the_prefix_token_brings_its_own(tmp_path: Path) -> None:
    tokenizer = trained(9, "a dog.")
    model: HarnessModel = register()(model=save(tmp_path / "m", tokenizer))
    [score] = score_ids(model.network, [tokenizer.encode(". a dog")])
    assert model.loglikelihood([ask("", ". a dog")])[0][0] == pytest.approx(score.sum)


# ---------------------------------------------------------------- generated text


@pytest.mark.parametrize(
    ("settings", "length"),
    [({}, 16), ({"max_gen_toks": 7, "max_new_tokens": 9}, 7), ({"max_tokens": 45}, 45)],
)
def test_text_is_that_of_generate(ours: Any, settings: dict[str, int], length: int) -> None:
    lm = LanguageModel(ours.network, ours.words)
    expected = lm.generate("the quick", max_new_tokens=length, include_prompt=False)
    assert ours.generate_until([ask("the quick", settings)]) == [expected]


def test_an_empty_context_is_continued(ours: Any, original: Path) -> None:
    assert ours.generate_until([ask("", {"max_gen_toks": 3})]) != [""]
    assert register()(original).generate_until([ask("", {"max_gen_toks": 3})]) != [""]


def test_until_is_compared_in_the_form_the_model_writes(original: Path) -> None:
    words = Tokenizer.load(original)
    text = words.decode(words.encode("He is lazy. \n\n \n Fox: why? he said."))
    for asked in ("\n\nFox:", "Fox:", "\n", ".\n\n", " Why?", "said"):
        assert written(asked) in text
    assert written("Q: ") == "q: "


@pytest.mark.parametrize(
    "settings", [{"do_sample": True}, {"temperature": 0.5}, {"num_beams": 4}, {"x": 1}]
)
def test_more_than_greedy_decoding_is_refused(ours: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ask for more than greedy decoding until a string"):
        ours.generate_until([ask("the", settings)])


def test_settings_of_sampling_that_is_off_are_no_matter(ours: Any) -> None:
    off = {"do_sample": False, "temperature": 0.7, "top_k": 5, "until": None, "max_gen_toks": 3}
    plain = {"max_gen_toks": 3}
    one, other = ours.generate_until([ask("the", off), ask("the", plain)])
    assert one == other


# ---------------------------------------------------------------- making it


@pytest.mark.parametrize(("batch_size", "most"), [(0, None), ("auto", 0)])
def test_a_batch_of_nothing_is_refused(folder: Path, batch_size: Any, most: int | None) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0 but must be at least 1, or auto"):
        register()(folder, batch_size=batch_size, max_batch_size=most)


def test_model_args_take_precedence_over_flags(folder: Path) -> None:
    flags = {"batch_size": 4, "device": "nowhere", "max_batch_size": None}
    model = register().create_from_arg_string(f"model={folder},device=cpu,dtype=bfloat16", flags)
    assert model.generated_at_once == 4
    assert str(model.network.dtype) == "torch.bfloat16"


def test_without_the_harness_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gpt1\[harness\]"'):
        register.__wrapped__()
