"""What the terminal shows while a run trains: curves, a completion that cannot act, plain lines where it is none."""

import io
import json
import re
from pathlib import Path

import pytest
from report_runs import ACTING_TEXTS, completion_row, metrics_row, write_completions
from rich.cells import cell_len
from rich.console import Console

from razona.cli.live import (
    LiveView,
    StoredSample,
    clip_lines,
    draw_curves,
    draw_sample,
    read_sample,
    sparkline,
)
from razona.cli.progress import RichWatcher
from razona.core.rundir import RunDir
from razona.core.terminal import visible
from razona.train.health import Finding

UGLY_TEXTS = ["\x1b]0;t\x07\x1b[2J\x9b2J", *ACTING_TEXTS, "好" * 5000, "a\n" * 5000, "\n\n", ""]


def printed(drawn: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("values", "width", "high", "blocks"),
    [
        ([0.0, 1.0], 10, 1.0, "▁█"),
        ([0.0, 0.124, 0.125, 0.5, 0.874, 0.875, 1.0], 10, 1.0, "▁▁▂▅▇██"),
        ([0.5, 1.0], 10, None, "▅█"),  # a free axis ends at the largest value
        ([10.0, 20.0], 10, None, "▅█"),  # and begins at zero
        ([-1.0, 1.0, 0.0], 10, None, "▁█▅"),  # or below
        ([1.0, None, 0.0], 10, 1.0, "█ ▁"),
        ([0.0, 0.0], 10, None, "▁▁"),
        ([-2.0, -2.0], 10, None, "▁▁"),
        ([None, None], 10, 1.0, "  "),
        ([], 10, 1.0, ""),
        ([0.0, 0.0, 1.0, 1.0], 2, 1.0, "▁█"),
        ([0.0, 1.0, None, 1.0], 2, 1.0, "▅█"),  # a block is the mean of the values it stands for
        ([2.0], 10, 1.0, "█"),
    ],
)
def test_blocks_stand_for_their_values(values: list, width: int, high: float | None, blocks: str) -> None:
    assert sparkline(values, width, high=high) == blocks


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("34 = 30 + 4", "34 = 30 + 4"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m\x00\r\x07", r"\x9b31m\x00\r\x07"),
        ("a\u202eb\u2066c\u200bd\ufeff", r"a\u202eb\u2066c\u200bd\ufeff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\ud800 \U000e0041", r"\ud800 \U000e0041"),
        ("é 好 ארבע ✓", "é 好 ארבע ✓"),
        ("one\ntwo", "one\ntwo"),
    ],
)
def test_what_a_terminal_acts_on_is_written_out(words: str, shown: str) -> None:
    assert visible(words) == shown


def test_long_text_keeps_its_beginning_and_its_last_line() -> None:
    words = "\n".join(f"line {number}" for number in range(1, 11))
    assert clip_lines(words, 20, 4) == ["line 1", "line 2", "… 7 more lines …", "line 10"]
    assert clip_lines("abcdef", 4, 4) == ["abcd", "ef"]
    assert clip_lines("好好好", 4, 4) == ["好好", "好"]  # two columns each
    assert clip_lines("", 4, 4) == [""]


def test_curves_show_what_the_run_has() -> None:
    rows = [{"step": 1, "reward": 0.0, "accuracy": 0.0}, {"step": 2, "reward": 0.6, "accuracy": 0.5}]
    lines = [line.split() for line in printed(draw_curves(rows, 80)).splitlines()]
    assert lines == [["reward", "0.60", "▁█"], ["right", "50%", "▁▅"]]


def test_sample_shows_verdict_answer_target_and_reward() -> None:
    sample = StoredSample(row=completion_row(7, 3, "12 + 22 = 35. </s>[bold]35[/bold]"), num_stored=1234)
    shown = printed(draw_sample(sample, 80))
    assert "step 7: one of 1,234 completions" in shown
    assert "what is 12 + 22?" in shown and "12 + 22 = 35. </s>[bold]35[/bold]" in shown  # rich's markup is text
    assert "incorrect  answer 35  target 34  reward 0.00" in shown
    unjudged = printed(draw_sample(StoredSample(row=completion_row(7, 6, "x"), num_stored=8), 80))
    assert "unverified  answer 35  target 34  no reward" in unjudged


