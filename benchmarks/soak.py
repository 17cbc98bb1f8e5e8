"""A long run of the embedded model: does memory grow, does anything leak, does a step take longer and longer?

    make bench-soak        writes docs/results/soak.json; 2,000 GRPO steps

The steps are small (4 groups of 8 completions), and the learning rate is so low that the policy stays what it is: a
step of the end has the same work to do as one of the beginning, and a difference between the two is the program's.
Everything else is on: sampling until groups have signal, checkpoints, the guard's measurements, the health rules, and
the processes that judge formulas and programs (`benchmarks/soak_reward.py`).

Wall time on a machine that does something else, too, says little; so the processor's time of each step stands beside
it. The load is in the result.
"""

import argparse
import ctypes
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from measuring import RESULTS, ROOT, base_hash, described, in_own_process, spread, use_threads
from scipy import stats

from razona.train.record import TIDY_EVERY

STEPS = 2000
LOOK_EVERY = TIDY_EVERY // 2
"""Steps between two looks at the process: every second one comes when free pages have just gone back to the system."""
BLOCK = 100
"""Steps whose mean is one point of a slope: neighbours resemble each other, and an interval must not count them as
independent. It holds two checkpoints, two measurements, and five times that free memory went back to the system."""
WARM_UP = 0.4
"""Share of the steps that does not count. oneDNN compiles kernels for each number of rows that it meets (32, 64, ...
512: `razona.models.arithmetic`), keeps them, and a new number costs up to 8 MiB of blocks of 252 KiB; the rarest of
the sixteen came at step 550 of 1,200 (docs/LOG.md)."""
MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
"""Fields of glibc's struct mallinfo2, in order; each is a size_t."""
ALLOWED_MIB = 1.0
"""Growth in 100 steps; issue: under 1 MB."""
ALLOWED_DRIFT = 0.05
"""Of a step's time, last tenth against first tenth."""
CHANGES = [
    "train.completions_per_step=32",
    "train.microbatch_size=32",
    "train.learning_rate=1e-6",
    "train.schedule=constant",
    "train.warmup_steps=0",
    "train.resample_below=1.0",
    "train.save_every=50",
    "guard.every=50",
    "guard.num_problems=16",
    "rewards.mix=sum",
    "rewards.components=[{name: correct}, {name: format, weight: 0.2, when: correct}, "
    "{name: 'benchmarks/soak_reward.py:ask_workers', weight: 0.1}]",
]
"""Of the recipe `demo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the run held after a step."""

    step: int
    rss_mib: float
    """Resident memory of the process that trains. Its slope is taken right after free pages went back: what it holds.
    Between two such moments it also holds what the largest step since then has used."""
    heap_mib: float
    """Of it, blocks that are in use (glibc's mallinfo2): what grows here is held on to, the rest is free."""
    worker_rss_mib: float
    """Of the largest process that it has started. (Their sum falls while one that was killed is started anew.)"""
    descriptors: int
    """Open in the process that trains."""
    processes: int
    """That it has started."""
    threads: int
    folder_mib: float
    """The run folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step took."""

    step: int
    seconds: float
    """From its beginning to its end; without checkpoint and measurement."""
    wall_s: float
    """Since the step before had ended; with both."""
    cpu_s: float
    """Of the processor, of the process that trains, since the step before had ended."""


def look(step: int, folder: Path) -> Look:
    """Look at this process."""
    me = psutil.Process()
    children = me.children(recursive=True)
    return Look(
        step=step,
        rss_mib=me.memory_info().rss / 2**20,
        heap_mib=heap_mib(),
        worker_rss_mib=max((_rss(child) for child in children), default=0) / 2**20,
        descriptors=me.num_fds(),
        processes=len(children),
        threads=me.num_threads(),
        folder_mib=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20,
    )


class _Heap(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2.split()]


