"""Parts of a batch: as asked for, or as a CPU reads them best."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gpt1.config import GPTConfig, TrainingConfig
from gpt1.model import GPT
from gpt1.training.parts import part_size

CONFIG = GPTConfig(vocab_size=5, n_positions=512, n_embd=4, n_layer=1, n_head=1)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"batch_size": 8}, 2),
        ({"batch_size": 8, "seq_len": 64}, 8),
        ({"batch_size": 64, "seq_len": 64}, 16),
        ({"batch_size": 8, "micro_batch_size": 5}, 5),
    ],
)
def test_a_cpu_reads_about_a_thousand_tokens_at_once(settings: dict[str, Any], size: int) -> None:
    assert part_size(GPT(CONFIG), TrainingConfig(**settings)) == size


def test_a_text_longer_than_that_is_read_alone() -> None:
    model = GPT(CONFIG.replace(n_positions=2048))
    assert part_size(model, TrainingConfig(batch_size=8)) == 1


def test_another_device_reads_the_whole_batch() -> None:
    with torch.device("meta"):
        model = GPT(CONFIG)
    assert part_size(model, TrainingConfig(batch_size=8)) == 8
