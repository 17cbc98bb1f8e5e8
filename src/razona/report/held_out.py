"""The figure of the accuracy on held-out problems that a run measures while it trains."""

from dataclasses import asdict, dataclass

from razona.report.charts import Figure, Key, Spec, Words, finish, format_share
from razona.report.reading import Interval, RunRecord, ends_of, number, text

COLOUR = "var(--tuned)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement on the held-out slice."""

    step: int
    accuracy: float
    low: float
    """The lower end of the 95 % interval; the accuracy itself where none is stated."""
    high: float
    told: str
    """Accuracy and interval in words."""
    action: str
    """What was done about it; empty where nothing was."""


def held_out_figures(record: RunRecord) -> list[Figure]:
    """Give the figure of the held-out accuracy over steps; empty where the run measured none."""
    found = [one for row in record.guard if (one := read_measurement(row)) is not None]
    if not found:
        return []
    first, last, best = found[0], found[-1], max(found, key=lambda one: one.accuracy)
    told = f"{first.told} at step {first.step}, {last.told} at step {last.step}, best {best.told} at step {best.step}."
    words = Words("Right answers on held-out problems", describe_settings(record.guard[-1]))
    return [
        Figure(
            id="held-out",
            words=words,
            description=f"{words.title}. {told}",
            legend=[
                Key(label="latest", colour=COLOUR, value=format_share(last.accuracy)),
                Key(label=f"best, step {best.step}", colour=COLOUR, value=format_share(best.accuracy)),
            ],
            spec=held_out_spec(found, last_step=max(last.step, len(record.steps), 2)),
        )
    ]


def read_measurement(row: dict[str, object]) -> Measurement | None:
    """Give one measurement; None where the row states no step or no accuracy."""
    step, accuracy = number(row, "step"), number(row, "accuracy")
    if step is None or accuracy is None:
        return None
    stated = ends_of(row, "ci95")
    ends = stated or Interval(low=accuracy, high=accuracy)
    told = format_share(accuracy) + (f" ({format_share(ends.low)} to {format_share(ends.high)})" if stated else "")
    return Measurement(
        step=int(step), accuracy=accuracy, low=ends.low, high=ends.high, told=told, action=text(row, "action") or "none"
    )


def describe_settings(row: dict[str, object]) -> str:
    """Say what the dots are, and on how many problems."""
    n, samples = number(row, "n"), number(row, "samples")
    size = "Problems" if n is None else f"{n:.0f} problems"
    times = "" if samples is None else f", {samples:.0f} sample{'' if samples == 1 else 's'} each"
    return f"{size} that are never trained on{times}; whiskers are 95\u202f% intervals."


def held_out_spec(found: list[Measurement], *, last_step: int) -> Spec:
    """Give a dot with its whisker for each measurement, joined by a thin line."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=[asdict(one) for one in found])).encode(
        x=alt.X("step:Q")
        .title("step")
        .axis(tickMinStep=1, grid=False, format="d")
        .scale(domain=[min(1, found[0].step), last_step], nice=False)
    )
    share = alt.Y("accuracy:Q").scale(domain=[0, 1]).axis(format="~%", tickCount=5).title(None)
    line = base.mark_line(strokeWidth=1, opacity=0.4, color=COLOUR).encode(y=share)
    whiskers = base.mark_rule(strokeWidth=1.5, opacity=0.75, color=COLOUR).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
    dots = base.mark_point(filled=True, size=55, opacity=1, color=COLOUR).encode(
        y=share,
        tooltip=[
            alt.Tooltip("step:Q").format("d"),
            alt.Tooltip("told:N").title("right"),
            alt.Tooltip("action:N"),
        ],
    )
    return finish(alt.LayerChart(layer=[line, whiskers, dots]), height=210)
