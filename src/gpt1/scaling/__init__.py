"""What a training run costs on many accelerators: time of a step, memory, money. No torch needed.

A model of the step that `gpt1.training.loop` makes, from the shape of the network and the data
sheet of the device. ``docs/scaling.md`` derives it and compares it with measurements.
"""

from gpt1.scaling.estimating import Estimate, estimate
from gpt1.scaling.hardware import DEVICES, Device
from gpt1.scaling.plan import SIZES, Plan
from gpt1.scaling.step import Assumptions

__all__ = ["DEVICES", "SIZES", "Assumptions", "Device", "Estimate", "Plan", "estimate"]
