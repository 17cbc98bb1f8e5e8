"""What the health rules found, as a section of the page."""

from html import escape

from razona.report.reading import RunRecord, number, text

MAX_FINDINGS = 40  # shown; a rule that fires at every step would bury the rest of the page
HINT = "Rules look at every step while the run trains. What they see, why it hurts, what to change; newest first."


def render_findings(record: RunRecord) -> str:
    """Give the findings of the health rules, newest first; empty where there are none."""
    if not record.health:
        return ""
    newest = record.health[::-1]
    shown = "".join(render_finding(row) for row in newest[:MAX_FINDINGS])
    left = len(newest) - MAX_FINDINGS
    more = f'<p class="hint">{left} earlier findings are in health.jsonl.</p>' if left > 0 else ""
    head = f'<h2>Health</h2><p class="hint">{HINT}</p>'
    return f'<section id="health">{head}<ol class="findings">{shown}</ol>{more}</section>'


def render_finding(row: dict[str, object]) -> str:
    """Give one finding."""
    step = number(row, "step")
    place = "" if step is None else f' <span class="family">step {step:.0f}</span>'
    told = "".join(
        f'<div><dt>{term}</dt><dd class="data">{escape(text(row, name))}</dd></div>'
        for term, name in (("Why it hurts", "why"), ("What to change", "change"))
        if text(row, name)
    )
    rule = escape(text(row, "rule").replace("_", " "))
    return (
        f'<li><p class="head"><b class="data">{rule}</b>{place}</p>'
        f'<p class="data">{escape(text(row, "sees"))}</p><dl>{told}</dl></li>'
    )
