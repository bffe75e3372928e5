"""``gpt1 estimate`` says what the Python function says."""

from __future__ import annotations

import json

import pytest

from gpt1.cli.main import main
from gpt1.config import GPTConfig
from gpt1.scaling import DEVICES, SIZES, Plan, estimate

Capture = pytest.CaptureFixture[str]


def test_json_has_the_figures_of_the_function(capsys: Capture) -> None:
    words = "estimate --size 1.3B --gpus 16 --device a100-80 --parallel fsdp --tokens 1e10 --json"
    assert main(words.split()) == 0
    told = json.loads(capsys.readouterr().out)
    plan = Plan(model=SIZES["1.3B"], gpus=16, device="a100-80", parallel="fsdp", tokens=1e10)
    found = estimate(plan)
    assert told["tokens_per_s"] == found.tokens_per_s
    assert told["usd"] == found.usd
    assert told["memory"]["activations"] == found.memory.activations


def test_flags_of_the_model_describe_any_shape(capsys: Capture) -> None:
    words = "--model.n-layer 2 --model.n-embd 64 --model.n-head 2 --batch-size 8 --json"
    assert main(["estimate", *words.split()]) == 0
    shape = GPTConfig(n_layer=2, n_embd=64, n_head=2)
    found = estimate(Plan(model=shape, batch_size=8))
    assert json.loads(capsys.readouterr().out)["time"]["products"] == found.time.products


def test_the_table_names_parts_and_price(capsys: Capture) -> None:
    assert main(["estimate", "--size", "117M", "--batch-size", "64", "--tokens", "1.2e11"]) == 0
    out = capsys.readouterr().out
    assert "8 x H100 SXM 80 GB, ddp, bf16" in out
    assert "exposed communication" in out
    assert "USD at 2.50 USD a device-hour (assumed)" in out


def test_what_does_not_fit_comes_with_advice(capsys: Capture) -> None:
    assert main(["estimate", "--size", "7B"]) == 0
    assert "It does not fit. Try --parallel fsdp" in capsys.readouterr().err


def test_two_shapes_are_one_too_many(capsys: Capture) -> None:
    assert main(["estimate", "--size", "7B", "--model.n-layer", "3"]) == 2
    assert "--size and --model.* both give a shape" in capsys.readouterr().err


def test_the_help_names_every_device(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["estimate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in DEVICES)
