"""Clients that people have: OpenAI's package, curl, and lm-evaluation-harness."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import yaml

from gpt1.evaluation.harness import register
from gpt1.language_model import LanguageModel, load
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from gpt1.tokenizer import Tokenizer
from live_server import live, lively_models
from lively import TEXT, lively_model

PROMPT = "The quick brown fox"
SETTINGS: dict[str, Any] = {"model": "lively", "prompt": PROMPT, "seed": 4, "max_tokens": 20}


@pytest.fixture(scope="module")
def models() -> Models:
    return lively_models()


@pytest.fixture(scope="module")
def address(models: Models) -> Iterator[str]:
    with live(create_app(models)) as address:
        yield address


@pytest.fixture(scope="module")
def expected(models: Models) -> str:
    lm = models.engine("lively").lm
    return lm.generate(PROMPT, seed=4, max_new_tokens=20, temperature=1.0, include_prompt=False)


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


# ---------------------------------------------------------------- OpenAI's package


def test_openais_package_gets_the_text(client: openai.OpenAI, expected: str) -> None:
    answer = client.completions.create(**SETTINGS, logprobs=2, echo=False)
    [choice] = answer.choices
    assert choice.text == expected
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []).removesuffix("<|endoftext|>") == expected
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 4


def test_openais_package_streams(client: openai.OpenAI, expected: str) -> None:
    chunks = list(
        client.completions.create(**SETTINGS, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == expected
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 4
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_openais_package_without_waiting(address: str, expected: str) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            whole, stream = await asyncio.gather(
                client.completions.create(**SETTINGS),
                client.completions.create(**SETTINGS, stream=True),
            )
            pieces = [chunk.choices[0].text async for chunk in stream]
        return whole.choices[0].text, "".join(pieces)

    assert asyncio.run(ask()) == (expected, expected)


def test_openais_package_knows_our_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temprature: unknown parameter") as error:
        client.completions.create(**SETTINGS, extra_body={"temprature": 1})
    assert error.value.param == "temprature"
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(**{**SETTINGS, "model": "gpt-5"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(**{**SETTINGS, "prompt": "fox " * 99})
    assert long.value.code == "context_length_exceeded"


def test_openais_package_sees_an_error_within_a_stream() -> None:
    models = lively_models()
    with (
        live(create_app(models)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        endless: dict[str, Any] = {"max_tokens": 2048, "extra_body": {"min_tokens": 2048}}
        stream = client.completions.create(**{**SETTINGS, **endless}, stream=True)
        next(stream)
        models.engine("lively").close()
        with pytest.raises(openai.APIError, match="stopped before this was done"):
            list(stream)


def test_openais_package_lists_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["lively"]
    assert client.models.retrieve("lively").object == "model"
    with pytest.raises(openai.NotFoundError, match="no model 'owner/name'"):
        client.models.retrieve("owner/name")


def test_names_of_models_may_hold_slashes(models: Models) -> None:
    engine = models.engine("lively")
    named = Models(engines={"owner/name": Engine(engine.lm)}, tasks={})
    with (
        live(create_app(named)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client,
    ):
        assert client.models.retrieve("owner/name").id == "owner/name"
        answer = client.completions.create(model="owner/name", prompt=PROMPT, max_tokens=1)
        assert answer.model == "owner/name"


# ---------------------------------------------------------------- curl


def curl(*words: str) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_curl_gets_the_text(address: str, expected: str) -> None:
    url, json_type = f"{address}/v1/completions", "Content-Type: application/json"
    answer = json.loads(curl(url, "-H", json_type, "-d", json.dumps(SETTINGS)))
    assert answer["choices"][0]["text"] == expected
    streamed = curl("-N", url, "-H", json_type, "-d", json.dumps({**SETTINGS, "stream": True}))
    *lines, done, _ = streamed.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert done == "data: [DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected
    assert json.loads(curl(f"{address}/v1/models"))["data"][0]["id"] == "lively"


# ---------------------------------------------------------------- lm-evaluation-harness


POSITIONS = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tokenizer that transformers, and so the harness, reads as we do."""
    tokenizer = Tokenizer.train([TEXT] * 3, merges=60, mode="bert")
    tokenizer.add_special_tokens(["<|endoftext|>"])
    lm = LanguageModel(lively_model(tokenizer.vocab_size, POSITIONS), tokenizer)
    folder = tmp_path_factory.mktemp("harness") / "model"
    lm.save(folder)
    return folder


