"""What the page tells beside figures and completions: health, the held-out slice, receipts, how to repeat the run."""

import json
import re
from pathlib import Path

import altair as alt
import pytest
from report_runs import completion_row, finding_row, guard_row, make_run, metrics_row, write_completions, write_rows

from razona.core.environment import describe_command
from razona.core.errors import RunFolderError
from razona.core.rundir import RunDir
from razona.report import LivePage, write_page
from razona.report.browser import MAX_ENTRIES, MAX_WHY, read_browser
from razona.report.charts import Figure
from razona.report.curves import learning_figures
from razona.report.findings import MAX_FINDINGS, render_findings
from razona.report.held_out import held_out_figures
from razona.report.live import PAGE_EVERY_S
from razona.report.reading import read_record


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path / "demo", steps=40, stored=(1, 40))


def drawn_values(figure: Figure) -> list[dict]:
    """Give the rows that a chart of one data set is drawn from."""
    datasets = figure.spec["datasets"]
    assert isinstance(datasets, dict)
    [values] = datasets.values()
    return values


def test_findings_stand_newest_first_with_what_to_change(run: RunDir) -> None:
    html = render_findings(read_record(run))
    assert re.findall(r"<b class=\"data\">(.*?)</b> <span class=\"family\">(.*?)</span>", html) == [
        ("flat groups", "step 9"),
        ("entropy collapse", "step 3"),
    ]
    for words in ("what flat_groups sees", "why flat_groups hurts", "change for flat_groups"):
        assert words in html


def test_finding_cannot_act_and_a_rule_that_never_rests_is_cut(run: RunDir) -> None:
    write_rows(run.health, [finding_row(step, "<img src=x>") for step in range(1, MAX_FINDINGS + 4)])
    html = render_findings(read_record(run))
    assert "<img" not in html and "&lt;img src=x&gt;" in html
    assert html.count("<li>") == MAX_FINDINGS
    assert "3 earlier findings are in health.jsonl" in html
    assert "step 43" in html and "step 3<" not in html


def test_run_without_guard_and_health_has_neither_on_its_page(run: RunDir) -> None:
    run.guard.unlink()
    run.health.unlink()
    assert held_out_figures(read_record(run)) == []
    page = write_page(run).read_text(encoding="utf-8")
    assert 'id="health"' not in page and 'data-figure="held-out"' not in page


def test_held_out_figure_has_a_dot_and_a_whisker_for_each_measurement(run: RunDir) -> None:
    [figure] = held_out_figures(read_record(run))
    alt.Chart.from_dict(figure.spec)
    values = drawn_values(figure)
    assert [(one["step"], one["accuracy"]) for one in values] == [(10, 0.4), (20, 0.5), (30, 0.6), (40, 0.7)]
    assert [round(one["high"] - one["low"], 6) for one in values] == [0.1] * 4
    assert figure.words.caption.startswith("64 problems that are never trained on, 4 samples each;")
    assert [key.value.replace("\u202f", " ") for key in figure.legend] == ["70 %", "70 %"]


def test_measurement_without_an_accuracy_is_left_out(run: RunDir) -> None:
    write_rows(run.guard, [guard_row(10, 0.4) | {"ci95": None}, {"step": 20, "accuracy": None}, {"accuracy": 0.5}])
    [figure] = held_out_figures(read_record(run))
    [value] = drawn_values(figure)
    assert [value["low"], value["high"], value["told"]] == [0.4, 0.4, "40\u202f%"]


def test_shares_of_the_reward_add_up_and_stop_where_a_part_takes_away() -> None:
    steps = [
        {"step": 1, "reward/correct": 0.3, "reward/format": 0.1},
        {"step": 2, "reward/correct": 0.3, "reward/format": -0.1},
        {"step": 3, "reward/correct": 0.0, "reward/format": 0.0},
    ]
    figures = {figure.id: figure for figure in learning_figures(steps)}
    values = drawn_values(figures["reward-shares"])
    told = {(one["series"], one["step"]): one["value"] for one in values}
    assert told == {
        ("correct", 1): 0.75, ("correct", 2): None, ("correct", 3): None,
        ("format", 1): 0.25, ("format", 2): None, ("format", 3): None,
    }  # fmt: skip


def test_one_component_has_no_shares() -> None:
    figures = learning_figures([{"step": 1, "reward": 0.3, "reward/correct": 0.3}])
    assert [figure.id for figure in figures] == ["reward"]


def test_receipt_keeps_weight_value_part_and_the_beginning_of_why(run: RunDir) -> None:
    row = completion_row(40, 0, "34")
    row["receipt"] = [{"component": "correct", "weight": 0.5, "value": None, "why": "x" * 500}]
    row["parts"] = {"correct": 0.0}
    write_completions(run, 40, [row])
    [entry] = read_browser(run)[-1].rows[0]["receipt"]  # type: ignore[misc]
    why = "x" * MAX_WHY + f" … ({500 - MAX_WHY} more characters)"
    assert entry == {"component": "correct", "weight": 0.5, "value": None, "part": 0.0, "why": why}


def test_rows_stored_without_a_receipt_show_their_parts(run: RunDir) -> None:
    row = completion_row(40, 0, "34")
    del row["receipt"]
    write_completions(run, 40, [row])
    entries = read_browser(run)[-1].rows[0]["receipt"]
    assert [(one["component"], one["part"]) for one in entries] == [("correct", 1.0), ("format", 0.2)]  # type: ignore[union-attr]


