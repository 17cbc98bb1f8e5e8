"""The watch over a run: it names the stage and shows the stacks, and goes on."""

import ctypes
import sys
import time
from pathlib import Path

import pytest

from razona.core.activity import in_stage, moved
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.train.events import Events
from razona.train.watchdog import watch_over


def sleep_here(seconds: float) -> None:
    time.sleep(seconds)


def watched(folder: Path, limit_s: float | None, act: object) -> RunDir:
    run = RunDir(folder)
    with in_stage("scoring"), watch_over(run, Events(run), limit_s, lambda: 6):
        act()  # pyright: ignore[reportCallIssue]
    return run


def test_what_stands_still_is_told_once_with_stage_and_stacks_and_goes_on(tmp_path: Path, capsys):
    went_on = []
    run = watched(tmp_path, 0.4, lambda: (sleep_here(0.7), went_on.append(True)))
    (event,) = read_jsonl(run.events)
    assert (event["event"], event["step"], event["stage"]) == ("nothing_moves", 7, "scoring")
    told, stored = capsys.readouterr().err, run.stacks(0).read_text()
    assert "razona: step 7: nothing has moved for 0 s while scoring" in told
    for words in (told, stored):
        assert "in sleep_here" in words and "test_watchdog.py" in words
    assert went_on == [True]


def test_it_is_told_again_after_as_long(tmp_path: Path):
    run = watched(tmp_path, 0.2, lambda: sleep_here(0.9))
    assert 2 <= len(list(read_jsonl(run.events))) <= 4


@pytest.mark.parametrize("limit_s", [0.4, None])
def test_what_moves_or_is_not_watched_is_not_told(limit_s: float | None, tmp_path: Path, capsys):
    def act() -> None:
        for _ in range(8):
            sleep_here(0.1)
            if limit_s is not None:
                moved()

    run = watched(tmp_path, limit_s, act)
    assert not run.events.exists() and not run.stacks(0).exists() and capsys.readouterr().err == ""


def test_a_thread_that_holds_pythons_lock_is_shown_all_the_same(tmp_path: Path, capfd):
    """`ctypes.PyDLL` keeps the lock, as a regular expression does: no other thread of Python runs meanwhile."""
    if sys.__stderr__ is None:
        pytest.skip("this Python has no standard error")
    watched(tmp_path, 0.3, lambda: (time.sleep(0.1), ctypes.PyDLL(None).usleep(900_000)))
    told = capfd.readouterr().err
    assert "Timeout (0:00:00.6" in told and "test_watchdog.py" in told
