"""The decision page in a real browser."""

from dataclasses import replace
from pathlib import Path

import pytest
from advised import HEALTHY, exactly, solved_in_many
from test_report_browser import CHROMIUM, CONTRAST, PHONE, TOO_WIDE, Open, browser, open_page

from razona.advise.advice import told_of
from razona.advise.decision import decide
from razona.advise.evidence import Evidence
from razona.advise.page import write_advice_page
from razona.recipe import load

__all__ = ["browser", "open_page"]  # fixtures
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")
ANSWER_CONTRAST = """() => {
  const light = (fill) => {
    const parts = fill.match(/[\\d.]+/g).map((one) => Number(one) / 255);
    const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [box, word] = ["rect", "text"].map((kind) => document.querySelector(`.tree g.lit.leaf ${kind}`));
  const [one, other] = [box, word].map((element) => light(getComputedStyle(element).fill));
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""
WEAK = replace(HEALTHY, paid=exactly(0.0), signal=exactly(0.05), **solved_in_many(0.5))


def write(found: Evidence, folder: Path) -> str:
    decision = decide(found)
    told = told_of(load("demo"), found, decision)
    return write_advice_page(told, decision.path, decision.answer, folder / "advice.html").as_uri()


@pytest.mark.parametrize(("found", "answer"), [(HEALTHY, "RFT"), (WEAK, "SFT first, then RFT")])
def test_decision_page_opens_with_its_answer_and_every_question_of_the_way(open_page: Open, found, answer, tmp_path):
    opened = open_page(address := write(found, tmp_path))
    assert opened.requests == [address]
    assert opened.page.locator("h1").inner_text() == answer
    asked = [one.question for one in decide(found).path]
    assert opened.page.locator("ol.way li").count() == len(asked)
    lit = " ".join(opened.page.locator(".tree svg g.lit").all_text_contents())
    assert all(question.replace(" ", "") in lit.replace(" ", "") for question in asked)
    assert answer.replace(" ", "") in lit.replace(" ", "")


def test_decision_page_fits_a_phone_and_can_be_read_in_light_and_dark(open_page: Open, tmp_path):
    address = write(HEALTHY, tmp_path)
    assert open_page(address, viewport=PHONE).page.evaluate(TOO_WIDE) == [False, []]
    for scheme in ("light", "dark"):
        opened = open_page(address, color_scheme=scheme)
        texts = opened.page.evaluate(CONTRAST)
        assert len(texts) > 60
        weak = {one["told"].rsplit("] ", 1)[-1] for one in texts if one["ratio"] < 4.5}
        assert weak <= {"RFT"}  # in a box that is filled, which is another ground than the one that was looked at
        assert opened.page.evaluate(ANSWER_CONTRAST) >= 4.5
