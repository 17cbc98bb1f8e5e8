"""Pages full of hostile texts in a real browser: every text stands there as text, and nothing of it acts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_text import SHORT_TEXTS
from report_runs import completion_row, make_run, summary
from test_report_browser import CHROMIUM, Opened

from razona.core.files import write_json, write_jsonl, write_text
from razona.report import write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")

Open = Callable[[Path], Opened]
MARKS_OF_TEXTS = """() => ({
  acted: window.acted, frames: window.frames.length, base: document.baseURI, title: document.title,
  elements: [...document.querySelectorAll("img, iframe, base, link, object, embed, form[action], [onload], [onerror]")]
    .map((one) => one.outerHTML.slice(0, 80)),
  handlers: [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes])
    .filter((one) => /^on|^srcdoc$/.test(one.name) || /^\\s*javascript:/i.test(one.value)).map((one) => one.name),
  refresh: document.querySelectorAll("meta[http-equiv=refresh]").length,
  body: getComputedStyle(document.body).display,
})"""


@pytest.fixture(scope="module")
def open_page() -> Iterator[Open]:
    """Open pages in one browser; none must have complained, or asked a person anything, when the tests end."""
    opened: list[Opened] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)

        def open_it(place: Path) -> Opened:
            one = Opened(browser.new_page())
            opened.append(one)
            one.page.on("console", lambda said: one.errors.append(said.text) if said.type == "error" else None)
            one.page.on("pageerror", lambda error: one.errors.append(str(error)))
            one.page.on("dialog", lambda dialog: one.errors.append(dialog.message))
            one.page.on("request", lambda request: one.requests.append(request.url))
            one.page.goto(place.as_uri())
            one.page.evaluate("window.razonaDrawn")
            return one

        yield open_it
        browser.close()
    assert [error for one in opened for error in one.errors] == []


def assert_inert(opened: Opened, page: Path) -> None:
    """Hold that no text of an opened page became anything but text, and that nothing was asked for."""
    opened.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    opened.page.evaluate(
        "for (const one of document.querySelectorAll('main *')) one.dispatchEvent(new Event('mouseover'))"
    )
    opened.page.keyboard.press("Tab")
    found = opened.page.evaluate(MARKS_OF_TEXTS)
    title = found.pop("title")
    assert title and title != "acted"
    assert found == {
        "acted": None,
        "frames": 0,
        "base": page.as_uri(),
        "elements": [],
        "handlers": [],
        "refresh": 0,
        "body": "block",
    }
    assert opened.requests == [page.as_uri()]


def hostile_row(step: int, place: int, words: str) -> dict[str, object]:
    """Give a stored completion in which every text is the hostile one."""
    row = completion_row(step, place, words) | dict.fromkeys(
        ("question", "target", "answer", "reason", "family"), words
    )
    return row | {
        "parts": {words: 1.0},
        "receipt": [{"component": words, "weight": 1.0, "value": 1.0, "why": words}],
    }


def test_run_page_of_hostile_texts_is_inert_and_shows_them(open_page: Open, tmp_path: Path) -> None:
    texts = list(SHORT_TEXTS.values())
    run = make_run(tmp_path / "a run <b>", steps=4, stored=())
    for step in range(1, 5):
        rows = [hostile_row(step, place, words) for place, words in enumerate(texts[24 * (step - 1) : 24 * step])]
        write_jsonl(run.completions(step), rows)
    every = " ".join(texts)
    example = dict.fromkeys(("question", "target", "base", "tuned"), every) | {
        "base_outcome": every,
        "tuned_outcome": "x",
    }
    words = {"recipe": every, "model": every, "paragraph": every, "examples": [example], "families": {every: {"n": 1}}}
    write_json(run.summary, summary() | words)
    write_jsonl(run.health, [{"step": 1, "rule": one, "sees": one, "why": one, "change": one} for one in texts])
    write_text(run.recipe, every)
    write_text(run.environment, every)
    write_page(run)
    opened = open_page(run.report)
    opened.choose("step", "all of these")
    assert_inert(opened, run.report)
    shown = opened.page.locator("#browser-rows pre").all_text_contents()
    whole = [one for one in texts if one.encode("utf-8", "ignore").decode() == one and len(one) < 3_000]
    assert len(whole) > 50 and [one for one in whole if one not in shown] == []


def test_comparison_page_of_hostile_texts_is_inert(open_page: Open, tmp_path: Path) -> None:
    from razona.report.comparison import write_comparison_page

    texts = list(SHORT_TEXTS.values())
    every = " ".join(texts)
    told = summary() | {"names": {"base": every, "tuned": every}, "settings": {"base": every}, "paragraph": every}
    told["base_prompts"] = {every: {"sampled": 0.1, "greedy": 0.05, "n": 200}}
    changes = [
        {
            **dict.fromkeys(("id", "question", "family", "target", "base", "tuned"), words),
            "change": ("lost", "won", "unchanged")[place % 3],
            **{
                f"{side}_{part}": value
                for side in ("base", "tuned")
                for part, value in (("share", 0.5), ("outcome", words))
            },
        }
        for place, words in enumerate(texts)
    ]
    page = write_comparison_page(tmp_path / "comparison", told, changes)
    opened = open_page(page)
    assert_inert(opened, page)
    assert "<script>window.acted = 1; document.title = 'acted'</script>" in opened.page.locator("main").inner_text()


def test_advice_page_of_hostile_texts_is_inert(open_page: Open, tmp_path: Path) -> None:
    from razona.advise.decision import Answer, Asked
    from razona.advise.page import write_advice_page

    texts = list(SHORT_TEXTS.values())
    every = " ".join(texts)
    ruling = dict.fromkeys(("rule", "threshold", "saw", "says", "source"), every) | {"fired": True}
    told = dict.fromkeys(("model", "source", "meaning", "expect"), every)
    told |= {"first": texts, "rulings": [ruling], "figures": [(every, every)]}
    path = [Asked(question=one, saw=one, is_yes=False) for one in texts]
    page = write_advice_page(told, path, Answer.SFT, tmp_path / "advice.html")
    opened = open_page(page)
    assert_inert(opened, page)
    assert (
        opened.page.locator("main").inner_text().count("<script>window.acted = 1; document.title = 'acted'</script>")
        > 5
    )
