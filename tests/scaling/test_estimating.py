"""The model of a training run against arithmetic by hand, and against what others measured."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from benchmarks.scaling import MEASURED, Measured, ratio

from gpt1.config import GPTConfig
from gpt1.errors import ConfigError
from gpt1.flops import training_flops_per_token
from gpt1.scaling import DEVICES, SIZES, Assumptions, Device, Plan, estimate
from gpt1.scaling.memory import parameters, table_parameters

SLOW = replace(
    DEVICES["h100"],
    bf16_flops=1e15,
    memory_bandwidth=1e12,
    local_bandwidth=1e11,
    node_bandwidth=2e10,
    matmul_efficiency=0.5,
    memory_efficiency=0.5,
    link_efficiency=1.0,
)
INSTANT = Assumptions(latency_s=0.0, launch_s=0.0, overlap=0.0)


def plan(**changes: object) -> Plan:
    settings = {"model": SIZES["117M"], "gpus": 8, "batch_size": 64, "micro_batch_size": 8}
    return Plan(**{**settings, **changes})  # type: ignore[arg-type]


def test_no_torch_is_loaded() -> None:
    code = "import sys, gpt1.scaling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_products_take_their_operations_over_the_rate_that_is_reached() -> None:
    time = estimate(plan(), INSTANT, SLOW).time
    flops = training_flops_per_token(SIZES["117M"], 512) * 8 * 512
    assert time.products == pytest.approx(flops / 0.5e15)


def test_checkpointing_computes_the_forward_pass_of_the_blocks_again() -> None:
    plain, again = (
        estimate(plan(activation_checkpointing=on), INSTANT, SLOW).time for on in (False, True)
    )
    blocks = 2 * 12 * 12 * 768**2 + 4 * 12 * 768 * 512
    assert again.products - plain.products == pytest.approx(blocks * 8 * 512 / 0.5e15)
    assert again.memory > plain.memory


def test_the_update_moves_forty_bytes_a_parameter_that_is_held() -> None:
    moved = parameters(SIZES["117M"]) * 40 / 0.5e12
    assert estimate(plan(), INSTANT, SLOW).time.update == pytest.approx(moved)
    share = estimate(plan(parallel="fsdp"), INSTANT, SLOW).time.update
    assert share == pytest.approx(moved / 8)


def test_ddp_sends_the_gradients_twice_around_the_ring() -> None:
    found = estimate(plan(), INSTANT, SLOW)
    wire = 2 * 7 / 8 * 4 * parameters(SIZES["117M"]) / 1e11
    assert found.communication_s == pytest.approx(wire)
    assert found.time.exposed_communication == pytest.approx(wire)


def test_fsdp_gathers_weights_twice_and_scatters_gradients() -> None:
    found = estimate(plan(parallel="fsdp"), INSTANT, SLOW)
    model = SIZES["117M"]
    tables = table_parameters(model)
    blocks = parameters(model) - tables
    size = 2 * (2 * blocks) + 2 * tables + 4 * (blocks + tables)
    assert found.communication_s == pytest.approx(7 / 8 * size / 1e11)


def test_weights_are_gathered_for_every_micro_batch_and_scattered_once() -> None:
    one, two = (
        estimate(plan(parallel="fsdp", micro_batch_size=size), INSTANT, SLOW).communication_s
        for size in (8, 4)
    )
    tables = table_parameters(SIZES["117M"])
    blocks = parameters(SIZES["117M"]) - tables
    assert two - one == pytest.approx(7 / 8 * (4 * blocks + 2 * tables) / 1e11)


def test_only_the_gradient_of_the_tables_is_waited_for_where_all_else_hides() -> None:
    hidden = replace(INSTANT, overlap=1.0)
    found = estimate(plan(), hidden, SLOW)
    tables = 2 * 7 / 8 * 4 * table_parameters(SIZES["117M"]) / 1e11
    assert found.time.exposed_communication == pytest.approx(tables)


def test_between_nodes_the_network_counts() -> None:
    found = estimate(plan(gpus=16), INSTANT, SLOW)
    wire = 2 * 15 / 16 * 4 * parameters(SIZES["117M"]) / 2e10
    assert found.communication_s == pytest.approx(wire)


def test_one_device_talks_to_nobody() -> None:
    assert estimate(plan(gpus=1)).communication_s == 0.0


def test_a_small_model_waits_for_python() -> None:
    tiny = GPTConfig(n_layer=2, n_head=2, n_embd=64, n_positions=32, vocab_size=100)
    time = estimate(plan(model=tiny, gpus=1, batch_size=1)).time
    assert time.launch > 0.5 * time.total


def test_compiled_blocks_move_less() -> None:
    assert estimate(plan(compile=True)).time.memory < estimate(plan()).time.memory


def test_speed_mfu_time_and_price_follow_from_the_time_of_a_step() -> None:
    found = estimate(plan(tokens=1e9, usd_per_hour=3.0))
    speed = 64 * 512 / found.time.total
    assert found.tokens_per_s == pytest.approx(speed)
    flops = training_flops_per_token(SIZES["117M"], 512)
    assert found.mfu == pytest.approx(flops * speed / (8 * 989e12))
    assert found.run_s == pytest.approx(1e9 / speed)
    assert found.usd == pytest.approx(1e9 / speed / 3600 * 8 * 3.0)


def test_without_tokens_or_a_price_there_is_no_price() -> None:
    assert estimate(plan()).usd is None
    assert estimate(plan(device="p6000", precision="fp32", tokens=1e9)).usd is None


def test_the_most_sequences_that_fit_are_taken() -> None:
    large = plan(model=SIZES["1.3B"], batch_size=512, micro_batch_size=None)
    found = estimate(large)
    micro = found.plan.micro_batch_size
    assert micro is not None
    assert found.fits
    assert not estimate(replace(large, micro_batch_size=2 * micro)).fits


def test_what_does_not_fit_is_said() -> None:
    found = estimate(plan(model=SIZES["7B"], micro_batch_size=None))
    assert not found.fits
    assert found.plan.micro_batch_size == 1


def speeds(size: str) -> list[float]:
    """Tokens a second of 1,024 sequences on 1, 2, 4, ... 1,024 devices."""
    large = plan(model=SIZES[size], batch_size=1024, micro_batch_size=None, parallel="fsdp")
    return [estimate(replace(large, gpus=2**power)).tokens_per_s for power in range(11)]


def test_a_large_model_gains_from_every_device_but_less_than_ideal() -> None:
    speed = speeds("1.3B")
    assert speed == sorted(speed)
    assert speed[-1] < 0.9 * 1024 * speed[0]


def test_a_small_model_becomes_slower_with_too_many_devices() -> None:
    speed = speeds("117M")
    assert speed[-1] < max(speed)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.model} {row.gpus} {row.device}")
def test_the_speed_others_measured_is_met_within_a_quarter(row: Measured) -> None:
    assert 0.75 < ratio(row) < 1.25


def test_the_papers_month_is_met_within_a_quarter() -> None:
    run = plan(device="p6000", precision="fp32", micro_batch_size=None, tokens=1.2e11)
    assert 0.75 * 30 < (estimate(run).run_s or math.nan) / 86_400 < 1.25 * 30


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_a_data_sheet_is_complete(device: Device) -> None:
    assert device.source
    assert all(value > 0 for value in asdict(device).values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": 0}, "gpus is 0 but must be at least 1"),
        ({"gpus": 65}, "gpus is 65 but batch_size is 64: each takes at least one sequence"),
        ({"seq_len": 513}, "seq_len is 513 but the model has 512 positions"),
        ({"device": "h101"}, "device is 'h101' but must be one of p6000, v100"),
        ({"device": "v100"}, "v100 has no units for bf16; use precision fp32"),
        ({"parallel": "tp"}, "parallel is 'tp' but must be 'ddp' or 'fsdp'"),
        ({"precision": "fp8"}, "precision is 'fp8' but must be 'bf16' or 'fp32'"),
        ({"usd_per_hour": -1.0}, "usd_per_hour is -1.0 but must be at least 0"),
    ],
)
def test_an_impossible_plan_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(**changes)