@pytest.fixture(scope="module")
def harness(folder: Path) -> Iterator[Any]:
    """The client of the harness, of a live server."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    models = Models(engines={"served": Engine(load(folder))}, tasks={})
    with live(create_app(models, ServingConfig())) as address:
        yield LocalCompletionsAPI(
            model="served",
            base_url=f"{address}/v1/completions",
            tokenizer_backend="huggingface",
            tokenizer=str(folder),
            max_length=POSITIONS,
            batch_size=7,
            max_retries=1,
        )


def asked(*args: object) -> Any:
    return SimpleNamespace(args=args)


def test_the_harness_gets_the_likelihoods_of_the_model(harness: Any, folder: Path) -> None:
    source = random.Random(0)

    def words(count: int) -> str:
        return " ".join(source.choices(TEXT.split(), k=count))

    pairs = [(words(source.randrange(1, 8)), " " + words(3)) for _ in range(60)]
    pairs += [("", "the fox"), (pairs[0][0], " fox")]
    lm = load(folder)
    found = harness.loglikelihood([asked(*pair) for pair in pairs], disable_tqdm=True)
    ours = register()(model=folder).loglikelihood([asked(*pair) for pair in pairs])
    for (context, continuation), (value, greedy), (other, other_greedy) in zip(
        pairs, found, ours, strict=True
    ):
        assert value == pytest.approx(other, abs=1e-4)
        assert greedy == other_greedy
        if context:
            start = len(lm.tokenizer.encode(context))
            log_probs = lm.score(context + continuation).log_probs[start:]
            assert value == pytest.approx(sum(log_probs), abs=1e-4)


def test_the_harness_is_right_where_the_model_would_end_the_text(
    harness: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness drops the last score, of the token that was generated: there has to be one."""
    lm = load(folder)
    create = harness._create_payload
    ending = {"logit_bias": {str(lm.tokenizer.end_of_text_id): 100}}
    monkeypatch.setattr(harness, "_create_payload", lambda *a, **k: {**create(*a, **k), **ending})
    [(value, _)] = harness.loglikelihood([asked("the lazy", " dog jumps")], disable_tqdm=True)
    assert value == pytest.approx(sum(lm.score("the lazy dog jumps").log_probs[2:]), abs=1e-4)


def test_the_harness_gets_the_texts_of_the_model(harness: Any, folder: Path) -> None:
    lm = load(folder)
    contexts = ["the quick", "the lazy dog's nose", "why? he said"]
    options = {"until": ["."], "max_gen_toks": 9}
    found = harness.generate_until([asked(c, options) for c in contexts], disable_tqdm=True)
    settings: dict[str, Any] = {"max_new_tokens": 9, "stop": ["."], "include_prompt": False}
    assert found == lm.generate(contexts, **settings)


def test_a_task_of_the_harness_has_the_result_of_the_model(
    harness: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    rows = [
        {"goal": "Wake a lazy dog", "sol1": "Jump over.", "sol2": "Why, it isn't", "label": 0},
        {"goal": "Find the nose", "sol1": "12:30", "sol2": "Over the dog's.", "label": 1},
    ]
    examples = tmp_path / "rows.jsonl"
    examples.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "include": str(Path(lm_eval.tasks.__file__).parent / "piqa" / "piqa.yaml"),
        "task": "local_piqa",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {"validation": str(examples)},
            "cache_dir": str(tmp_path / "cache"),
        },
        "training_split": None,
    }
    (tmp_path / "piqa.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    by_server, by_model = (
        lm_eval.simple_evaluate(
            model, tasks=["local_piqa"], task_manager=manager, bootstrap_iters=10
        )["samples"]["local_piqa"]
        for model in (harness, register()(model=folder))
    )
    for one, other in zip(by_server, by_model, strict=True):
        assert one["acc"] == other["acc"]
        for (value, greedy), (other_value, other_greedy) in zip(
            one["filtered_resps"], other["filtered_resps"], strict=True
        ):
            assert value == pytest.approx(other_value, abs=1e-4)
            assert greedy == other_greedy
