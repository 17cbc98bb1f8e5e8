"""The parts of the page as HTML; every word that comes from data passes through `escape`."""

from collections.abc import Sequence
from html import escape

from razona.core.nouns import Outcome
from razona.report.charts import Figure, format_number, format_share
from razona.report.reading import RunRecord, ends_of, entries, interval, number, rows, text
from razona.report.results import metric_label, scored_metrics

OUTCOME_WORDS = {
    Outcome.CORRECT: "correct",
    Outcome.INCORRECT: "incorrect",
    Outcome.NO_ANSWER: "no answer",
    Outcome.UNVERIFIED: "unverified",
}
MISSING = "\u2013"  # an en dash
RECENT = 5  # steps averaged in the figures of a run that still trains


def render_subtitle(record: RunRecord) -> str:
    """Give the line under the title: recipe and model, or that the run still trains."""
    told = [f"{kind} {text(record.summary, kind)}" for kind in ("recipe", "model") if text(record.summary, kind)]
    if not record.summary:
        told.append(
            "not compared with its base yet; while it trains, this page is written anew: reload it for later steps"
        )
    return escape(" · ".join(told))


def render_numbers(record: RunRecord) -> str:
    """Give the row of large numbers: the comparison where there is one, the latest steps where not."""
    return render_compared(record) if record.summary else render_live(record)


def render_compared(record: RunRecord) -> str:
    """Give base and tuned in large numbers, with steps and minutes."""
    summary = record.summary
    minutes = number(summary, "seconds", "total")
    trained = number(summary, "seconds", "train")
    best = best_prompt_card(summary)
    cards = [
        best,
        compared_card("pass@1", summary, "pass_at_1", "" if best else "is-lead"),
        compared_card("greedy", summary, "greedy"),
        compared_card("out of distribution, pass@1", entries(summary, "ood"), "pass_at_1"),
    ]
    steps = number(summary, "steps") or len(record.steps)
    if steps:
        told = "" if minutes is None else f"{format_minutes(minutes)} minutes"
        told += "" if minutes is None or trained is None else f", {format_minutes(trained)} of them training"
        cards.append(card("steps", format_number(steps), told or "of the optimizer"))
    return "".join(cards)


def best_prompt_card(summary: dict[str, object]) -> str:
    """Give the gain over the base under the prompt that suits it best; empty where none was sought."""
    gain, base = number(summary, "base_best", "gain", "pass_at_1"), number(summary, "base_best", "pass_at_1")
    ends = ends_of(summary, "base_best", "gain", "ci95")
    if gain is None or base is None or ends is None:
        return ""
    points = f"{100 * ends.low:+.1f} to {100 * ends.high:+.1f} points"
    note = f"{points}, 95\u202f% interval; {text(summary, 'base_best', 'prompt')} prompt, base {format_share(base)}"
    return card("gain over the base\u2019s best prompt", f"<span>{100 * gain:+.0f}\u202fpoints</span>", note, "is-lead")


def compared_card(title: str, models: dict[str, object], metric: str, kind: str = "") -> str:
    """Give the card of one metric before and after; empty where neither model was scored on it."""
    base, tuned = number(models, "base", metric), number(models, "tuned", metric)
    shown = [value for value in (base, tuned) if value is not None]
    if not shown:
        return ""
    arrow = ' <span class="arrow" role="img" aria-label="to">→</span> '
    spans = [f"<span>{format_share(value)}</span>" for value in shown]
    if base is not None:
        spans[0] = spans[0].replace("<span>", '<span class="before">')
    ends = [interval(models.get(model), metric) for model in ("base", "tuned")]
    told = [
        f"{format_share(one.low)}\u2013{format_share(one.high)}".replace("\u202f%\u2013", "\u2013")
        for one in ends
        if one
    ]
    n = number(models, "tuned", "n") or number(models, "base", "n")
    notes = [" → ".join(told), "95\u202f% interval"] if told else []
    notes += [] if n is None else [f"{n:.0f} problems"]
    return card(title, arrow.join(spans), ", ".join(notes), kind)


def card(title: str, value: str, note: str = "", kind: str = "") -> str:
    """Give one large number; `value` is HTML of ours, title and note are text."""
    small = f'<dd class="note">{escape(note)}</dd>' if note else ""
    return f'<div class="number {kind}"><dt>{escape(title)}</dt><dd class="value">{value}</dd>{small}</div>'


def render_live(record: RunRecord) -> str:
    """Give where a run that still trains has come to."""
    if not record.steps:
        return card("steps", "0", "the first has not ended yet")
    recent = record.steps[-RECENT:]
    cards = []
    for metric, write in (("accuracy", format_share), ("reward", format_number), ("length", format_number)):
        values = [value for row in recent if (value := number(row, metric)) is not None]
        if values:
            note = f"{'tokens, ' if metric == 'length' else ''}mean of the last {len(values)} steps"
            kind = "is-lead" if metric == "accuracy" else ""
            cards.append(card(metric, write(sum(values) / len(values)), note, kind))
    cards.append(card("steps", format_number(number(record.steps[-1], "step") or len(record.steps)), "so far"))
    seconds = sum(number(row, "seconds") or 0 for row in record.steps)
    return "".join([*cards, card("minutes", format_minutes(seconds), "in steps so far")])


