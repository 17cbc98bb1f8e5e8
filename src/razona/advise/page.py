"""The page of the advice: the answer, the tree with the way taken, every rule, every figure; no script, no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from textwrap import wrap

from razona.advise.decision import TREE, Answer, Asked, Node
from razona.core.files import write_text
from razona.report.page import read_asset

BOX_WIDTH, BOX_HEIGHT, ACROSS, DOWN, MARGIN = 156, 54, 176, 98, 8  # CSS pixels
LINE_LETTERS, LINE_HEIGHT = 24, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A question or an answer of the tree, where it is drawn."""

    text: str
    is_answer: bool
    x: float
    """In columns while the tree is laid out, then in pixels; so y, in depths before."""
    y: float
    is_lit: bool
    saw: str
    parent: "tuple[float, float] | None"
    """Centre of the question that leads here."""
    word: str
    """The answer to that question: yes or no."""


def place_tree(path: Sequence[Asked]) -> list[Placed]:
    """Lay the tree out: of two branches the larger stands straight below its question, the other to its right, as near
    as what hangs below both allows.
    """
    return _branch(TREE, "", 0, path).boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """A part of the tree, its root in column 0."""

    boxes: list[Placed]
    ends: list[float]
    """By depth below the root, the last column that is taken."""

    def moved(self, columns: float) -> "_Branch":
        """Give it so many columns further to the right."""
        boxes = [
            replace(one, x=one.x + columns, parent=one.parent and (one.parent[0] + columns, one.parent[1]))
            for one in self.boxes
        ]
        return _Branch(boxes=boxes, ends=[end + columns for end in self.ends])


def _branch(node: Node | Answer, word: str, depth: int, way: Sequence[Asked] | None) -> _Branch:
    """Place what hangs below an answer to the question above.

    Args:
        way: what is still to be asked on the way taken; None: it is another way.
    """
    if isinstance(node, Answer):
        box = Placed(
            text=str(node), is_answer=True, x=0, y=depth, is_lit=way is not None, saw="", parent=None, word=word
        )
        return _Branch(boxes=[box], ends=[0.0])
    asked = way[0] if way else None
    further = {one: way[1:] if way and asked and asked.is_yes is one else None for one in (True, False)}
    branches = [
        _branch(node.yes, "yes", depth + 1, further[True]),
        _branch(node.no, "no", depth + 1, further[False]),
    ]
    branches.sort(key=lambda branch: len(branch.boxes), reverse=True)
    large, small = branches
    shared = min(len(large.ends), len(small.ends))
    small = small.moved(1 + max(large.ends[:shared]))
    boxes = [*large.boxes, *small.boxes]
    boxes = [replace(one, parent=(0.0, depth)) if one.y == depth + 1 and one.parent is None else one for one in boxes]
    own = Placed(
        text=node.question,
        is_answer=False,
        x=0,
        y=depth,
        is_lit=asked is not None,
        saw=asked.saw if asked else "",
        parent=None,
        word=word,
    )
    ends = [small.ends[row] if row < len(small.ends) else large.ends[row] for row in range(len(large.ends))]
    return _Branch(boxes=[own, *boxes], ends=[0.0, *ends])


def tree_svg(path: Sequence[Asked], answer: Answer) -> str:
    """Draw the tree with the way taken lit up."""
    placed = [_on_page(one) for one in place_tree(path)]
    placed.sort(key=lambda one: one.is_lit)  # what is lit is drawn above what is not
    width = max(one.x for one in placed) + BOX_WIDTH + MARGIN
    height = max(one.y for one in placed) + BOX_HEIGHT + MARGIN
    told = "; ".join(f"{one.question} {'yes' if one.is_yes else 'no'} ({one.saw})" for one in path)
    parts = [*(_edge(one) for one in placed if one.parent), *(_box(one) for one in placed)]
    return (
        f'<svg role="img" aria-labelledby="tree-title tree-desc" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="tree-title">The way to the answer: {escape(str(answer))}</title>'
        f'<desc id="tree-desc">{escape(told)}</desc>{"".join(parts)}</svg>'
    )


def _on_page(one: Placed) -> Placed:
    """Turn columns and depths into pixels."""

    def pixels(column: float, depth: float) -> tuple[float, float]:
        return MARGIN + column * ACROSS, MARGIN + depth * DOWN

    x, y = pixels(one.x, one.y)
    return replace(one, x=x, y=y, parent=one.parent and pixels(*one.parent))


def _edge(one: Placed) -> str:
    """Draw the line from the question above: straight down, or along and down."""
    assert one.parent is not None
    x1, y1 = one.parent[0] + BOX_WIDTH / 2, one.parent[1] + BOX_HEIGHT
    x2, y2 = one.x + BOX_WIDTH / 2, one.y
    state = "lit" if one.is_lit else "dim"
    return (
        f'<path class="edge {state}" d="M{x1:.1f} {y1:.1f} V{y2 - 20:.1f} H{x2:.1f} V{y2:.1f}"/>'
        f'<text class="word {state}" x="{x2 + 5:.1f}" y="{y2 - 6:.1f}">{one.word}</text>'
    )


