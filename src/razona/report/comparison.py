"""The page of `razona compare`: one HTML file that needs no network; and its figures as a picture."""

import json
from collections.abc import Sequence
from pathlib import Path

from razona.core.errors import RunFolderError
from razona.core.files import write_json, write_text
from razona.report.charts import Spec
from razona.report.page import page_parts, render_page
from razona.report.picture import picture_config, write_bytes
from razona.report.problems import choose_problems
from razona.report.reading import RunRecord, entries, text
from razona.report.results import result_figures
from razona.report.sections import escape

PICTURE_COLOURS = {
    "var(--base)": "#9a9285",
    "var(--tuned)": "#2a5db0",
    "var(--amber)": "#b3781b",
    "var(--ink)": "#23211d",
}
"""Colour of the page -> of a picture, which has no style sheet."""
NOT_OURS = ("recipe.yaml", "metrics.jsonl", "settings.json")
"""Files that no comparison's folder holds."""
PANEL_WIDTH, PANEL_HEIGHT = 320, 210  # CSS pixels
ROOT_KEYS = ("config", "autosize", "$schema", "datasets", "background")
"""Of a figure's spec: what a panel of a larger one must not have."""
SCALE = 2  # picture pixels for one CSS pixel


def write_comparison_page(folder: Path, summary: dict[str, object], changes: Sequence[dict[str, object]]) -> Path:
    """Write summary.json, every problem with what became of it, and the page, and give the page's path.

    Args:
        summary: as `razona.evaluate.contest.summarise` gives it, like `changes`.

    Raises:
        RunFolderError: the folder is a run's or an evaluation's.
    """
    taken = next((name for name in NOT_OURS if (folder / name).exists()), None)
    if taken:
        raise RunFolderError(
            f"--out {folder} holds {taken}: it is the folder of a run or of an evaluation, whose page and figures "
            "would be lost. Give another folder."
        )
    write_json(folder / "summary.json", summary)
    names = (text(summary, "names", "base"), text(summary, "names", "tuned"))
    record = RunRecord(
        name=" and ".join(names),
        steps=[],
        summary=summary,
        recipe="",
        environment=json.dumps(summary["settings"], indent=2, ensure_ascii=False),
        guard=[],
        health=[],
    )
    parts = page_parts(record, [], choose_problems(changes)) | {
        "kicker": "Razona · a comparison",
        "subtitle": escape(f"base: {names[0]} · tuned: {names[1]}"),
        "curves": "",
    }
    path = folder / "report.html"
    write_text(path, render_page(parts))
    return path


def write_comparison_png(summary: dict[str, object], path: Path) -> None:
    """Write bars with intervals and pass@k over k as a picture on white."""
    import vl_convert

    write_bytes(path, vl_convert.vegalite_to_png(comparison_spec(summary), scale=SCALE))


def comparison_spec(summary: dict[str, object]) -> Spec:
    """Give the panels of the picture as one spec."""
    record = RunRecord(name="", steps=[], summary=summary, recipe="", environment="", guard=[], health=[])
    panels, data = [], {}
    for figure in result_figures(record):
        if figure.id in ("in-distribution", "pass-at-k"):
            data |= entries(figure.spec, "datasets")  # which Vega-Lite looks for at the root alone
            kept = {key: value for key, value in figure.spec.items() if key not in ROOT_KEYS}
            title = {"text": figure.words.title, "subtitle": picture_legend(summary)}
            panels.append({**kept, "width": PANEL_WIDTH, "height": PANEL_HEIGHT, "title": title})
    spec: Spec = {
        "hconcat": panels,
        "datasets": data,
        "spacing": 34,
        "background": "#ffffff",
        "config": picture_config(),
        "resolve": {"scale": {"color": "independent"}},
    }
    written = json.dumps(spec)
    for name, colour in PICTURE_COLOURS.items():
        written = written.replace(name, colour)
    return json.loads(written)


def picture_legend(summary: dict[str, object]) -> str:
    """Say whose colour is which."""
    told = f"grey: {text(summary, 'names', 'base')} \u00b7 blue: {text(summary, 'names', 'tuned')}"
    prompt = text(summary, "base_best", "prompt")
    if prompt in ("", "training"):
        return told
    return f"{told} \u00b7 amber: {text(summary, 'names', 'base')}, {prompt} prompt"
