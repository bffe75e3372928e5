"""What accelerators can do: published figures as data, each with its source; see `gpt1.scaling`.

Rates are dense, without sparsity. Bandwidths of links are of one direction, half of what data
sheets add up. Efficiencies and prices are assumptions and say so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Device:
    """An accelerator, the node it sits in, and what it is assumed to reach.

    Attributes:
        title: Its name in full.
        bf16_flops: Peak rate of matrix products in bfloat16, operations per second; None: it has
            no units for that.
        fp32_flops: Peak rate in float32, without TF32, which PyTorch does not use by itself.
        memory_bytes: Of one device.
        memory_bandwidth: Bytes per second between a device and its memory.
        local_bandwidth: Bytes per second from one device to the others of its node.
        node_bandwidth: Bytes per second from a node to all others, over all its network cards.
        per_node: Devices in a node.
        usd_per_hour: Assumed price of one device; None: nobody rents it out.
        source: Where the figures above are published, or how they were measured.
        matmul_efficiency: Assumed share of the peak that matrix products reach.
        memory_efficiency: Assumed share of the memory's bandwidth that other kernels reach.
        link_efficiency: Assumed share of a link's bandwidth that collectives reach.
    """

    title: str
    bf16_flops: float | None
    fp32_flops: float
    memory_bytes: float
    memory_bandwidth: float
    local_bandwidth: float
    node_bandwidth: float
    per_node: int = 8
    usd_per_hour: float | None
    source: str
    matmul_efficiency: float = 0.6
    memory_efficiency: float = 0.8
    link_efficiency: float = 0.8

    def peak_flops(self, precision: str) -> float | None:
        """Peak rate in "bf16" or "fp32", operations per second, or None."""
        return self.bf16_flops if precision == "bf16" else self.fp32_flops


DEVICES = {
    "p6000": Device(
        title="Quadro P6000 24 GB, PCIe",
        bf16_flops=None,
        fp32_flops=12e12,
        memory_bytes=24e9,
        memory_bandwidth=432e9,
        local_bandwidth=15.75e9,
        node_bandwidth=1.25e9,
        usd_per_hour=None,
        source="NVIDIA Quadro P6000 data sheet; PCIe 3.0 x16; 10 Gb/s Ethernet",
    ),
    "v100": Device(
        title="V100 SXM2 32 GB",
        bf16_flops=None,
        fp32_flops=15.7e12,
        memory_bytes=32e9,
        memory_bandwidth=900e9,
        local_bandwidth=150e9,
        node_bandwidth=50e9,
        usd_per_hour=0.5,
        source="NVIDIA V100 and DGX-1 data sheets: 4 x 100 Gb/s InfiniBand a node",
    ),
    "a100-40": Device(
        title="A100 SXM 40 GB",
        bf16_flops=312e12,
        fp32_flops=19.5e12,
        memory_bytes=40e9,
        memory_bandwidth=1555e9,
        local_bandwidth=300e9,
        node_bandwidth=200e9,
        usd_per_hour=1.3,
        source="NVIDIA A100 and DGX A100 data sheets: 8 x 200 Gb/s InfiniBand a node",
    ),
    "a100-80": Device(
        title="A100 SXM 80 GB",
        bf16_flops=312e12,
        fp32_flops=19.5e12,
        memory_bytes=80e9,
        memory_bandwidth=2039e9,
        local_bandwidth=300e9,
        node_bandwidth=200e9,
        usd_per_hour=1.6,
        source="NVIDIA A100 and DGX A100 data sheets: 8 x 200 Gb/s InfiniBand a node",
    ),
    "h100": Device(
        title="H100 SXM 80 GB",
        bf16_flops=989e12,
        fp32_flops=67e12,
        memory_bytes=80e9,
        memory_bandwidth=3.35e12,
        local_bandwidth=450e9,
        node_bandwidth=400e9,
        usd_per_hour=2.5,
        source="NVIDIA H100 and DGX H100 data sheets: 8 x 400 Gb/s InfiniBand a node",
    ),
    "h200": Device(
        title="H200 SXM 141 GB",
        bf16_flops=989e12,
        fp32_flops=67e12,
        memory_bytes=141e9,
        memory_bandwidth=4.8e12,
        local_bandwidth=450e9,
        node_bandwidth=400e9,
        usd_per_hour=3.0,
        source="NVIDIA H200 and DGX H200 data sheets: 8 x 400 Gb/s InfiniBand a node",
    ),
    "epyc-core": Device(
        title="one core of an AMD EPYC (Zen 3, AVX2)",
        bf16_flops=None,
        fp32_flops=80e9,
        memory_bytes=4e9,
        memory_bandwidth=16.7e9,
        local_bandwidth=1.48e9,
        node_bandwidth=1.48e9,
        per_node=2,
        usd_per_hour=None,
        source="measured: python -m benchmarks step",
        matmul_efficiency=1.0,
        memory_efficiency=1.0,
        link_efficiency=1.0,
    ),
}
"""Accelerators by the name ``gpt1 estimate --device`` takes."""
