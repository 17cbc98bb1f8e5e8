"""Figures as Vega-Lite specs, and the lines over steps.

Colours are CSS variables of the page (`var(--tuned)`), so that light and dark are the style sheet's
business and a chart is never drawn twice. The picture (`picture.py`) hands in real colours instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.report.reading import number, spread_evenly

if TYPE_CHECKING:
    import altair as alt

Rows = Sequence[dict[str, object]]
Spec = dict[str, object]

SERIES_COLOURS = ("var(--tuned)", "var(--amber)", "var(--green)", "var(--violet)", "var(--red)", "var(--base)")
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MAX_POINTS = 400  # points a line keeps: a page of a long run stays small, and no screen shows more
MAX_WINDOW = 25  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a figure's legend."""

    label: str
    colour: str
    value: str = ""
    """The latest value as the reader sees it; empty where the figure has no order in time."""


@dataclass(frozen=True, slots=True)
class Words:
    """What stands above a chart and under it."""

    title: str
    caption: str
    """One line: what to read from the chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One chart, with the words around it."""

    id: str
    words: Words
    description: str
    """The chart in words, for a reader who cannot see it."""
    legend: Sequence[Key]
    spec: Spec
    is_small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series over steps."""

    label: str
    colour: str
    raw: Sequence[float | None]
    mean: Sequence[float | None]
    """Mean of the last `window` steps that have a value; None where `raw` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the lines of one figure are drawn."""

    is_share: bool = False
    """True: values from 0 to 1, shown in per cent."""
    is_whole_axis: bool = True
    """True: a share's axis runs to 100 %; False: as far as its values."""
    has_step_title: bool = True
    height: int = 210
    """Of the plot, in pixels."""
    has_legend: bool = False
    """True: the chart names its lines itself; on the page the HTML around it does."""


def format_share(value: float) -> str:
    """Write a share in per cent, with a decimal only where a whole number would hide something."""
    percent = 100 * value
    is_near_edge = 0 < percent < 10 or 99 < percent < 100
    return f"{percent:.1f}\u202f%" if is_near_edge else f"{percent:.0f}\u202f%"


def format_number(value: float) -> str:
    """Write a number with three significant digits, in plain notation down to a thousandth."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def smoothing_window(num_steps: int) -> int:
    """Give the number of steps that a bold line averages; 1 in a run too short to need it."""
    return min(max(num_steps // 10, 1), MAX_WINDOW)


def running_mean(values: Sequence[float | None], window: int) -> list[float | None]:
    """Give, for each step with a value, the mean of the values among the last `window` steps."""
    means: list[float | None] = []
    for index, value in enumerate(values):
        recent = [known for known in values[max(index - window + 1, 0) : index + 1] if known is not None]
        means.append(None if value is None else sum(recent) / len(recent))
    return means


def read_lines(steps: Rows, wanted: Mapping[str, str]) -> list[Line]:
    """Give one line for each wanted metric that some step has.

    Args:
        wanted: metric name -> the label the reader sees, in drawing order.
    """
    lines = []
    for index, (metric, label) in enumerate(wanted.items()):
        raw = [number(row.get(metric)) for row in steps]
        if any(value is not None for value in raw):
            colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
            mean = running_mean(raw, smoothing_window(len(steps)))
            lines.append(Line(label=label, colour=colour, raw=raw, mean=mean))
    return lines


def step_numbers(steps: Rows) -> list[int]:
    """Give the number of each step; a row without one counts on from the row's place."""
    return [int(number(row.get("step")) or index + 1) for index, row in enumerate(steps)]


def long_rows(steps: Rows, lines: Sequence[Line]) -> list[dict[str, object]]:
    """Give one row for each step and line, thinned to the points a screen can show."""
    numbers = step_numbers(steps)
    kept = spread_evenly(range(len(numbers)), MAX_POINTS)
    return [
        {
            "step": numbers[index],
            "series": line.label,
            "value": round_to(line.raw[index]),
            "mean": round_to(line.mean[index]),
        }
        for line in lines
        for index in kept
    ]


def round_to(value: float | None) -> float | None:
    """Give `value` with five significant digits, which no screen tells from the whole."""
    return None if value is None else float(f"{value:.5g}")


def line_layers(steps: Rows, lines: Sequence[Line], look: Look) -> "alt.LayerChart":
    """Draw single steps faint, their running mean bold, and a rule that names the values under the pointer."""
    import altair as alt

    data = alt.InlineData(values=long_rows(steps, lines))
    colour = alt.Color("series:N").scale(domain=[line.label for line in lines], range=[line.colour for line in lines])
    title = "step" if look.has_step_title else None
    x = alt.X("step:Q").title(title).axis(tickMinStep=1, grid=False, format="d").scale(nice=False, zero=False)
    is_flat_zero = not any(value for line in lines for value in line.raw)
    is_whole = is_flat_zero or (look.is_share and look.is_whole_axis)
    scale = alt.Scale(domain=[0, 1]) if is_whole else alt.Scale(zero=True, nice=True)
    axis = alt.Axis(format="~%", tickCount=5) if look.is_share else alt.Axis(tickCount=5)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, symbolStrokeWidth=2.5) if look.has_legend else None
    base = alt.Chart(data).encode(x=x, color=colour.legend(legend))
    bold = base.mark_line(strokeWidth=2.25, point=len(steps) == 1).encode(
        y=alt.Y("mean:Q").scale(scale).axis(axis).title(None)
    )
    if smoothing_window(len(steps)) == 1:
        return alt.LayerChart(layer=[bold])
    faint = base.mark_line(strokeWidth=1, opacity=0.28).encode(y=alt.Y("value:Q").scale(scale))
    return alt.LayerChart(layer=[faint, bold])