def heap_mib() -> float:
    """Give what this process has allocated and not freed, by the C library; 0 where that is not glibc 2.33 or later."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0.0
    mallinfo.restype = _Heap
    heap = mallinfo()
    return (heap.uordblks + heap.hblkhd) / 2**20


def num_alive(started: Sequence[Sequence[float]]) -> int:
    """Count the processes, each a number and when it was made, that are still there."""
    return sum(_is_alive(int(pid), made) for pid, made in started)


def _is_alive(pid: int, made: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == made and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0  # a worker that ended since it was listed


def soak(steps: int, folder: Path) -> dict:
    """Train in this process, and give what it took and held."""
    from razona.recipe import load
    from razona.train import train

    use_threads()
    looks: list[Look] = []
    taken: list[Step] = []
    started: set[tuple[int, float]] = set()
    last = {"wall": time.monotonic(), "cpu": time.process_time()}

    def watch(row) -> None:
        step = int(row["step"])
        wall, cpu = time.monotonic(), time.process_time()
        taken.append(
            Step(step=step, seconds=row["seconds"] or 0.0, wall_s=wall - last["wall"], cpu_s=cpu - last["cpu"])
        )
        if step % LOOK_EVERY == 0:
            looks.append(look(step, folder))
            started.update((one.pid, one.create_time()) for one in psutil.Process().children(recursive=True))
        last.update(wall=time.monotonic(), cpu=time.process_time())  # the look itself is no part of a step

    result = train(load("demo", [*CHANGES, f"train.steps={steps}"]), folder, watch=watch)
    return {
        "steps": result.steps,
        "looks": [asdict(one) for one in looks],
        "taken": [asdict(one) for one in taken],
        "started": sorted(started),
    }


def slope(steps: Sequence[float], values: Sequence[float], per: float) -> dict[str, float | list[float] | int]:
    """Give the growth of a figure in `per` steps by least squares over the means of blocks, with its 95 % t-interval.

    The first step stays out: the time to start is in it.
    """
    blocks: dict[int, list[tuple[float, float]]] = {}
    for step, value in zip(steps, values, strict=True):
        blocks.setdefault(int((step - 1) // BLOCK), []).append((step, value))
    means = [[statistics.fmean(column) for column in zip(*points, strict=True)] for points in blocks.values()]
    middle, error = fit([x for x, _ in means], [y for _, y in means])
    half = float(stats.t.ppf(0.975, len(means) - 2)) * error if len(means) > 2 else math.inf
    return {
        "per_steps": per,
        "slope": per * middle,
        "ci95": [per * (middle - half), per * (middle + half)],
        "n": len(means),
    }


def fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Give the slope of the line of least squares, and its standard error: sqrt(sum e^2 / (n - 2) / sum (x - m)^2)."""
    if len(xs) < 2:
        return 0.0, math.inf
    x_mean, y_mean = statistics.fmean(xs), statistics.fmean(ys)
    width = sum((x - x_mean) ** 2 for x in xs)
    middle = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / width
    left = sum((y - y_mean - middle * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    return middle, math.sqrt(left / max(1, len(xs) - 2) / width)


def tenths(values: Sequence[float]) -> dict[str, float]:
    """Give the medians of the first and the last tenth, and their ratio."""
    size = max(1, len(values) // 10)
    first, last = statistics.median(values[:size]), statistics.median(values[-size:])
    return {"first_tenth": first, "last_tenth": last, "ratio": last / first if first else float("nan")}


def counted(values: Sequence[int]) -> dict[str, int]:
    """Give the most of a count in the first and in the last tenth, and over all."""
    size = max(1, len(values) // 10)
    return {"first_tenth": max(values[:size]), "last_tenth": max(values[-size:]), "max": max(values)}


def growth(looks: Sequence[Look], name: str) -> dict:
    """Give a figure's growth in 100 steps, and its first and last tenth."""
    values = [getattr(one, name) for one in looks]
    return {**slope([one.step for one in looks], values, 100), **tenths(values)}


def summarised(measured: dict, steps: int, num_left: int) -> dict:
    """Give the figures after the warm-up, and which aims they keep.

    Args:
        num_left: processes that outlived the one that trained.
    """
    begin = WARM_UP * steps
    looks = [Look(**one) for one in measured["looks"] if one["step"] > begin]
    taken = [Step(**one) for one in measured["taken"] if one["step"] > begin]
    memory = {
        "rss_mib": growth([one for one in looks if one.step % TIDY_EVERY == 0], "rss_mib"),
        "heap_mib": growth(looks, "heap_mib"),
        "worker_rss_mib": growth(looks, "worker_rss_mib"),
    }
    counts = {name: counted([getattr(one, name) for one in looks]) for name in ("descriptors", "processes", "threads")}
    times = {
        name: {
            **spread([getattr(one, name) for one in taken]),
            "drift": slope([one.step for one in taken], [getattr(one, name) for one in taken], 1000),
            "tenths": tenths([getattr(one, name) for one in taken]),
        }
        for name in ("seconds", "wall_s", "cpu_s")
    }
    folder = slope([one.step for one in looks], [one.folder_mib for one in looks], 100)
    aims = {
        **{
            f"{name}: under {ALLOWED_MIB:g} MiB in 100 steps": one["ci95"][1] < ALLOWED_MIB
            for name, one in memory.items()
        },
        **{f"{name}: no more at the end": one["last_tenth"] <= one["first_tenth"] for name, one in counts.items()},
        "no process is left": num_left == 0,
        **{
            f"{name}: last tenth within {ALLOWED_DRIFT:.0%} of the first": times[name]["tenths"]["ratio"] - 1
            < ALLOWED_DRIFT
            for name in ("seconds", "cpu_s")
        },
    }
    return {
        "memory": memory,
        "rss_mib_between": growth([one for one in looks if one.step % TIDY_EVERY], "rss_mib"),
        "counts": counts,
        "step": times,
        "processes_seen": len(measured["started"]),
        "folder": {"end_mib": looks[-1].folder_mib, "growth": folder},
        "aims": aims,
    }


def main() -> None:
    """Train, write, and say which aims were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=STEPS, help="at least 400 for slopes that mean something")
    parser.add_argument("--json", type=Path, default=RESULTS / "soak.json")
    options = parser.parse_args()
    folder = ROOT / "runs" / f"bench-soak-{base_hash()}"
    shutil.rmtree(folder, ignore_errors=True)
    settings = {
        "steps": options.steps,
        "changes": CHANGES,
        "warm_up": WARM_UP,
        "look_every": LOOK_EVERY,
        "block": BLOCK,
    }
    head = described("make bench-soak", settings)  # before the run: it takes long, and others may commit meanwhile
    load_before, began = os.getloadavg(), datetime.now(UTC)
    measured = in_own_process(soak, options.steps, folder, timeout_s=6 * 3600, start="spawn")
    figures = summarised(measured, options.steps, num_alive(measured["started"]))
    result = {
        **head,
        "date": f"{began:%Y-%m-%d}",
        "minutes": (datetime.now(UTC) - began).total_seconds() / 60,
        "load_before_and_after": [load_before, os.getloadavg()],
        "steps": measured["steps"],
        **figures,
        "looks": measured["looks"][:: max(1, len(measured["looks"]) // 40)],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("memory", "counts", "step", "folder")}, indent=1))
    missed = [aim for aim, is_kept in figures["aims"].items() if not is_kept]
    for aim in missed:
        print(f"missed  {aim}")
    print(f"Written: {options.json}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
