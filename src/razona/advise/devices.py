"""Machines: how much memory they have, how fast they multiply and how fast they read."""

import os
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One processor that a process trains on."""

    name: str
    kind: Literal["cpu", "gpu"]
    memory: int
    """Bytes that `nvidia-smi` reports, less than the label says where error correction takes some; a CPU's is the
    system's."""
    bf16_flop_s: float | None
    """Dense bf16 FLOP/s of large products, fp32 sums. None: measured when it is asked for, on this machine."""
    bandwidth: float | None
    """Bytes/s of memory. None: measured when it is asked for, on this machine."""
    source: str
    """Where the last two come from."""
    has_short_products: bool = False
    """A CPU that multiplies in bf16 by itself (AMX), which `train.precision: auto` then asks for."""

    @property
    def memory_gib(self) -> float:
        """Its memory in GiB."""
        return self.memory / GIB


def _gpu(name: str, mib: int, teraflop_s: float, gigabytes_s: float, source: str) -> Device:
    return Device(
        name=name,
        kind="gpu",
        memory=mib * MIB,
        bf16_flop_s=teraflop_s * 1e12,
        bandwidth=gigabytes_s * 1e9,
        source=source,
    )


GPUS: dict[str, Device] = {
    device.name: device
    for device in (
        # A T4 has no bf16 units: torch computes such products in fp32, at a rate of 8.1. Its fp16 rate is 65.
        _gpu("T4", 15360, 8.1, 320, "NVIDIA T4 datasheet (fp32 rate: the chip has no bf16)"),
        _gpu("L4", 23034, 121, 300, "NVIDIA L4 datasheet (242 with sparsity)"),
        _gpu("A10G", 23028, 70, 600, "NVIDIA A10G datasheet (140 with sparsity)"),
        _gpu("RTX 3090", 24576, 71, 936, "NVIDIA GA102 whitepaper, table 2 (bf16, fp32 sums)"),
        _gpu("RTX 4090", 24564, 165.2, 1008, "NVIDIA Ada whitepaper, table 2 (bf16, fp32 sums)"),
        _gpu("A100 40GB", 40960, 312, 1555, "NVIDIA A100 datasheet"),
        _gpu("A100 80GB", 81920, 312, 2039, "NVIDIA A100 datasheet (SXM)"),
        _gpu("H100 80GB", 81559, 989.4, 3350, "NVIDIA H100 datasheet (SXM; 1,979 with sparsity)"),
        _gpu("H200 141GB", 143771, 989.4, 4800, "NVIDIA H200 datasheet (SXM; 1,979 with sparsity)"),
    )
}
"""The GPUs that estimates are made for, by name."""


def this_device() -> Device:
    """Give what a run on this machine would train on: its first NVIDIA GPU, else its CPU."""
    line = _first_gpu()
    if line is None:
        return cpu()
    name, _, mib = line.rpartition(",")
    known = _named_like(name, int(mib))
    if known is not None:
        return replace(known, name=name.strip(), memory=int(mib) * MIB)
    return Device(
        name=name.strip(), kind="gpu", memory=int(mib) * MIB, bf16_flop_s=None, bandwidth=None, source="measured"
    )


def cpu() -> Device:
    """Give this machine's CPU; its memory is what the system and its control group let a process have."""
    return Device(
        name="CPU",
        kind="cpu",
        memory=_system_memory(),
        bf16_flop_s=None,
        bandwidth=None,
        source="measured",
        has_short_products=_has_amx(),
    )


def device_named(name: str) -> Device | None:
    """Give a device by a name such as `rtx 4090`, `A100-80GB` or `cpu`; None where none is called that."""
    wanted = _letters(name)
    if wanted == "cpu":
        return cpu()
    fitting = [device for device in GPUS.values() if wanted in (_letters(device.name), _letters(device.name) + "gb")]
    return (
        fitting[0] if fitting else next((one for one in GPUS.values() if _letters(one.name).startswith(wanted)), None)
    )


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _named_like(name: str, mib: int) -> Device | None:
    """Give the table's row for a name that nvidia-smi gives, of the nearest memory where several fit."""
    words = set(name.replace("-", " ").upper().split())
    fitting = [
        device for device in GPUS.values() if set(device.name.upper().split()[: 1 + ("RTX" in device.name)]) <= words
    ]
    return min(fitting, key=lambda device: abs(device.memory - mib * MIB), default=None)


def _first_gpu() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line for line in done.stdout.splitlines() if line.rpartition(",")[2].strip().isdigit()]
    return lines[0] if done.returncode == 0 and lines else None


def _system_memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limit = file.read().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _has_amx() -> bool:
    """Say what `razona.models.arithmetic.wants_short_products` asks torch."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return any(line.startswith("flags") and " amx_bf16" in line for line in file)
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device is."""

    flop_s: float
    bandwidth: float
    source: str


def rates_of(device: Device) -> Rates:
    """Give a device's rates; those that no table has are measured on this machine, in half a second."""
    if device.bf16_flop_s is not None and device.bandwidth is not None:
        return Rates(flop_s=device.bf16_flop_s, bandwidth=device.bandwidth, source=device.source)
    return _measured(device.kind)


@cache
def _measured(kind: str) -> Rates:
    import time

    import torch

    from razona.models.arithmetic import short_products, wants_short_products

    place = torch.device("cuda" if kind == "gpu" else "cpu")
    side = 8192 if kind == "gpu" else 1024
    dtype = torch.bfloat16 if kind == "gpu" else torch.float32
    factor = torch.ones(side, side, device=place, dtype=dtype)
    source = torch.ones((1024 if kind == "gpu" else 64) * MIB // 4, device=place)
    target = torch.empty_like(source)

    def best(act) -> float:
        act()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            act()
            if kind == "gpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return min(times)

    with short_products(wants_short_products("auto")):
        product = best(lambda: factor @ factor)
    copy = best(lambda: target.copy_(source))
    return Rates(
        flop_s=2.0 * side**3 / product,
        bandwidth=2.0 * source.numel() * 4 / copy,
        source=f"measured here: a product of {side} x {side}, a copy of {source.numel() * 4 // MIB} MiB",
    )