@pytest.mark.parametrize("text", UGLY_TEXTS, ids=range(len(UGLY_TEXTS)))
@pytest.mark.parametrize("width", [20, 80])
def test_no_completion_sends_a_control_character_or_fills_the_screen(text: str, width: int) -> None:
    row = completion_row(1, 0, text) | {"question": text, "answer": text, "target": text}
    shown = printed(draw_sample(StoredSample(row=row, num_stored=1), width), width)
    assert not [one for one in shown if visible(one) != one]
    lines = shown.splitlines()
    assert len(lines) <= 11
    assert {cell_len(line) for line in lines} == {width}


def test_sample_of_a_step_is_one_of_its_rows_and_always_the_same(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (1, 2, 3, 4):
        write_completions(run, step, [completion_row(step, place, f"line\u2028{place}") for place in range(24)])
    found = [read_sample(run, step) for step in (1, 2, 3, 4)]
    assert all(one is not None and one.num_stored == 24 for one in found)
    texts = [str(one.row["completion"]) for one in found if one]
    assert set(texts) <= {f"line\u2028{place}" for place in range(24)}
    assert len(set(texts)) > 1  # not the first of each step
    assert found == [read_sample(run, step) for step in (1, 2, 3, 4)]
    assert read_sample(run, 5) is None


FINDING = Finding(step=2, rule="entropy", sees="entropy fell \x1b[2J[red]to zero[/red]", why="why", change="what")


def train_on(console: Console, run: RunDir, steps: int) -> str:
    watcher = RichWatcher(console)
    with watcher.training(steps, run) as on_step:
        for step in range(1, steps + 1):
            write_completions(run, step, [completion_row(step, 0, f"written at step {step} \x1b[2J")])
            run.append_step(row := metrics_row(step, steps))
            on_step(row)  # type: ignore[arg-type]
            if step == 2:
                watcher.found(FINDING)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_terminal_shows_curves_sample_bar_and_findings(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True, color_system=None)
    out = train_on(console, RunDir(tmp_path), 12)
    last = out[out.rindex("12/12") :]  # what stays on the screen
    for words in ("reward", "groups with signal", "▁▂▃▃▄▅▅▆▇▇██", r"written at step 12 \x1b[2J", "correct  answer 34"):
        assert words in last, words
    assert r"! step 2: entropy: entropy fell \x1b[2J[red]to zero[/red]" in out
    assert "\x1b[2J" not in out


def test_output_that_is_no_terminal_gets_a_line_now_and_then(tmp_path: Path) -> None:
    out = train_on(Console(file=io.StringIO(), width=116), RunDir(tmp_path), 12)
    assert re.findall(r"^  step +(\d+)/12  reward", out, re.MULTILINE) == ["1", "5", "10", "12"]
    assert r"  ! step 2: entropy: entropy fell \x1b[2J[red]to zero[/red]. why. what." in out.splitlines()
    assert "▁" not in out and "\x1b" not in out


def test_curves_of_a_resumed_run_begin_with_its_first_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (1, 2, 3):
        run.append_step(metrics_row(step, 4))
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True, color_system=None)
    with RichWatcher(console).training(4, run) as on_step:
        run.append_step(row := metrics_row(4, 4))
        on_step(row)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    assert "▃▅▇█" in console.file.getvalue()  # accuracy 0.25, 0.5, 0.75, 1


def test_view_is_drawn_once_a_step() -> None:
    view = LiveView()
    view.update([json.loads('{"step": 1, "reward": 0.5}')], None)
    console = Console(file=io.StringIO(), width=80)
    first = next(iter(view.__rich_console__(console, console.options)))
    assert next(iter(view.__rich_console__(console, console.options))) is first
    view.update([{"step": 2, "reward": 0.6}], None)
    assert next(iter(view.__rich_console__(console, console.options))) is not first
