"""The figure of pass@k over k: what is solved sometimes, beside what is solved every time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.report.charts import Figure, Key, Words, finish, format_share
from razona.report.reading import ends_of, entries, number, rows, text

if TYPE_CHECKING:
    import altair as alt

MODELS: Mapping[str, str] = {"base": "var(--base)", "tuned": "var(--tuned)", "base_best": "var(--amber)"}
"""Key of the summary -> colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One model's pass@k."""

    label: str
    colour: str
    points: Sequence[dict[str, object]]
    """One a k: k, value, low, high."""


def read_curves(summary: dict[str, object]) -> list[Curve]:
    """Give the curves of a summary; none where only one k was measured."""
    curves = []
    for key, colour in MODELS.items():
        if key == "base_best" and text(summary, key, "prompt") == "training":
            continue  # the curve of the base itself
        points = []
        for found in rows(summary, key, "pass_at"):
            k, value, ends = number(found, "k"), number(found, "value"), ends_of(found, "ci95")
            if k is not None and value is not None and ends is not None:
                points.append({"k": int(k), "value": value, "low": ends.low, "high": ends.high})
        if len(points) > 1:
            curves.append(Curve(label=curve_label(summary, key), colour=colour, points=points))
    return [] if [curve.label for curve in curves] in ([], ["base"]) else curves


def curve_label(summary: dict[str, object], key: str) -> str:
    """Give what the reader calls a model."""
    names = entries(summary, "names")
    if key == "base_best":
        return f"{text(names, 'base') or 'base'}, best prompt ({text(summary, 'base_best', 'prompt')})"
    return text(names, key) or key


def draw_pass_at_k(summary: dict[str, object]) -> Figure | None:
    """Give the curves with their bands; None where no summary has more than one k."""
    curves = read_curves(summary)
    if not curves:
        return None
    told = [
        f"{curve.label}: {format_share(_value(curve, 0))} at k = 1, {format_share(_value(curve, -1))} at k = "
        f"{curve.points[-1]['k']}."
        for curve in curves
    ]
    caption = (
        "A problem counts if one of k tries is right. Curves that meet: training made sure of what the base could do "
        "sometimes. Bands are 95 % intervals."
    )
    return Figure(
        id="pass-at-k",
        words=Words("Right in k tries", caption),
        description=f"pass@k over k. {' '.join(told)}",
        legend=[Key(label=curve.label, colour=curve.colour, value="") for curve in curves],
        spec=finish(curves_chart(curves), height=210),
    )


def _value(curve: Curve, place: int) -> float:
    value = curve.points[place]["value"]
    assert isinstance(value, float)
    return value


def curves_chart(curves: Sequence[Curve]) -> "alt.LayerChart":
    """Draw each curve with its band."""
    import altair as alt

    data = alt.InlineData(
        values=[
            {**point, "model": curve.label, "told": f"{format_share(float(str(point['value'])))}"}
            for curve in curves
            for point in curve.points
        ]
    )
    colour = (
        alt.Color("model:N")
        .scale(domain=[curve.label for curve in curves], range=[curve.colour for curve in curves])
        .legend(None)
    )
    x = alt.X("k:Q").title("tries (k)").axis(tickMinStep=1, grid=False, format="d").scale(nice=False, zero=False)
    base = alt.Chart(data).encode(x=x, color=colour)
    y = alt.Y("value:Q").scale(domain=[0, 1]).axis(format="~%", tickCount=5).title(None)
    band = base.mark_area(opacity=0.14).encode(y=alt.Y("low:Q").title(None), y2=alt.Y2("high:Q"))
    line = base.mark_line(strokeWidth=2.25, point=alt.OverlayMarkDef(size=36)).encode(
        y=y,
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("k:Q").title("tries"),
            alt.Tooltip("told:N").title("right"),
        ],
    )
    return alt.LayerChart(layer=[band, line])
