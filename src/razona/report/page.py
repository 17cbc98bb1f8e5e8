"""The page of a run: one HTML file that needs no network, written while the run trains and after it."""

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from razona.core.files import write_text
from razona.core.rundir import RunDir
from razona.report.browser import StoredStep, read_browser
from razona.report.charts import Figure
from razona.report.curves import explain_smoothing, learning_figures, machinery_figures, working_figures
from razona.report.reading import RunRecord, read_record, text
from razona.report.results import result_figures
from razona.report.sections import (
    escape,
    render_base_prompts,
    render_examples,
    render_figures,
    render_folded,
    render_numbers,
    render_paragraphs,
    render_results_table,
    render_subtitle,
)

WORKING_HINT = "No reward counts steps: what changes here is a side effect of being paid for right answers."


def write_page(run: RunDir) -> Path:
    """Write the page of `run` from what its folder holds so far, and give the page's path.

    Only the metrics are required. Figures, examples and completions whose data is not there are left out.

    Raises:
        RunFolderError: the folder has no metrics, or a file of it cannot be read.
    """
    page = render_page(read_record(run), read_browser(run))
    # A completion may hold half a surrogate pair, which has no UTF-8: it becomes a question mark.
    write_text(run.report, page.encode("utf-8", "replace").decode("utf-8"))
    return run.report


def render_page(record: RunRecord, stored: list[StoredStep]) -> str:
    """Give the whole page as HTML."""
    results = result_figures(record)
    learning, working = learning_figures(record.steps), working_figures(record.steps)
    machinery = machinery_figures(record.steps)
    figures = [*results, *learning, *working, *machinery]
    library, script = load_library(), read_asset("page.js")
    return Template(read_asset("page.html")).substitute(
        policy=content_policy([library, script]),
        name=escape(record.name),
        style=read_asset("page.css"),
        subtitle=render_subtitle(record),
        numbers=render_numbers(record),
        paragraph=render_paragraphs(text(record.summary, "paragraph")),
        results=render_results(record, results),
        curves=render_curves(record, learning),
        working=render_group("working", "How the working changes", WORKING_HINT, working),
        machinery=render_group("machinery", "The optimizer", "Worth a look when a run misbehaves.", machinery),
        examples=render_examples(record),
        browser=read_asset("browser.html") if stored else "",
        folded=render_folded("Recipe", record.recipe) + render_folded("Environment", record.environment),
        specs=embed_json({figure.id: figure.spec for figure in figures}),
        completions=embed_json([step.as_json() for step in stored]),
        library=library,
        script=script,
    )


def render_results(record: RunRecord, figures: list[Figure]) -> str:
    """Give the section of base against tuned; empty without a comparison."""
    tables = render_results_table(record) + render_base_prompts(record)
    if not figures and not tables:
        return ""
    return (
        '<section id="results"><h2>Base against tuned</h2>'
        f'<div class="figures">{render_figures(figures)}</div>{tables}</section>'
    )


def render_curves(record: RunRecord, figures: list[Figure]) -> str:
    """Give the section of the curves over steps."""
    if not figures:
        return '<section id="curves"><h2>Over the steps</h2><p class="hint">No step has ended yet.</p></section>'
    return render_group("curves", "Over the steps", explain_smoothing(record.steps), figures)


def render_group(section_id: str, title: str, hint: str, figures: list[Figure]) -> str:
    """Give a section of figures under one title; empty without figures."""
    if not figures:
        return ""
    return (
        f'<section id="{section_id}"><h2>{escape(title)}</h2><p class="hint">{escape(hint)}</p>'
        f'<div class="figures">{render_figures(figures)}</div></section>'
    )


def embed_json(value: object) -> str:
    """Give JSON that can stand inside a script element: no character of it can end the element or open a comment."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def content_policy(scripts: list[str]) -> str:
    """Give the policy under which a browser runs these scripts, no others, and loads nothing.

    Vega compiles its expressions with `Function`, hence 'unsafe-eval'. It does not cover what the reader
    copies out of the page.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-eval' {allowed}"


@cache
def load_library() -> str:
    """Give Vega, Vega-Lite and Vega-Embed as one script; building it takes seconds, so once a process."""
    import vl_convert

    return (
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )


def read_asset(name: str) -> str:
    """Give a file that lies beside this one."""
    return resources.files("razona.report").joinpath(name).read_text(encoding="utf-8")
