"""The demo's care for what is already there."""

from pathlib import Path

import pytest

from razona.core.errors import RecipeError, RunFolderError
from razona.core.rundir import RunDir
from razona.embedded.demo import demo, keep_previous
from razona.evaluate.words import paragraph
from razona.recipe import load


def test_a_run_in_the_way_is_kept_under_the_first_free_number(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "recipe.yaml").write_text(f"name: run-{number}")
        assert keep_previous(RunDir(tmp_path / "demo")) == tmp_path / f"demo.previous-{number}"
    assert (tmp_path / "demo.previous-1" / "recipe.yaml").read_text() == "name: run-1"
    assert keep_previous(RunDir(tmp_path / "demo")) is None


def test_a_folder_that_holds_no_run_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(RunFolderError, match="not a run's"):
        keep_previous(RunDir(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_a_live_run_is_not_moved_away(tmp_path: Path):
    run = RunDir(tmp_path / "demo")
    with run.lock():
        run.recipe.write_text("name: demo")
        with pytest.raises(RunFolderError, match="in use by a live run"):
            keep_previous(run)


def test_the_demo_refuses_what_it_cannot_do_before_it_measures(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"needs data\.source = tasks"):
        demo(load("open-r1-smoke"), tmp_path / "a")
    with pytest.raises(RecipeError, match="correkt"):
        demo(load("demo", ["rewards.mix=sum", "rewards.components=[{name: correkt}]"]), tmp_path / "b")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def side(pass_at_1: float) -> dict:
    return {"n": 100, "k": 8, "pass_at_1": pass_at_1, "pass_at_8": 0.5, "mean_length": 9.0, "worked_steps": 0.5}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.02, 0.03, "not distinguishable"), (0.4, 0.5, "+45 points"), (-0.5, -0.4, "-45 points")],
)
def test_the_paragraph_says_what_the_interval_allows(low: float, high: float, expected: str):
    middle = (low + high) / 2
    gain = {"pass_at_1": middle, "ci95": [low, high]}
    words = paragraph({"base": side(0.5), "tuned": side(0.5 + middle), "gain": gain})
    assert expected in words
    assert ("already found" in words) == (low > 0)
