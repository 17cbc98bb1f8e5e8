"""The table and the figure of an experiment: accuracy against the number of labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from razona.report.picture import SCALE, picture_config, write_bytes

if TYPE_CHECKING:
    import altair as alt

TITLES = {"held_out": "Problems like the training's", "ood": "Harder problems"}
LABELS = {"grpo": "GRPO", "sft": "SFT", "sft_then_grpo": "SFT, then GRPO"}
COLOURS = {"GRPO": "#2a5db0", "SFT": "#b3781b", "SFT, then GRPO": "#3c8664"}
BASE_LABEL, RANDOM_LABEL = "base", "GRPO, paid at random"
PANEL_WIDTH, PANEL_HEIGHT = 330, 210


def experiment_table(found: Mapping) -> str:
    """Give the arms as a Markdown table: pass@1 and greedy decoding on both sets, and what each arm spent."""
    lines = [
        "| arm | labels | pass@1 | greedy | harder, pass@1 | harder, greedy | budget used | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in found["arms"].values():
        cells = [method_label(arm["method"]), "" if arm["method"] in ("base", "random") else f"{arm['labels']:,}"]
        if "left_out" in arm:
            lines.append(f"| {' | '.join([*cells, 'left out: nothing to learn from', *([''] * 5)])} |")
            continue
        cells += [_share(arm[name], key) for name in TITLES for key in ("pass_at_1", "greedy")]
        spent = arm["spent"]
        cells += ["", ""] if spent is None else [f"{spent['passes'] / found['budget_token_passes']:.0%}"]
        cells += [] if spent is None else [f"{spent['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def contrast_table(found: Mapping) -> str:
    """Give the paired differences as a Markdown table, in points."""
    lines = ["| question | | held out | harder |", "|---|---|---|---|"]
    rows: dict[tuple[str, str], dict[str, Mapping]] = {}
    for one in found["contrasts"]:
        rows.setdefault((one["question"], f"{one['one']} - {one['other']}"), {})[one["set"]] = one
    for (question, pair), sets in rows.items():
        lines.append(f"| {question} | {pair} | {' | '.join(_points(sets[name]) for name in TITLES)} |")
    return "\n".join(lines) + "\n"


def method_label(method: str) -> str:
    """Give what an arm is called."""
    return {**LABELS, "base": BASE_LABEL, "random": RANDOM_LABEL}[method]


def _share(figures: Mapping, key: str) -> str:
    low, high = figures["ci95"][key]
    return f"{figures[key]:.1%} ({100 * low:.1f}-{100 * high:.1f})"


def _points(one: Mapping) -> str:
    low, high = one["ci95"]
    return f"{100 * one['gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def write_experiment_picture(found: Mapping, path: Path) -> None:
    """Write accuracy against the number of labels, a panel for each set, as .svg or .png."""
    import altair as alt
    import vl_convert

    panels = [_panel(found, name) for name in TITLES]
    chart = alt.hconcat(*panels, spacing=40).resolve_scale(color="shared", strokeDash="shared")
    spec = chart.to_dict(validate=False) | {"config": picture_config(), "background": "#ffffff"}
    if path.suffix == ".svg":
        write_bytes(path, vl_convert.vegalite_to_svg(spec).encode())
    else:
        write_bytes(path, vl_convert.vegalite_to_png(spec, scale=SCALE))


def _panel(found: Mapping, name: str) -> "alt.LayerChart | alt.FacetChart":
    import altair as alt

    arms = [arm for arm in found["arms"].values() if arm["method"] in LABELS and "left_out" not in arm]
    counts = sorted({arm["labels"] for arm in arms})
    order = [f"{count:,}" for count in counts]
    points = [
        {
            "labels": f"{arm['labels']:,}",
            "arm": LABELS[arm["method"]],
            "value": arm[name]["pass_at_1"],
            "low": arm[name]["ci95"]["pass_at_1"][0],
            "high": arm[name]["ci95"]["pass_at_1"][1],
        }
        for arm in arms
    ]
    level = [
        {"arm": method_label(arm["method"]), "value": arm[name]["pass_at_1"]}
        for arm in found["arms"].values()
        if arm["method"] in ("base", "random")
    ]
    x = alt.X("labels:O").sort(order).title("labelled problems").axis(labelAngle=0)
    y = alt.Y("value:Q").scale(domain=[0, 1]).axis(format="~%", tickCount=5).title(None)
    colour = alt.Color("arm:N").scale(domain=list(COLOURS), range=list(COLOURS.values())).title(None)
    base = alt.Chart(alt.InlineData(values=points))
    offset = alt.XOffset("arm:N").sort(list(COLOURS))
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour, xOffset=offset)
    whiskers = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=colour, xOffset=offset
    )
    rules = alt.Chart(alt.InlineData(values=level))
    lines = rules.mark_rule(strokeDash=[4, 3], color="#6b665d").encode(y=y)
    told = [_told(one, y) for one in level]
    return alt.layer(lines, *told, whiskers, dots).properties(
        width=PANEL_WIDTH, height=PANEL_HEIGHT, title=TITLES[name]
    )


def _told(one: Mapping, y: "alt.Y") -> "alt.Chart":
    """Give the name of a dashed line: the base's below it on the left, the other's above it on the right."""
    import altair as alt

    chart = alt.Chart(alt.InlineData(values=[dict(one)]))
    if one["arm"] == BASE_LABEL:
        marked, x = chart.mark_text(align="left", dx=4, dy=11, color="#6b665d", fontSize=10), 0
    else:
        marked, x = chart.mark_text(align="right", dx=-4, dy=-7, color="#6b665d", fontSize=10), PANEL_WIDTH
    return marked.encode(x=alt.value(x), y=y, text="arm:N")
