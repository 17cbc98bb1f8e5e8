"""The page of a run: one HTML file that needs no network, written while the run trains and after it."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from razona.core.files import write_text
from razona.core.rundir import RunDir
from razona.report.browser import StoredStep, read_browser
from razona.report.charts import Figure
from razona.report.curves import (
    explain_smoothing,
    fine_tuning_figures,
    learning_figures,
    machinery_figures,
    working_figures,
)
from razona.report.facts import render_facts
from razona.report.findings import render_findings
from razona.report.held_out import held_out_figures
from razona.report.problems import Problems, read_problems
from razona.report.reading import RunRecord, number, read_record, text
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
    write_text(run.report, render_page(read_parts(run)))
    return run.report


def read_parts(run: RunDir) -> dict[str, str]:
    """Give the parts of the page of `run` as its folder stands, by their names in `page.html`.

    Raises:
        RunFolderError: as `write_page`.
    """
    return page_parts(read_record(run), read_browser(run), read_problems(run))


def render_page(parts: Mapping[str, str], *, live_version: str | None = None) -> str:
    """Give the whole page as HTML.

    Args:
        live_version: given for a page that `razona report --watch` serves: it asks its own server, and nobody else,
            whether there is a later version than this one, and loads that. The file on the disk asks nobody.
    """
    scripts, live_meta, live_script = [parts["library"], parts["script"]], "", ""
    if live_version is not None:
        scripts.append(read_asset("live.js"))
        live_meta = f'<meta name="razona-version" content="{escape(live_version)}">\n'
        live_script = f"<script>{scripts[-1]}</script>\n"
    policy = content_policy(scripts, may_ask_its_server=live_version is not None)
    page = Template(read_asset("page.html")).substitute(
        parts, policy=policy, live_meta=live_meta, live_script=live_script
    )
    # A completion may hold half a surrogate pair, which has no UTF-8: it becomes a question mark.
    return page.encode("utf-8", "replace").decode("utf-8")


def page_parts(record: RunRecord, stored: list[StoredStep], problems: Problems | None = None) -> dict[str, str]:
    """Give all of the page but what depends on whether it is a file or served.

    Args:
        problems: of the comparison of base and tuned; None where there is none.
    """
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):  # a check of every piece against the schema, which the tests make
        results = result_figures(record)
        learning = learning_figures(record.steps)
        learning[1:1] = held_out_figures(record)  # beside the accuracy in training
        working, machinery = working_figures(record.steps), machinery_figures(record.steps)
    fine_tuning = fine_tuning_figures(record.sft_updates)
    figures = [*results, *fine_tuning, *learning, *working, *machinery]
    return {
        "kicker": "Razona · a run",
        "name": escape(record.name),
        "style": read_asset("page.css"),
        "subtitle": render_subtitle(record),
        "numbers": render_numbers(record),
        "paragraph": render_paragraphs(text(record.summary, "paragraph")),
        "results": render_results(record, results),
        "health": render_findings(record),
        "fine_tuning": render_group("fine-tuning", "Supervised fine-tuning", told_fine_tuning(record), fine_tuning),
        "curves": render_curves(record, learning),
        "working": render_group("working", "How the working changes", WORKING_HINT, working),
        "machinery": render_group("machinery", "The optimizer", "Worth a look when a run misbehaves.", machinery),
        "examples": render_examples(record),
        "problems": read_asset("problems.html") if problems else "",
        "browser": read_asset("browser.html") if stored else "",
        "facts": render_facts(record),
        "folded": render_folded("Recipe", record.recipe) + render_folded("Environment", record.environment),
        "specs": embed_json({figure.id: figure.spec for figure in figures}),
        "completions": embed_json([step.as_json() for step in stored]),
        "problems_data": embed_json(problems.as_json() if problems else {}),
        "library": load_library(),
        "script": read_asset("page.js") + read_asset("problems.js"),
    }


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
    if not figures and record.sft_updates:
        return ""
    if not figures:
        return '<section id="curves"><h2>Over the steps</h2><p class="hint">No step has ended yet.</p></section>'
    return render_group("curves", "Over the steps", explain_smoothing(record.steps), figures)


def told_fine_tuning(record: RunRecord) -> str:
    """Say what the supervised fine-tuning learned from; that it still runs where it has no summary."""
    found = record.sft_summary
    if not found:
        return f"{len(record.sft_updates)} updates so far."
    counts = {name: number(found, name) for name in ("solutions", "updates", "trained_tokens", "seconds")}
    return (
        ", ".join(f"{value:,.0f} {name.replace('_', ' ')}" for name, value in counts.items() if value is not None) + "."
    )


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


def content_policy(scripts: list[str], *, may_ask_its_server: bool = False) -> str:
    """Give the policy under which a browser runs these scripts, no others, and loads nothing.

    A page that is served may ask its own server, which is on this machine, for its latest version.

    Vega compiles its expressions with `Function`, hence 'unsafe-eval'. It does not cover what the reader
    copies out of the page.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    asked = "; connect-src 'self'" if may_ask_its_server else ""
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-eval' {allowed}{asked}"


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
