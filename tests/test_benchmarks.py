"""The arithmetic of the benchmarks; what they measure is run by `make bench`."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from transformers import Qwen3Config

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def points(*pairs: tuple[float, float]) -> list[dict]:
    return [{"seconds": seconds, "step": 5 * place, "pass_at_1": share} for place, (seconds, share) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("curve", "level", "seconds", "step"),
    [
        (points((0, 0.1), (10, 0.3), (20, 0.7)), 0.5, 15, 7.5),
        (points((0, 0.1), (10, 0.5), (20, 0.3), (30, 0.9)), 0.4, 7.5, 3.75),  # the first time counts
        (points((0, 0.1), (10, 0.3)), 0.3, 10, 5),
        (points((0, 0.5), (10, 0.6)), 0.4, 0, 0),  # the base is there already
        (points((0, 0.1), (10, 0.3)), 0.4, None, None),
    ],
)
def test_a_level_is_reached_where_the_straight_lines_cross_it(curve, level, seconds, step, monkeypatch):
    crossing = module("time_to_accuracy", monkeypatch).crossing
    assert crossing(curve, level) == (None if seconds is None else pytest.approx(seconds))
    assert crossing(curve, level, over="step") == (None if step is None else pytest.approx(step))


def test_least_work_of_decoding_is_counted_by_hand(monkeypatch):
    config = Qwen3Config(
        vocab_size=10,
        hidden_size=4,
        intermediate_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=3,
    )
    work = module("limits", monkeypatch).decoding_work(config, [[1, 2, 3], [1, 2, 3]], [1, 3], value_bytes=2)
    layer = 4 * (2 + 1 + 1) * 3 + 2 * 3 * 4 + 4 * 2 * 6 + 6 * 4  # q, k, v; output; gate and up; down
    read = 3 + 0 + 2  # the prompt once, and each completion but its last token
    seen = (1 + 2 + 3) + (4 + 5)
    assert work.flop == 2 * (2 * layer * read + 4 * 10 * (1 + 2)) + 4 * 2 * 2 * 3 * seen
    assert work.bytes == 2 * (3 * (2 * layer + 4 * 10) + 2 * 2 * 1 * 3 * (4 + 5))


@pytest.mark.parametrize(("ids", "kept"), [([5, 0, 7], [5, 0]), ([5, 6], [5, 6]), ([0, 0], [0])])
def test_tokens_behind_the_first_end_do_not_count(ids, kept, monkeypatch):
    assert module("engines", monkeypatch).up_to_end(ids, [0]) == kept


def test_ours_is_compared_with_the_fastest_of_theirs(monkeypatch):
    speeds = {"ours": 30.0, "ours, bf16": 40.0, "generate": 10.0, "generate, static cache": 20.0}
    table = {name: {"tokens_per_s": {"median": speed}} for name, speed in speeds.items()}
    table["continuous batching"] = {"failed": "not here"}
    found = module("rollout", monkeypatch).ratios(table)
    assert found == {
        "ours": "ours, bf16",
        "fastest_of_theirs": "generate, static cache",
        "ratio": 2.0,
        "ratio_to_generate": 4.0,
    }


def test_a_slope_is_that_of_the_means_of_blocks(monkeypatch):
    slope = module("soak", monkeypatch).slope
    steps = range(1, 1001)
    found = slope(steps, [5 + 0.25 * step + (-1) ** step for step in steps], 100)
    assert found["slope"] == pytest.approx(25) and found["n"] == 10
    low, high = found["ci95"]
    assert low <= 25 <= high and high - low < 1e-6  # in each block the ups and downs of neighbours are gone


def test_what_grows_at_the_end_is_seen_where_the_middle_is_higher(monkeypatch):
    soak = module("soak", monkeypatch)
    assert soak.counted([7] * 10 + [9] + [7] * 88 + [8]) == {"first_tenth": 7, "last_tenth": 8, "max": 9}
    assert soak.tenths([2.0] * 10 + [9.0] * 80 + [3.0] * 10) == {"first_tenth": 2.0, "last_tenth": 3.0, "ratio": 1.5}


def test_only_the_very_process_that_was_started_counts_as_left(monkeypatch):
    soak = module("soak", monkeypatch)
    me = soak.psutil.Process()
    assert soak.num_alive([(me.pid, me.create_time())]) == 1
    assert soak.num_alive([(me.pid, me.create_time() - 1), (2**22 + 1, 0.0)]) == 0  # its number was given anew; no such


def look(monkeypatch, **changes):
    soak = module("soak", monkeypatch)
    plain = {"rss_mib": 500.0, "heap_mib": 200.0, "worker_rss_mib": 100.0, "folder_mib": 1.0}
    counts = {"descriptors": 13, "processes": 2, "threads": 4}

    def value(name, flat, step):
        return changes[name](step) if name in changes else flat

    looks = [
        {"step": step, **{name: value(name, flat, step) for name, flat in (plain | counts).items()}}
        for step in range(10, 2001, 10)
    ]
    taken = [
        {"step": step, **{name: value(name, 0.5, step) for name in ("seconds", "wall_s", "cpu_s")}}
        for step in range(1, 2001)
    ]
    found = soak.summarised({"looks": looks, "taken": taken, "started": []}, 2000, changes.get("left", 0))
    return [aim for aim, is_kept in found["aims"].items() if not is_kept]


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"rss_mib": lambda step: 500 + 0.0099 * step}, []),
        ({"rss_mib": lambda step: 500 + 0.0101 * step}, ["rss_mib: under 1 MiB in 100 steps"]),
        ({"rss_mib": lambda step: 500 + step * (step < 450)}, []),  # in the warm-up
        ({"rss_mib": lambda step: 500 + 0.1 * step * (step % 20 > 0)}, []),  # gone when free pages went back
        ({"worker_rss_mib": lambda step: 100 + 0.02 * step}, ["worker_rss_mib: under 1 MiB in 100 steps"]),
        ({"descriptors": lambda step: 13 + step // 500}, ["descriptors: no more at the end"]),
        ({"processes": lambda step: 2 + (step > 1900)}, ["processes: no more at the end"]),
        ({"cpu_s": lambda step: 0.5 + step / 20_000}, ["cpu_s: last tenth within 5% of the first"]),
        ({"left": 1}, ["no process is left"]),
    ],
)
def test_a_soak_misses_the_aims_that_its_figures_miss(changes, missed, monkeypatch):
    assert look(monkeypatch, **changes) == missed
