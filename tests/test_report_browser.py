"""The page of a run in a real browser: what is drawn, what keys and filters do, and that texts do nothing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from report_runs import ACTING_TEXTS, FAMILIES, completion_row, make_run, metrics_row, write_completions

from razona.core.rundir import RunDir
from razona.report import write_page
from razona.report.serve import PageServer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")

STORED = (1, 10, 20, 40)
PHONE = {"width": 380, "height": 800}
DESK = {"width": 1280, "height": 900}
CONTRAST = """() => {
  const rgba = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = rgba(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
  };
  const hasWords = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = [...document.querySelectorAll("main *")].filter(
    (one) => hasWords(one) && one.getClientRects().length && !one.disabled && one.tagName !== "OPTION",
  );
  return texts.map((one) => {
    const style = getComputedStyle(one);
    const ink = light(rgba(one instanceof SVGElement ? style.fill : style.color));
    const paper = light(ground(one));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    return { ratio, told: `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}` };
  });
}"""

TOO_WIDE = """() => {
  const isOut = (one) => one.getBoundingClientRect().right > window.innerWidth + 1 && !one.closest(".scroll, pre, svg");
  const out = [...document.querySelectorAll("main *")].filter(isOut).map((one) => one.outerHTML.slice(0, 80));
  return [document.documentElement.scrollWidth > window.innerWidth, out];
}"""


@dataclass
class Opened:
    """A page in the browser, and what it said and asked for while it was open."""

    page: "sync_api.Page"
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return self.page.locator("#browser-status").inner_text()

    def choose(self, name: str, label: str) -> str:
        self.page.locator(f"#browser-{name}").select_option(label=label)
        return self.status

    def search(self, words: str) -> str:
        self.page.locator("#browser-search").fill(words)
        return self.status

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 30)")

    def tab_to(self, wanted: str) -> None:
        """Press Tab until the focus is on the element with this id or these words."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if self.focused() == wanted:
                return
        raise AssertionError(f"80 presses of Tab never reached {wanted}")


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: "sync_api.Browser") -> Iterator[Open]:
    """Open an address; the page must not have complained when the test ends."""
    contexts, opened = [], []

    def open_it(address: str, **options: object) -> Opened:
        contexts.append(context := browser.new_context(**({"viewport": DESK, "reduced_motion": "reduce"} | options)))
        one = Opened(context.new_page())
        opened.append(one)
        one.page.on("console", lambda said: one.errors.append(said.text) if said.type == "error" else None)
        one.page.on("pageerror", lambda error: one.errors.append(str(error)))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.goto(address)
        one.page.evaluate("window.razonaDrawn")
        return one

    yield open_it
    for context in contexts:
        context.close()
    assert [error for one in opened for error in one.errors] == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = make_run(tmp_path_factory.mktemp("runs") / "demo", steps=40, stored=STORED)
    write_page(made)
    return made


@pytest.fixture
def opened(open_page: Open, run: RunDir) -> Opened:
    return open_page(run.report.as_uri())


def test_page_asks_for_nothing_but_itself(opened: Opened, run: RunDir) -> None:
    opened.choose("step", "all of these")
    assert opened.requests == [run.report.as_uri()]


def test_every_chart_is_drawn(opened: Opened) -> None:
    charts = opened.page.locator(".chart")
    assert charts.count() == 17
    assert opened.page.locator(".chart:has(svg .role-mark > *)").count() == 17
    widths = opened.page.evaluate(
        "[...document.querySelectorAll('.chart')].map((one) => one.querySelector('svg').clientWidth / one.clientWidth)"
    )
    assert all(0.9 < width <= 1.01 for width in widths)
    assert "could not be drawn" not in opened.page.locator("main").inner_text()


def test_held_out_dots_stand_at_their_steps(opened: Opened) -> None:
    dots = opened.page.locator('[data-figure="held-out"] .mark-symbol.role-mark path')
    assert dots.count() == 4
    assert opened.page.locator('[data-figure="held-out"] .mark-rule.role-mark line').count() == 4


def test_filters_leave_what_they_say(opened: Opened) -> None:
    rows = opened.page.locator("#browser-rows > li")
    assert opened.status == "24 of 24 completions of step 40"
    # A group of eight holds 4 correct, 2 incorrect, 1 without an answer, 1 unverified; a step holds 3 groups.
    for label, count in (("correct", 12), ("incorrect", 6), ("no answer", 3), ("unverified", 3)):
        assert opened.choose("outcome", label) == f"{count} of 24 completions of step 40"
        assert rows.count() == count
        assert set(opened.page.locator("#browser-rows .badge").all_inner_texts()) == {label}
    opened.choose("outcome", "all")
    for label, count in (("above zero", 12), ("zero or below", 9), ("none given", 3)):
        assert opened.choose("paid", label) == f"{count} of 24 completions of step 40"
    opened.choose("paid", "all")
    assert opened.choose("family", "word problems") == "8 of 24 completions of step 40"
    assert opened.choose("outcome", "correct") == "4 of 24 completions of step 40"
    assert opened.choose("step", "all of these") == "16 of 96 completions of 4 steps"
    opened.choose("family", "all")
    assert opened.choose("outcome", "all") == "96 of 96 completions of 4 steps"
    assert opened.search("PLACE 7.") == "4 of 96 completions of 4 steps"
    assert opened.search("problem 2 of step 1:") == "8 of 96 completions of 4 steps"
    assert opened.search("no such words") == "0 of 96 completions of 4 steps"
    assert rows.count() == 0


