"""The curves of a run as a picture, for a page that cannot draw: a README, a message."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.errors import RunFolderError
from razona.core.rundir import RunDir
from razona.report.charts import Line, Look, Rows, Spec, line_layers, read_lines
from razona.report.reading import read_record

if TYPE_CHECKING:
    import altair as alt

PICTURE_COLOURS = {"right answers": "#2a5db0", "reward": "#b3781b", "tokens": "#3c8664"}
PANEL_WIDTH, PANEL_HEIGHT = 302, 172  # CSS pixels; with titles and axes two panels fill 700 x 250
SCALE = 2  # picture pixels for one CSS pixel


def write_curves_png(run: RunDir, path: Path) -> None:
    """Write reward and accuracy, and the length of completions, over steps; about 1400 x 500 pixels on white.

    Raises:
        RunFolderError: the run has no metrics, or no step of it has accuracy, reward or length.
    """
    import vl_convert

    steps = read_record(run).steps
    picture = vl_convert.vegalite_to_png(picture_spec(run, steps), scale=SCALE)
    write_bytes(path, picture)


def picture_spec(run: RunDir, steps: Rows) -> Spec:
    """Give the two panels as a spec."""
    import altair as alt

    wanted = ({"accuracy": "right answers", "reward": "reward"}, {"length": "tokens"})
    titles = ("Right answers and reward", "Length of a completion")
    panels = [
        draw_panel(title, steps, paint(lines))
        for title, metrics in zip(titles, wanted, strict=True)
        if (lines := read_lines(steps, metrics))
    ]
    if not panels:
        raise RunFolderError(
            f"{run.metrics} has no step with accuracy, reward or length to draw. Expected at least one trained step. "
            "Wait until the first step has ended."
        )
    spec = alt.hconcat(*panels, spacing=34).resolve_scale(color="independent").to_dict(validate=False)
    return spec | {"config": picture_config(), "background": "#ffffff"}


def draw_panel(title: str, steps: Rows, lines: Sequence[Line]) -> "alt.LayerChart":
    """Give one panel with its legend, without which the titles of two panels stand at two heights."""
    return line_layers(steps, lines, Look(has_legend=True)).properties(
        width=PANEL_WIDTH, height=PANEL_HEIGHT, title=title
    )


def paint(lines: Sequence[Line]) -> list[Line]:
    """Give the lines in colours that need no style sheet."""
    return [Line(label=line.label, colour=PICTURE_COLOURS[line.label], raw=line.raw, mean=line.mean) for line in lines]


def picture_config() -> Spec:
    """Give axes and letters for a white ground."""
    grey, rule = "#6b665d", "#e5dfd4"
    axis = {"labelColor": grey, "titleColor": grey, "gridColor": rule, "domainColor": rule, "titleFontWeight": "normal"}
    return {
        "font": "Liberation Sans, Arial, sans-serif",
        "padding": 12,
        "view": {"stroke": None},
        "axis": axis | {"ticks": False, "labelPadding": 5},
        "axisX": {"titleAnchor": "end"},
        "axisY": {"domain": False},
        "legend": {"labelColor": grey, "offset": 2},
        "title": {"anchor": "start", "color": "#23211d", "fontSize": 12, "fontWeight": 600, "offset": 8},
    }


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content`: the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