def _box(one: Placed) -> str:
    lines = wrap(one.text, LINE_LETTERS)
    top = one.y + (BOX_HEIGHT - len(lines) * LINE_HEIGHT) / 2 + 11
    state = f"{'lit' if one.is_lit else 'dim'} {'leaf' if one.is_answer else 'node'}"
    texts = "".join(
        f'<text x="{one.x + BOX_WIDTH / 2:.1f}" y="{top + number * LINE_HEIGHT:.1f}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    hint = f"<title>{escape(one.saw)}</title>" if one.saw else ""
    radius = 14 if one.is_answer else 4
    return (
        f'<g class="{state}">{hint}<rect x="{one.x:.1f}" y="{one.y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="{radius}"/>{texts}</g>'
    )


STYLE = """
.tree { overflow-x: auto; padding: 4px 0 10px; }
.tree text { font-size: 12px; font-family: inherit; text-anchor: middle; fill: var(--ink); }
.tree rect { fill: var(--paper, #fff); stroke: var(--faded); stroke-width: 1; }
.tree .edge { fill: none; stroke: var(--faded); stroke-width: 1; opacity: .55; }
.tree .word { text-anchor: start; fill: var(--muted, #6b665d); font-size: 11px; }
.tree g.dim { opacity: .5; }
.tree g.lit rect { stroke: var(--tuned); stroke-width: 2; }
.tree g.lit.leaf rect { fill: var(--tuned); }
.tree g.lit.leaf text { fill: var(--paper); font-weight: 600; }
.tree .edge.lit { stroke: var(--tuned); stroke-width: 2.5; opacity: 1; }
.tree .word.lit { fill: var(--tuned); font-weight: 600; }
.answer-told { font-size: 1.12rem; max-width: 62ch; }
table.advice { width: 100%; max-width: none; }
table.advice th, table.advice td { text-align: left; vertical-align: top; font-size: .84rem; padding: 5px 12px 5px 0; }
table.advice td.fired { font-weight: 600; }
table.advice td.source { color: var(--muted, #6b665d); }
ol.way { padding-left: 1.3em; }
"""


def write_advice_page(found: Mapping, path: Sequence[Asked], answer: Answer, place: Path) -> Path:
    """Write the page and give its path.

    Args:
        found: as `razona.advise.advice.advise` gives it.
    """
    head = f"{found['model']} on {found['source']}"
    way = "".join(
        f"<li>{escape(one.question)} <b>{'yes' if one.is_yes else 'no'}</b>: {escape(one.saw)}</li>" for one in path
    )
    first = "".join(f"<li>{escape(one)}</li>" for one in found["first"])
    sections = [
        f'<h1>{escape(str(answer))}</h1><p class="answer-told">{escape(found["meaning"])}</p>',
        f"<p>{escape(found['expect'])}</p>" if found["expect"] else "",
        f"<h2>First</h2><ul>{first}</ul>" if first else "",
        f'<h2>The way there</h2><div class="tree scroll" tabindex="0">{tree_svg(path, answer)}</div>',
        f'<ol class="way">{way}</ol>',
        _rules(found["rulings"]),
        _figures(found["figures"]),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(str(answer))} · {escape(head)}</title><style>{read_asset('page.css')}{STYLE}</style></head>"
        f'<body><main><header><p class="kicker">Razona · reinforcement or supervised fine-tuning?</p>'
        f'<p class="subtitle">{escape(head)}</p></header>{"".join(sections)}</main></body></html>'
    )
    write_text(place, html.encode("utf-8", "replace").decode("utf-8"))
    return place


def _rules(rulings: Sequence[Mapping]) -> str:
    if not rulings:
        return ""
    rows = "".join(_rule_row(one) for one in rulings)
    return (
        "<h2>What the published rules say</h2><p class='hint'>They disagree; each is shown with what it saw here.</p>"
        "<div class='scroll'><table class='advice'><thead><tr><th>rule</th><th>threshold</th><th>saw</th><th>fired</th>"
        f"<th>then</th><th>source</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _rule_row(one: Mapping) -> str:
    cells = (one["rule"], one["threshold"], one["saw"])
    told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return (
        f"<tr>{told}<td class='fired'>{'yes' if one['fired'] else ''}</td><td>{escape(one['says'])}</td>"
        f"<td class='source'>{escape(one['source'])}</td></tr>"
    )


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    if not figures:
        return ""
    rows = "".join(f"<tr><td>{escape(label)}</td><td>{escape(value)}</td></tr>" for label, value in figures)
    return f"<h2>What was measured</h2><table class='advice'><tbody>{rows}</tbody></table>"


def lines_of_tree(path: Sequence[Asked], answer: Answer) -> Iterator[str]:
    """Give the way as lines for a terminal: the questions asked, and beside each where the other answer would lead."""
    place: Node | Answer = TREE
    for depth, one in enumerate(path):
        assert isinstance(place, Node)
        other = place.no if one.is_yes else place.yes
        aside = f"{'no' if one.is_yes else 'yes'}: {other if isinstance(other, Answer) else other.question}"
        lead = "   " * depth + ("└─ " if depth else "")
        yield f"{lead}{one.question} {'YES' if one.is_yes else 'NO'} ({one.saw})   [{aside}]"
        place = place.yes if one.is_yes else place.no
    yield f"{'   ' * len(path)}└─ {answer}"
