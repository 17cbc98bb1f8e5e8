"""Print the main figures of every benchmark result in docs/results."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results"


def step(result: dict) -> Iterator[str]:
    for title, key in (("the demo's workload", "demo"), ("full length, no flat group", "full_length")):
        one = result[key]
        ours, theirs = (one["settings"][one[side]]["step_s"]["median"] for side in ("ours", "fastest_trl"))
        yield f"{title}: {ours:.2f} s against {theirs:.2f} s ({one['fastest_trl']}): {one['ratio']:.1f} times"
        mine, its = one["ours_uncompiled"], one["ratio_ours_uncompiled"]
        yield f"{title}, TRL's fastest and ours not compiled ({mine}): {its:.1f} times"
        yield f"{title}, TRL by itself ({one['fastest_trl_alone']}): {one['ratio_trl_alone']:.1f} times"
        yield f"{title}, nothing compiled ({one['fastest_trl_uncompiled']}): {one['ratio_uncompiled']:.1f} times"


def rollout(result: dict) -> Iterator[str]:
    for row in [result["demo"], *result["grid"]]:
        if row["ratio"] is None:
            yield f"{row['name']}: no comparison"
            continue
        ours, theirs = (row["engines"][row[side]] for side in ("ours", "fastest_of_theirs"))
        yield (
            f"{row['name']}: {ours['tokens_per_s']['median']:,.0f} tokens/s against "
            f"{theirs['tokens_per_s']['median']:,.0f} ({row['fastest_of_theirs']}): {row['ratio']:.1f} times; "
            f"{ours['share_of_model_shapes_rate']:.0%} of the products' rate, "
            f"{ours['peak_mib']:,.0f} against {theirs['peak_mib']:,.0f} MiB"
        )


def scale(result: dict) -> Iterator[str]:
    for row in result["rows"]:
        title = f"{row['completions']} x {row['tokens']} tokens, groups of {row['group']}, {row['model']}"
        if row["ratio"] is None:
            yield f"{title}: no comparison"
            continue
        yield (
            f"{title}: {row['ours_s']:.2f} s against {row['trl_s']:.2f} s: {row['ratio']:.2f} times; "
            f"{row['ours_peak_mib']:,.0f} against {row['trl_peak_mib']:,.0f} MiB (n = {row['n']})"
        )


def time_to_accuracy(result: dict) -> Iterator[str]:
    for name in ("ratio", "ours_seconds_to_level", "trl_seconds_to_level", "ours_seconds_to_80_percent"):
        one = result[name]
        if one is not None:
            yield f"{name}: {one['median']:.1f} ({one['min']:.1f} to {one['max']:.1f}, n = {one['n']})"


def gpu(result: dict) -> Iterator[str]:
    for name, one in result["measured"].items():
        if "failed" in one:
            yield f"{name}: {one['failed']}"
            continue
        yield (
            f"{name}: step {one['step_s']['median']:.2f} s, {one['sampled_tokens_per_s']['median']:,.0f} tokens/s, "
            f"{one['share_of_copy_rate']['median']:.0%} of the bandwidth, "
            f"{max(one['gpu_peak_gib'].values()):.1f} GiB"
        )


FIGURES: dict[str, Callable[[dict], Iterator[str]]] = {
    "step": step,
    "rollout": rollout,
    "scale": scale,
    "time_to_accuracy": time_to_accuracy,
    "gpu": gpu,
}


def main() -> None:
    for name, figures in FIGURES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            print(f"{name}: not measured yet (make bench-{name.replace('_', '-')})")
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        hardware = result["hardware"]
        print(f"{name}: {', '.join(hardware['gpus']) or hardware['processor']}, {hardware['cores']} cores")
        for line in figures(result):
            print(f"  {line}")


if __name__ == "__main__":
    main()