def test_receipt_of_many_components_is_cut_and_says_so(run: RunDir) -> None:
    row = completion_row(40, 0, "34") | {"parts": {f"part{place}": 0.1 for place in range(MAX_ENTRIES + 5)}}
    row["receipt"] = [{"component": name, "weight": 0.1, "value": 1.0, "why": ""} for name in row["parts"]]
    write_completions(run, 40, [row])
    entries = read_browser(run)[-1].rows[0]["receipt"]
    assert [one["component"] for one in entries][-2:] == [f"part{MAX_ENTRIES - 1}", "5 more components"]  # type: ignore[union-attr]


def test_page_tells_how_to_repeat_the_run(run: RunDir) -> None:
    page = write_page(run).read_text(encoding="utf-8")
    table = re.search(r"<table class=\"facts-table\">(.*?)</table>", page, re.DOTALL)
    assert table
    told = dict(re.findall(r"<th scope=\"row\">(.*?)</th><td class=\"data\">(.*?)</td>", table[1]))
    assert told == {
        "command": "<code>razona demo --set &#x27;data.families=[a, b]&#x27; &lt;b&gt;</code>",
        "git commit": "<code>801df462649d438b2c5b0d55fec66bc1d34853d2</code>",
        "versions": "razona 0.1.0, torch 2.13.0+cpu, trl 1.16.0, transformers 5.23.0, Python 3.11.7",
        "hardware": "A Processor, 2 cores, 24 GiB of memory, no GPU, Linux x86_64",
        "seeds": "train 7",
    }


@pytest.mark.parametrize("written", ["", "{}", "{half a file", "[1, 2]", '{"packages": 3, "hardware": null}'])
def test_environment_that_tells_nothing_leaves_the_table_out(run: RunDir, written: str) -> None:
    run.environment.write_text(written)
    page = write_page(run).read_text(encoding="utf-8")
    assert '<section id="repeat">' not in page
    assert ("{half a file" in page) == (written == "{half a file")  # folded as it stands


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/opt/bin/razona", "train", "demo"], "razona train demo"),
        (["/lib/razona/__main__.py", "demo", "--set", "train.steps=3"], "razona demo --set train.steps=3"),
        (["razona", "train", "a b.yaml", "--set", "x=$HOME;rm"], "razona train 'a b.yaml' --set 'x=$HOME;rm'"),
        (["benchmarks/step.py", "--quick"], "python benchmarks/step.py --quick"),
        (["/other/__main__.py"], "python /other/__main__.py"),
    ],
)
def test_command_is_written_as_a_shell_reads_it(arguments: list[str], command: str) -> None:
    assert describe_command(arguments) == command


def test_run_that_has_just_begun_has_a_page_without_steps(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.recipe.write_text("name: demo\n")
    assert "No step has ended yet" in write_page(run).read_text(encoding="utf-8")


def test_broken_guard_line_is_named(run: RunDir) -> None:
    run.guard.write_text('{"step": 1}\n{"st')
    with pytest.raises(RunFolderError, match=r"guard\.jsonl should hold one JSON object a line"):
        write_page(run)


def test_live_page_is_written_when_due_and_no_more_often(tmp_path: Path) -> None:
    now, told, run = [0.0], [], RunDir(tmp_path)
    live = LivePage(run, told.append, clock=lambda: now[0])

    def step_at(seconds: float) -> bool:
        """Take a step, and say whether the page was written."""
        now[0] = seconds
        run.report.unlink(missing_ok=True)
        run.append_step(row := metrics_row(len(told) + 1, 40))
        live(row)  # type: ignore[arg-type]
        return run.report.exists()

    written = [step_at(at) for at in (1.0, PAGE_EVERY_S - 1, PAGE_EVERY_S, PAGE_EVERY_S + 1, 2 * PAGE_EVERY_S)]
    assert written == [False, False, True, False, True]
    assert [row["step"] for row in told] == [1, 2, 3, 4, 5]


def test_live_page_takes_at_most_a_fiftieth_of_the_time(tmp_path: Path) -> None:
    run, times = RunDir(tmp_path), iter([0.0, 30.0, 32.0, 131.0, 132.0, 133.0])
    live = LivePage(run, lambda row: None, clock=lambda: next(times))
    run.append_step({"step": 1})
    live({"step": 1})  # began at 30, ended at 32: two seconds, so the next is due at 132
    run.report.unlink()
    live({"step": 2})  # at 131
    assert not run.report.exists()
    live({"step": 3})  # at 132
    assert json.loads(run.metrics.read_text()) == {"step": 1} and run.report.exists()


def test_page_that_cannot_be_written_does_not_end_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, told, times = RunDir(tmp_path), [], iter([0.0, 30.0, 30.0, 60.0, 60.0])
    live = LivePage(run, told.append, clock=lambda: next(times))
    run.append_step({"step": 1})
    run.report.mkdir()  # a folder where the file should be
    live({"step": 1})
    assert told == [{"step": 1}]
    assert re.search(
        r"report\.html could not be written \(IsADirectoryError.*Training goes on", capsys.readouterr().err
    )
    run.report.rmdir()
    live({"step": 2})
    assert run.report.exists() and capsys.readouterr().err == ""
