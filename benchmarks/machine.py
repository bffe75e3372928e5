"""What a result was measured on, and the limits the machine sets.

torch is imported only where it is used: a process that does without is measured without.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import stopwatch
from gpt1.native.library import kernels

if TYPE_CHECKING:
    import torch

PACKAGES = ("gpt1", "torch", "transformers", "tokenizers", "numpy")
PEERS = ("litgpt", "llama-cpp-python", "ctranslate2", "onnxruntime")
"""Packages whose versions are told as well, where they are installed."""


def facts() -> dict[str, Any]:
    """Processor and the instructions gpt1 uses of it, cores, memory, threads, load, versions."""
    import torch

    return {
        "cpu": _cpu_model(),
        "kernels": kernels(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "torch_threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        **{name: version for name in PEERS if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """As the kernel names it; elsewhere than on Linux, the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bandwidth_probe(size_bytes: int, device: torch.device | None = None) -> Callable[[], float]:
    """A function that measures how fast memory is read, in bytes per second.

    It sums a float32 tensor, or its squares, with all threads: of the operations tried, those that
    read fastest. On a CPU the tensor lies in huge pages where the system has them, as our weights
    do, and is made anew each time, as it may not get them: the limit would be too low.

    Args:
        size_bytes: Of the tensor; many times the processor's caches.
        device: Whose memory; default: of the CPU.
    """
    import torch

    from gpt1.native import gradients
    from gpt1.native.weights import Arena

    def measure() -> float:
        if device is None:
            data = torch.from_numpy(Arena(size_bytes).take((size_bytes // 4,), "float32")).fill_(1)
        else:
            data = torch.ones(size_bytes // 4, device=device)
        reads = [lambda: float(data.sum())]  # waits for the device
        if device is None and gradients.available():
            reads.append(lambda: gradients.sum_of_squares(data))
        return data.nbytes / min(stopwatch(read)[0] for read in reads * 3)

    return measure


def product_probe(side: int) -> Callable[[], float]:
    """A function that measures how fast matrices of float32 are multiplied, in operations/s.

    By torch, or by what gpt1 multiplies with: the faster.

    Args:
        side: Rows and columns of the matrices.
    """
    import torch

    from gpt1.native.products import product

    matrix = torch.full((side, side), 1 / side)
    ways = (partial(torch.mm, matrix, matrix), partial(product, matrix, matrix))

    def measure() -> float:
        return 2 * side**3 / min(stopwatch(way)[0] for way in ways * 3)

    return measure
