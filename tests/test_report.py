"""The page of a run: what stands on it, that data cannot act in it, and that it loads nothing."""

import base64
import hashlib
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import pytest
import vl_convert
from report_runs import estimate, write_completions

from razona.core.errors import RunFolderError
from razona.core.rundir import RunDir
from razona.report import write_curves_png, write_page
from razona.report.browser import MAX_COMPLETIONS, MAX_STEPS, MAX_TEXT
from razona.report.charts import format_share, running_mean
from razona.report.reading import spread_evenly

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)><!--<script>\ud800 ${name} &lt;b&gt; {{7*7}}"
STEP_FIGURES = {
    "accuracy": {"accuracy": 0.14, "format_rate": 0.8},
    "reward": {"reward": 0.21, "reward/correct": 0.14, "reward/format": 0.07, 'reward/"\\" + {[.': 0.0},
    "reward-shares": {},
    "length": {"length": 18.2},
    "groups": {"informative_groups": 0.7, "all_right_groups": 0.1, "all_wrong_groups": 0.2},
    "worked-steps": {"worked_steps": 0.4},
    "worked-share": {"worked_share": 0.22, "steps_all_true": None},
    "loss": {"loss": 0.01},
    "grad-norm": {"grad_norm": 0.4},
    "entropy": {"entropy": 1.1},
    "truncated": {"truncated": 0.01},
    "unverified": {"unverified": 0.0},
}


