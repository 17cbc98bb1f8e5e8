"""The figures of base against tuned: bars with intervals, and dots for each family."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from razona.report.charts import Figure, Key, Spec, Words, finish, format_share
from razona.report.pass_at_k import draw_pass_at_k
from razona.report.reading import Interval, RunRecord, entries, interval, number

MODELS = ("base", "tuned")
COLOURS = ("var(--base)", "var(--tuned)")
BAR_HEIGHT = 26  # pixels, gap included
ROW_HEIGHT = 24  # pixels
TICKS = (0, 0.25, 0.5, 0.75, 1)
ROOM_FOR_LABELS = 1.12  # where the axis of shares ends: a bar of 100 % still has its number beside it
LEGEND = tuple(Key(label=model, colour=colour) for model, colour in zip(MODELS, COLOURS, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One model's score on one metric."""

    metric: str
    model: str
    value: float
    low: float
    """The lower end of the 95 % interval; the value itself where none is stated."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyScore:
    """Both models' scores on one family."""

    label: str
    base: float
    tuned: float


def scored_metrics(estimates: Sequence[object]) -> list[str]:
    """Give the metrics that some evaluation scored, greedy last: pass_at_1, pass_at_8, maj_at_8, greedy."""
    names = {name for estimate in estimates for name in entries(estimate) if re.fullmatch(r"(pass|maj)_at_\d+", name)}
    ordered = sorted(names, key=lambda name: (not name.startswith("pass"), int(name.rsplit("_", 1)[1])))
    return [*ordered, "greedy"] if any(number(estimate, "greedy") is not None for estimate in estimates) else ordered


def metric_label(metric: str) -> str:
    """Give `pass_at_8` as a reader writes it: pass@8."""
    return metric.replace("_at_", "@")


def result_figures(record: RunRecord) -> list[Figure]:
    """Give the bars of each evaluation, pass@k over k and the dots of the families; empty without a summary."""
    places = (
        ("in-distribution", held_out_title(record.summary), entries(record.summary)),
        ("out-of-distribution", "Harder problems than any trained on", entries(record.summary, "ood")),
    )
    figures = [draw_bars(figure_id, title, found) for figure_id, title, found in places]
    figures.append(draw_pass_at_k(record.summary))
    figures.append(draw_families(entries(record.summary, "families")))
    return [figure for figure in figures if figure is not None]


def held_out_title(summary: dict[str, object]) -> str:
    """Give what the problems are called: a comparison of any two models knows not what they were trained on."""
    return "The same problems" if "names" in summary else "Held-out problems"


def draw_bars(figure_id: str, title: str, models: dict[str, object]) -> Figure | None:
    """Give one evaluation's bars with their intervals, or None where neither model was scored."""
    bars = read_bars(models)
    if not bars:
        return None
    n = number(models, "tuned", "n") or number(models, "base", "n")
    size = "" if n is None else f" {n:.0f} problems."
    caption = f"Whiskers are 95 % intervals; where they do not overlap, luck is a poor explanation.{size}"
    told = [f"{bar.metric} {bar.model}: {format_share(bar.value)}." for bar in bars]
    return Figure(
        id=figure_id,
        words=Words(title, caption),
        description=f"{title}. {' '.join(told)}",
        legend=LEGEND,
        spec=bar_spec(bars),
    )


def read_bars(models: dict[str, object]) -> list[Bar]:
    """Give one bar for each metric and model that was scored."""
    bars = []
    for metric in scored_metrics([models.get(model) for model in MODELS]):
        for model in MODELS:
            value = number(models, model, metric)
            if value is None:
                continue
            ends = interval(models.get(model), metric) or Interval(low=value, high=value)
            bars.append(Bar(metric=metric_label(metric), model=model, value=value, low=ends.low, high=ends.high))
    return bars