def pointer_layers(steps: Rows, lines: Sequence[Line], look: Look) -> "alt.LayerChart":
    """Add to the lines a band at each step that names every line's value under the pointer."""
    import altair as alt

    hover = alt.selection_point(name="hover", fields=["step"], on="pointerover", clear="pointerout", empty=False)
    # Vega-Lite 6.4 reads text fields wrongly under `nearest`: the bands are wide instead, and their words made here.
    titles = [line.label.translate({ord("\\"): "/", ord('"'): "'"}) for line in lines]
    bands = (
        alt.Chart(alt.InlineData(values=told_rows(steps, lines, look)))
        .mark_rule(strokeWidth=10, color="var(--muted)")
        .encode(
            x=alt.X("step:Q"),
            opacity=alt.when(hover).then(alt.value(0.16)).otherwise(alt.value(0)),
            tooltip=[
                alt.Tooltip("step:Q").format("d"),
                *(alt.Tooltip(f"line{index}:N").title(title) for index, title in enumerate(titles)),
            ],
        )
        .add_params(hover)
    )
    return alt.LayerChart(layer=[line_layers(steps, lines, look), bands])


def told_rows(steps: Rows, lines: Sequence[Line], look: Look) -> list[dict[str, object]]:
    """Give one row for each step: what the pointer says of each line there."""
    numbers = step_numbers(steps)
    write = format_share if look.is_share else format_number
    is_smoothed = smoothing_window(len(steps)) > 1
    data = []
    for index in spread_evenly(range(len(numbers)), MAX_POINTS):
        row: dict[str, object] = {"step": numbers[index]}
        for place, line in enumerate(lines):
            raw, mean = line.raw[index], line.mean[index]
            told = "none" if raw is None else write(raw)
            row[f"line{place}"] = told if mean is None or not is_smoothed else f"{told}, mean {write(mean)}"
        data.append(row)
    return data


def lines_figure(figure_id: str, words: Words, steps: Rows, lines: Sequence[Line], look: Look) -> Figure:
    """Give the figure of some lines over steps."""
    write = format_share if look.is_share else format_number
    return Figure(
        id=figure_id,
        words=words,
        description=f"{words.title}. {describe_lines(lines, write)}",
        legend=[Key(label=line.label, colour=line.colour, value=write(latest(line.mean))) for line in lines],
        spec=finish(pointer_layers(steps, lines, look), height=look.height),
        is_small=look.height < 150,
    )


def latest(values: Sequence[float | None]) -> float:
    """Give the last value there is; `values` holds at least one."""
    return next(value for value in reversed(values) if value is not None)


def describe_lines(lines: Sequence[Line], write: Callable[[float], str]) -> str:
    """Say in words where each line starts and ends."""
    return " ".join(
        f"{line.label}: {write(latest(line.mean[::-1]))} at the first step, {write(latest(line.mean))} at the last."
        for line in lines
    )


def areas_figure(figure_id: str, words: Words, steps: Rows, lines: Sequence[Line]) -> Figure:
    """Give the figure of shares that add up to the whole, stacked in the order of `lines` from the bottom."""
    import altair as alt

    labels = [line.label for line in lines]
    data: list[dict[str, object]] = [
        row | {"order": labels.index(str(row["series"]))} for row in long_rows(steps, lines)
    ]
    chart = (
        alt.Chart(alt.InlineData(values=data))
        .mark_area(opacity=0.75, point=len(steps) == 1)
        .encode(
            x=alt.X("step:Q").title("step").axis(tickMinStep=1, grid=False, format="d").scale(nice=False, zero=False),
            y=alt.Y("mean:Q").stack("zero").scale(domain=[0, 1], clamp=True).axis(format="%", tickCount=5).title(None),
            color=alt.Color("series:N").scale(domain=labels, range=[line.colour for line in lines]).legend(None),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("series:N").title("groups")],
        )
    )
    return Figure(
        id=figure_id,
        words=words,
        description=f"{words.title}. {describe_lines(lines, format_share)}",
        legend=[Key(label=line.label, colour=line.colour, value=format_share(latest(line.mean))) for line in lines],
        spec=finish(alt.LayerChart(layer=[chart]), height=210),
    )


def finish(chart: "alt.LayerChart", *, height: int) -> Spec:
    """Give the chart as a spec as wide as its place on the page, with the page's colours and letters."""
    sized = chart.properties(width="container", height=height, background="transparent")
    # Checking each spec against the schema takes seconds on a busy training machine; the tests do it instead.
    spec = sized.to_dict(validate=False)
    return spec | {"config": page_config(), "autosize": {"type": "fit-x", "contains": "padding"}}


def page_config() -> Spec:
    """Give axes and letters that belong to the page, in colours that follow its light and dark."""
    return {
        "font": FONT,
        "padding": {"left": 2, "right": 6, "top": 6, "bottom": 2},
        "view": {"stroke": None},
        "axis": {
            "labelColor": "var(--muted)",
            "titleColor": "var(--muted)",
            "gridColor": "var(--rule)",
            "domainColor": "var(--rule)",
            "tickColor": "var(--rule)",
            "labelFontSize": 11.5,
            "titleFontSize": 11.5,
            "titleFontWeight": "normal",
            "titlePadding": 6,
            "labelPadding": 6,
            "ticks": False,
        },
        "axisX": {"titleAnchor": "end"},
        "axisY": {"domain": False},
    }