class PageReader(HTMLParser):
    """Collects the elements of a page and what stands inside its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def data(self, script_id: str) -> object:
        index = [attributes.get("id") for attributes in self.all("script")].index(script_id)
        return json.loads(self.scripts[index])

    def figures(self) -> list[str | None]:
        return [attributes["data-figure"] for attributes in self.all("div") if "data-figure" in attributes]


def summary() -> dict[str, object]:
    example = {"question": HOSTILE, "target": "34", "base": HOSTILE, "base_outcome": "incorrect"}
    return {
        "recipe": HOSTILE,
        "model": "embedded",
        "steps": 50,
        "seconds": {"train": 490.0, "total": 660.0},
        "base": estimate(0.094),
        "tuned": estimate(0.87),
        "ood": {"base": estimate(0.03), "tuned": estimate(0.31)},
        "base_prompts": {HOSTILE: {"sampled": 0.1, "greedy": 0.05, "n": 200}},
        "paragraph": f"First.\n\n{HOSTILE}",
        "examples": [example | {"tuned": "12 + 22 = 34", "tuned_outcome": "correct"}] * 3,
        "families": {"sorting": {"n": 9, "base": 0.1, "tuned": 0.2}, HOSTILE: {"n": 64, "base": 0.05, "tuned": 0.9}},
    }


def completion(step: int, text: str = HOSTILE) -> dict[str, object]:
    return {
        "step": step,
        "problem_id": "p1",
        "family": HOSTILE,
        "question": HOSTILE,
        "target": "34",
        "completion": text,
        "outcome": HOSTILE,
        "answer": HOSTILE,
        "reason": HOSTILE,
        "reward": None,
        "parts": {HOSTILE: 0.2},
        "advantage": 0.3,
        "num_tokens": 25,
        "is_truncated": False,
    }


@pytest.fixture
def live_run(tmp_path: Path) -> RunDir:
    """A run of twelve steps that has no evaluation yet."""
    run = RunDir(tmp_path / "demo")
    for step in range(1, 13):
        row: dict[str, object] = {"step": step, "seconds": 9.8}
        for metrics in STEP_FIGURES.values():
            row |= metrics
        run.append_step(row | {"steps_all_true": 0.5 if step > 3 else None})
    return run


@pytest.fixture
def full_run(live_run: RunDir) -> RunDir:
    """The same run when it has ended, with hostile text wherever text can stand."""
    live_run.summary.write_text(json.dumps(summary()))
    live_run.recipe.write_text("name: demo # </pre><script>alert(1)</script>\n")
    live_run.environment.write_text('{"torch": "2.13.0"}')
    write_completions(live_run, 10, [completion(10)])
    return live_run


def read_page(run: RunDir) -> PageReader:
    return PageReader(write_page(run).read_text(encoding="utf-8"))


def test_page_of_a_run_that_still_trains_has_a_figure_for_each_metric_given(live_run: RunDir) -> None:
    page = read_page(live_run)
    assert page.figures() == list(STEP_FIGURES)
    assert set(STEP_FIGURES) == set(page.data("specs"))  # type: ignore[arg-type]
    assert page.data("completions-data") == []
    assert "No reward counts steps" in page.words


def test_metric_that_no_step_has_gets_no_figure(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.append_step({"step": 1, "reward": 0.2, "kl": None})
    assert read_page(run).figures() == ["reward"]


def test_metrics_file_without_a_step_gives_a_page_without_figures(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.metrics.touch()
    page = read_page(run)
    assert page.figures() == []
    assert "No step has ended yet" in page.words


def test_ended_run_shows_comparison_with_intervals_before_the_curves(full_run: RunDir) -> None:
    page = read_page(full_run)
    results = ["in-distribution", "out-of-distribution", "families"]
    assert page.figures() == [*results, *STEP_FIGURES]
    words = page.words.replace("\u202f", " ")
    assert "9.4 % → 87 %" in words
    assert "7.4\u201311 % → 85\u201389 %, 95 % interval, 512 problems" in words
    assert len([one for one in page.all("article") if one.get("class") == "example"]) == 3
    assert "torch" in words and "name: demo" in words


def test_every_spec_is_valid_vega_lite(full_run: RunDir) -> None:
    specs = read_page(full_run).data("specs")
    assert isinstance(specs, dict)
    for spec in specs.values():
        alt.Chart.from_dict(spec)


def test_reward_part_with_a_hostile_name_is_drawn(live_run: RunDir) -> None:
    specs = read_page(live_run).data("specs")
    assert isinstance(specs, dict)
    drawn = vl_convert.vegalite_to_svg(specs["reward"] | {"width": 300})
    assert drawn.count('class="mark-line role-mark') >= 2 and "{[." in drawn


def test_text_from_data_never_becomes_an_element(full_run: RunDir) -> None:
    page = read_page(full_run)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "iframe", "object", "embed", "b1", "solution"}
    assert [one.get("type") for one in page.all("script")] == ["application/json"] * 3 + [None] * 2
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for script in page.scripts[:3]:
        assert "<" not in script
    stored = page.data("completions-data")
    assert isinstance(stored, list)
    assert stored[0]["rows"][0]["completion"] == HOSTILE.replace("\ud800", "?")
    assert page.words.count("<script>alert(1)</script>") >= 6


def test_page_script_writes_data_as_text_only(full_run: RunDir) -> None:
    script = read_page(full_run).scripts[-1]
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)


def test_page_loads_nothing_and_allows_its_own_two_scripts_only(full_run: RunDir) -> None:
    page = read_page(full_run)
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "data", "poster", "background"} & set(attributes)
    assert not page.all("link")
    style = re.search(r"<style>(.*?)</style>", full_run.report.read_text(encoding="utf-8"), re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    policy = next(one["content"] for one in page.all("meta") if "http-equiv" in one) or ""
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    assert allowed == {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in page.scripts[3:]}
    assert policy.startswith("default-src 'none'")


def test_page_of_a_long_run_stays_under_five_megabytes(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in range(1, 3001):
        run.append_step({"step": step, "accuracy": step / 3001, "reward": 1 / step})
        if step % 100 == 0:
            write_completions(run, step, [completion(step, text="好" * 9000)] * 40)
    page = read_page(run)
    assert run.report.stat().st_size < 5_000_000
    stored = page.data("completions-data")
    assert isinstance(stored, list)
    assert [stored[0]["step"], stored[-1]["step"], len(stored)] == [100, 3000, MAX_STEPS]
    assert {(len(one["rows"]), one["stored"]) for one in stored} == {(MAX_COMPLETIONS, 40)}
    assert stored[0]["rows"][0]["completion"] == "好" * MAX_TEXT + " … (6000 more characters)"


def test_folder_without_metrics_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=re.escape(str(tmp_path)) + r".*metrics\.jsonl.*razona train"):
        write_page(RunDir(tmp_path))


def test_metrics_line_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 0.2}\n{"step": 2, "rew')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl should hold one JSON object a line"):
        write_page(RunDir(tmp_path))


def test_curves_picture_is_a_png_of_about_1400_by_500(live_run: RunDir, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "curves.png"
    write_curves_png(live_run, path)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert 1300 <= width <= 1500
    assert 450 <= height <= 550
    assert [one.name for one in path.parent.iterdir()] == ["curves.png"]


def test_picture_of_a_run_without_steps_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.metrics.touch()
    with pytest.raises(RunFolderError, match="no step with accuracy, reward or length"):
        write_curves_png(run, tmp_path / "curves.png")


def test_running_mean_leaves_out_steps_without_a_value() -> None:
    assert running_mean([None, 1.0, None, 3.0, 5.0], window=2) == [None, 1.0, None, 3.0, 4.0]


def test_spread_keeps_first_and_last() -> None:
    assert spread_evenly([1, 2, 3, 4, 5, 6, 7, 8, 9], 3) == [1, 5, 9]
    assert spread_evenly([1, 2], 3) == [1, 2]


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0 %"), (0.004, "0.4 %"), (0.094, "9.4 %"), (0.5, "50 %"), (0.996, "99.6 %"), (1.0, "100 %")],
)
def test_share_keeps_a_decimal_where_rounding_would_hide_something(share: float, written: str) -> None:
    assert format_share(share).replace("\u202f", " ") == written
