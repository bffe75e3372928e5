"""What the recipe doctor says about the tutorial's training and about ours, beforehand."""

from __future__ import annotations

from dataclasses import replace

from gpt1.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from gpt1.language_model import LanguageModel
from gpt1.reproduce.findings import Section
from gpt1.reproduce.packing import TutorialPacking
from gpt1.reproduce.recipes import OurRun
from gpt1.reproduce.tutorial_recipe import (
    END_MARKER,
    LEARNING_RATE,
    PACKS_PER_UPDATE,
    PREFIX,
    WARMUP_UPDATES,
    rate_factor,
)
from gpt1.training.checkup import Checkup, examine, marker
from gpt1.training.doctor import RULES, diagnose
from gpt1.training.finetune import prepare_texts


def tutorial_checkup(packing: TutorialPacking, lm: LanguageModel) -> Checkup:
    """The tutorial's recipe as plain data. All its epochs are one stream of packs, so one epoch.

    Args:
        packing: Its packs.
        lm: The model it starts from.
    """
    updates = max(1, packing.updates)
    training = TrainingConfig(
        lr=LEARNING_RATE,
        max_steps=updates,
        batch_size=PACKS_PER_UPDATE,
        optimizer=OptimizerConfig(weight_decay=0.0, clip_norm=0.0),
        schedule=ScheduleConfig(warmup_steps=WARMUP_UPDATES),
    )
    run = examine(
        lm.model,
        training,
        sequences=max(1, packing.packs),
        tokens=packing.packed_ids,
        fine_tuned=True,
    )
    moving = (n for n in range(updates, 0, -1) if rate_factor(n - 1) > 0)
    return replace(
        run,
        last_moving_step=next(moving, 0),
        texts=packing.jokes,
        cut=packing.cut,
        dropped=packing.too_long + packing.unfinished_jokes,
        markers=tuple(
            marker(text, lm.tokenizer, texts=packing.jokes) for text in (PREFIX, END_MARKER)
        ),
        ends=False,
    )


def our_checkup(run: OurRun) -> Checkup:
    """Our recipe as ``gpt1 finetune lm`` sees it."""
    texts = replace(run.texts, tokenizer_mode="bert")  # as of the walk
    return prepare_texts(run.task.start, texts, run.training).checkup


def diagnosis_section(tutorial: Checkup, ours: Checkup) -> Section:
    """What each rule says about both recipes."""
    said = [
        {finding.rule: finding.message for finding in diagnose(run)} for run in (tutorial, ours)
    ]
    names = [rule.__name__.replace("_", "-") for rule in RULES]
    return Section(
        "What the doctor says before it begins",
        ("rule", "tutorial", "gpt1"),
        tuple((name, *(messages.get(name) for messages in said)) for name in names),
    )