def format_minutes(seconds: float) -> str:
    """Write seconds as minutes, with a decimal below ten."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:,.0f}"


def render_paragraphs(words: str) -> str:
    """Give plain text as paragraphs, parted at empty lines."""
    return "".join(f"<p>{escape(part.strip())}</p>" for part in words.split("\n\n") if part.strip())


def render_figures(figures: Sequence[Figure]) -> str:
    """Give the places that `page.js` draws the charts into, with their words."""
    return "".join(render_figure(figure) for figure in figures)


def render_figure(figure: Figure) -> str:
    """Give one figure: title, legend, chart, caption."""
    keys = "".join(
        f'<li><span class="swatch" style="background:{escape(key.colour)}"></span>{escape(key.label)}'
        + (f" <b>{escape(key.value)}</b>" if key.value else "")
        + "</li>"
        for key in figure.legend
    )
    return (
        f'<figure class="{"is-small" if figure.is_small else ""}"><h3>{escape(figure.words.title)}</h3>'
        f'<ul class="legend">{keys}</ul>'
        f'<div class="chart" data-figure="{escape(figure.id)}" role="img" '
        f'aria-label="{escape(figure.description)}"></div>'
        f"<figcaption>{escape(figure.words.caption)}</figcaption></figure>"
    )


def render_results_table(record: RunRecord) -> str:
    """Give every figure of the comparison as a table; empty without a comparison."""
    places = (("held-out", entries(record.summary)), ("harder", entries(record.summary, "ood")))
    body = "".join(
        f'<tr><th scope="row">{escape(place)}, {escape(metric_label(metric).replace("_", " "))}</th>'
        + "".join(f"<td>{table_cell(models.get(model), metric)}</td>" for model in ("base", "tuned"))
        + "</tr>"
        for place, models in places
        for metric in table_metrics(models)
    )
    if not body:
        return ""
    head = '<tr><th scope="col">Measured on</th><th scope="col">base</th><th scope="col">tuned</th></tr>'
    return (
        "<details><summary>The same in numbers</summary>"
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div></details>'
    )


def table_metrics(models: dict[str, object]) -> list[str]:
    """Give the rows of one evaluation's table."""
    estimates = [models.get("base"), models.get("tuned")]
    further = ("format_rate", "mean_length", "worked_steps")
    return scored_metrics(estimates) + [
        name for name in further if any(number(one, name) is not None for one in estimates)
    ]


def table_cell(estimate: object, metric: str) -> str:
    """Give one number with its interval."""
    value, ends = number(estimate, metric), interval(estimate, metric)
    if value is None:
        return MISSING
    write = format_number if metric in ("mean_length", "worked_steps") else format_share
    return write(value) + (f" <small>({write(ends.low)} to {write(ends.high)})</small>" if ends else "")


def render_base_prompts(record: RunRecord) -> str:
    """Give what the base model scores under other prompts; empty where none was tried."""
    tried = entries(record.summary, "base_prompts")
    if not tried:
        return ""
    body = ""
    for name, found in tried.items():
        shares = [number(found, mode) for mode in ("sampled", "greedy")]
        cells = "".join(f"<td>{MISSING if share is None else format_share(share)}</td>" for share in shares)
        n = number(found, "n")
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{MISSING if n is None else f"{n:.0f}"}</td></tr>'
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Prompt", "sampled", "greedy", "problems"))
    return (
        '<div class="prompts"><h3>The base model under other prompts</h3><div class="scroll"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="hint">Were one of these as high as the tuned model, a prompt could have replaced the training.'
        "</p></div>"
    )


def render_examples(record: RunRecord) -> str:
    """Give the same problems answered by base and tuned; empty where the summary holds none."""
    articles = "".join(render_example(found) for found in rows(record.summary, "examples")[:3])
    if not articles:
        return ""
    return f'<section id="problems"><h2>The same problems, before and after</h2>{articles}</section>'


def render_example(found: object) -> str:
    """Give one problem with both completions side by side."""
    sides = "".join(
        f"<div><h4>{model} {render_badge(text(found, f'{model}_outcome'))}</h4>"
        f"<pre>{escape(text(found, model))}</pre></div>"
        for model in ("base", "tuned")
    )
    return (
        f'<article class="example"><p class="question">{escape(text(found, "question"))}</p>'
        f'<p class="hint">Target <b class="data">{escape(text(found, "target"))}</b></p>'
        f'<div class="sides">{sides}</div></article>'
    )


def render_badge(outcome: str) -> str:
    """Give a verdict as a badge; a word that is no verdict is shown as it is."""
    known = next((one for one in Outcome if one.value == outcome), None)
    words = outcome if known is None else OUTCOME_WORDS[known]
    return f'<span class="badge {known or "unverified"}">{escape(words)}</span>' if words else ""


def render_folded(title: str, content: str) -> str:
    """Give a file of the run folder, folded; empty where the run has none."""
    if not content.strip():
        return ""
    return f'<details><summary>{escape(title)}</summary><pre tabindex="0">{escape(content.strip())}</pre></details>'