def bar_spec(bars: Sequence[Bar]) -> Spec:
    """Give horizontal bars, which leave room for their names on a phone."""
    import altair as alt

    data = [asdict(bar) | {"label": format_share(bar.value), "interval": describe_interval(bar)} for bar in bars]
    metrics = list(dict.fromkeys(bar.metric for bar in bars))
    offset = alt.YOffset("model:N").sort(list(MODELS))
    base = alt.Chart(alt.InlineData(values=data)).encode(
        y=alt.Y("metric:N").sort(metrics).title(None).scale(paddingInner=0.28).axis(domain=False)
    )
    rectangles = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.82}).encode(
        x=alt.X("value:Q")
        .scale(domain=[0, ROOM_FOR_LABELS], nice=False)
        .axis(format="~%", values=list(TICKS))
        .title(None),
        yOffset=offset,
        color=alt.Color("model:N").scale(domain=list(MODELS), range=list(COLOURS)).legend(None),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("label:N").title("score"),
            alt.Tooltip("interval:N").title("95 %"),
        ],
    )
    middle = offset.bandPosition(0.5)
    whiskers = base.mark_rule(color="var(--ink)", opacity=0.75, strokeWidth=1.5).encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q"), yOffset=middle
    )
    labels = base.mark_text(align="left", dx=6, fontSize=11.5, color="var(--ink)").encode(
        x=alt.X("high:Q"), text=alt.Text("label:N"), yOffset=middle
    )
    return finish(alt.LayerChart(layer=[rectangles, whiskers, labels]), height=2 * BAR_HEIGHT * len(metrics))


def describe_interval(bar: Bar) -> str:
    """Write the two ends of a bar's interval."""
    return f"{format_share(bar.low)} to {format_share(bar.high)}"


def draw_families(families: dict[str, object]) -> Figure | None:
    """Give base and tuned of each family on one line, the largest gain on top; None without families."""
    scores = []
    for name, found in families.items():
        base, tuned, n = number(found, "base"), number(found, "tuned"), number(found, "n")
        if base is not None and tuned is not None:
            label = name.replace("_", " ") + ("" if n is None else f" ({n:.0f})")
            scores.append(FamilyScore(label=label, base=base, tuned=tuned))
    if not scores:
        return None
    scores.sort(key=lambda score: score.base - score.tuned)
    told = [f"{score.label}: {format_share(score.base)} to {format_share(score.tuned)}." for score in scores]
    caption = "The longer the bar, the larger the change. In brackets, the number of problems: few mean a loose figure."
    return Figure(
        id="families",
        words=Words("Each family of problems", caption),
        description=f"Each family, base to tuned. {' '.join(told)}",
        legend=LEGEND,
        spec=family_spec(scores),
    )


def family_spec(scores: Sequence[FamilyScore]) -> Spec:
    """Give a dot for each model and a bar between the two."""
    import altair as alt

    dots = [
        {"label": score.label, "model": model, "value": value, "told": format_share(value)}
        for score in scores
        for model, value in zip(MODELS, (score.base, score.tuned), strict=True)
    ]
    order = [score.label for score in scores]
    y = alt.Y("label:N").sort(order).title(None).axis(domain=False, grid=True, labelLimit=190)
    spans = (
        alt.Chart(alt.InlineData(values=[asdict(score) for score in scores]))
        .mark_rule(strokeWidth=3, color="var(--tuned)", opacity=0.3)
        .encode(x=alt.X("base:Q"), x2=alt.X2("tuned:Q"), y=y)
    )
    points = (
        alt.Chart(alt.InlineData(values=dots))
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            x=alt.X("value:Q")
            .scale(domain=[0, 1], nice=False)
            .axis(format="~%", values=list(TICKS), grid=False)
            .title(None),
            y=y,
            color=alt.Color("model:N").scale(domain=list(MODELS), range=list(COLOURS)).legend(None),
            tooltip=[
                alt.Tooltip("label:N").title("family"),
                alt.Tooltip("model:N"),
                alt.Tooltip("told:N").title("score"),
            ],
        )
    )
    return finish(alt.LayerChart(layer=[spans, points]), height=ROW_HEIGHT * len(scores))