def test_families_are_offered_only_where_there_are_several(opened: Opened, open_page: Open, tmp_path: Path) -> None:
    names = opened.page.locator("#browser-family option").all_inner_texts()
    assert names == ["all", *sorted(name.replace("_", " ") for name in FAMILIES)]
    assert opened.page.locator("#browser-family").is_visible()
    run = make_run(tmp_path / "one-family", steps=2, stored=())
    write_completions(run, 2, [completion_row(2, place, "34") for place in range(8)])
    write_page(run)
    assert not open_page(run.report.as_uri()).page.locator("#browser-family").is_visible()


def test_receipt_shows_how_each_reward_came_about(opened: Opened) -> None:
    def receipt(place: int) -> list[list[str]]:
        lines = opened.page.locator("#browser-rows > li").nth(place).locator(".receipt tr")
        return [line.locator("th, td").all_inner_texts() for line in lines.all()]

    title = ["component", "weight", "value", "part", "why"]
    right, wrong = "the form is the one asked for", "only paid to correct completions"
    compared = "the answer is compared exactly"
    assert receipt(0) == [title, ["correct", "1", "1.00", "1.00", compared], ["format", "0.2", "1.00", "0.20", right]]
    assert receipt(3) == [title, ["correct", "1", "0.00", "0.00", compared], ["format", "0.2", "0.00", "0.00", wrong]]
    assert receipt(6) == []  # unverified: our side failed, nothing was weighed


def test_keys_alone_reach_and_work_every_control(opened: Opened) -> None:
    keyboard = opened.page.keyboard
    opened.tab_to("browser-earlier")
    keyboard.press("Enter")
    assert opened.status.endswith("of step 20")
    keyboard.press("Tab")
    assert opened.focused() == "browser-step"
    keyboard.press("ArrowUp")
    assert opened.status.endswith("of step 10")
    keyboard.press("Tab")
    assert opened.focused() == "browser-later"
    keyboard.press("Enter")
    assert opened.status.endswith("of step 20")
    for name, count in (("outcome", 12), ("paid", 12), ("family", 4)):
        keyboard.press("Tab")
        assert opened.focused() == f"browser-{name}"
        keyboard.press("ArrowDown")
        assert opened.status == f"{count} of 24 completions of step 20"
        assert opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keyboard.press("Tab")
    keyboard.type("no such words")
    assert opened.status == "0 of 24 completions of step 20"


def test_keys_open_what_is_folded(opened: Opened) -> None:
    opened.tab_to("Recipe")
    assert not opened.page.get_by_text("name: demo").is_visible()
    opened.page.keyboard.press("Enter")
    assert opened.page.get_by_text("name: demo").is_visible()


def test_nothing_is_wider_than_a_phone(open_page: Open, run: RunDir) -> None:
    opened = open_page(run.report.as_uri(), viewport=PHONE)
    opened.choose("step", "all of these")
    opened.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    wide = opened.page.evaluate(TOO_WIDE)
    assert wide == [False, []]


def test_light_and_dark_differ_and_both_can_be_read(open_page: Open, run: RunDir) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        opened = open_page(run.report.as_uri(), color_scheme=scheme)
        grounds[scheme] = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        texts = opened.page.evaluate(CONTRAST)
        assert len(texts) > 300
        assert [one for one in texts if one["ratio"] < 4.5] == []
    assert grounds == {"light": "rgb(250, 248, 244)", "dark": "rgb(22, 21, 19)"}


def test_texts_that_could_act_stand_there_as_text(opened: Opened) -> None:
    assert opened.page.evaluate("[window.acted, document.title]") == [None, "demo · Razona"]
    assert opened.page.locator("main img, main script, #browser-rows svg").count() == 0
    shown = opened.page.locator("#browser-rows pre").all_inner_texts()
    for place, text in enumerate(ACTING_TEXTS):
        assert shown[place] == f"{text} place {place}."


def test_page_of_500_steps_is_small_and_opens(open_page: Open, tmp_path: Path) -> None:
    run = make_run(tmp_path / "long", steps=500, stored=range(1, 501, 10), text="好" * 9000)
    write_page(run)
    assert run.report.stat().st_size < 5_000_000
    opened = open_page(run.report.as_uri())
    assert opened.page.locator(".chart svg").count() == 17
    assert opened.status == "24 of 24 completions of step 491"


def test_served_page_follows_the_run_and_stays_where_the_reader_is(open_page: Open, tmp_path: Path) -> None:
    run = make_run(tmp_path / "live", steps=20, stored=(1, 10, 20))
    with PageServer(run, 0) as server:
        opened = open_page(server.address)
        assert opened.page.locator("#live-status").inner_text().startswith("Followed live")
        opened.choose("step", "10")
        opened.choose("outcome", "correct")
        opened.search("place")
        place = 1500
        opened.page.evaluate(f"window.scrollTo({{ top: {place}, behavior: 'instant' }})")
        run.append_step(metrics_row(21, 20))
        assert server.refresh()
        stamp = server.version.stamp
        opened.page.wait_for_function(f"document.querySelector('meta[name=razona-version]').content === '{stamp}'")
        opened.page.evaluate("window.razonaDrawn")
        opened.page.wait_for_function(f"Math.abs(window.scrollY - {place}) < 3")
        assert opened.status == "12 of 24 completions of step 10"
        assert opened.focused() == "browser-search"
        assert {url.removeprefix(server.address) for url in opened.requests} == {"", "version"}
    opened.page.wait_for_function("document.querySelector('#live-status').textContent.startsWith('No longer')")
    assert all("ERR_CONNECTION_REFUSED" in error for error in opened.errors)
    opened.errors.clear()
