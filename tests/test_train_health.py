"""The health rules: each is found in rows made by hand, none in those of a healthy run, and none is told twice."""

import json
from pathlib import Path

import pytest

from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.recipe import load
from razona.train import train
from razona.train.health import FLAT_COMPONENT, RULES, Finding, examine
from razona.train.monitor import QUIET_STEPS, Monitor

DOCS = Path(__file__).parents[1] / "docs" / "guard.md"


def healthy(step: int) -> dict:
    """Give the figures of one of 40 steps as the demo has them: 15 % right become 92 %."""
    progress = min(1.0, step / 20)
    return {
        "step": step,
        "reward": 0.16 + 0.9 * progress,
        "reward/correct": 0.15 + 0.77 * progress,
        "reward/format": 0.01 + 0.17 * progress,
        "accuracy": 0.15 + 0.77 * progress,
        "unverified": 0.0,
        "format_rate": 0.20 + 0.79 * progress,
        "truncated": 0.0,
        "informative_groups": 0.9 - 0.55 * progress,
        "informative_trained": 1.0,
        "informative/correct": 0.8 - 0.5 * progress,
        "informative/format": 0.7 - 0.4 * progress,
        "all_right_groups": 0.6 * progress,
        "all_wrong_groups": 0.1 - 0.05 * progress,
        "entropy": 0.5 - 0.4 * progress,
        "entropy_trained": 0.5 - 0.35 * progress,
        "logprob_gap_mean": 3e-4,
        "logprob_gap_p99": 4e-3,
        "kl": 0.3 * progress,
        "loss": 0.0,
    }


def run_of(count: int, **changed: object) -> list[dict]:
    """Give healthy steps with some figures changed; a function gives a figure's value at a step."""
    return [
        {**healthy(step), **{name: value(step) if callable(value) else value for name, value in changed.items()}}
        for step in range(1, count + 1)
    ]


def measurement(step: int, accuracy: float, best_step: int, best: float, low: float, action: str = "kept") -> dict:
    return {
        "step": step,
        "accuracy": accuracy,
        "best_step": best_step,
        "best_accuracy": best,
        "below_best_ci95": [low, low + 0.2],
        "action": action,
    }


def rules_of(steps: list[dict], guard: list[dict] = ()) -> list[str]:
    return [finding.rule for finding in examine(steps, guard)]


# --- What breaks a rule ----------------------------------------------------------------------------------------------

BROKEN = [
    # rule, rows, what it says it sees
    ("flat-groups", run_of(10, informative_groups=0.19, all_right_groups=0.8, all_wrong_groups=0.01), "only 19%"),
    ("flat-groups", run_of(10, informative_groups=0.0, all_right_groups=0.0, all_wrong_groups=1.0), "100% were all wr"),
    ("flat-component/format", run_of(10, **{"informative/format": 0.0}), "100% of the groups of all 10 steps"),
    ("flat-component/format", run_of(10, **{"informative/format": lambda step: 0.1 * (step == 4)}), "in 99% of"),
    # open-r1 #407, trl #3903: form to 1, right answers stay where they were
    ("form-without-accuracy", run_of(10, accuracy=0.15), "right answers from 15% to 15%"),
    ("form-without-accuracy", run_of(12, accuracy=0.0, format_rate=0.97), "from 97% to 97%"),
    ("truncation", run_of(3, truncated=0.31), "31% of the last 3 steps"),
    ("truncation", run_of(3, truncated=lambda step: 1.0 * (step == 2)), "33% of the last 3 steps"),
    ("entropy-collapse", run_of(8, entropy_trained=lambda step: 0.5 if step <= 3 else 0.04, accuracy=0.4), "to 0.04"),
    ("kl-out-of-range", run_of(3, kl=2.1), "2.1 nats"),
    ("logprob-gap", run_of(3, logprob_gap_mean=0.03), "0.03 nats apart"),
    ("logprob-gap", run_of(3, logprob_gap_p99=0.6), "percentile 0.6"),
    ("unverified", run_of(3, unverified=0.03), "3.0% of the last 3 steps"),
]


@pytest.mark.parametrize(("rule", "steps", "sees"), BROKEN)
def test_a_rule_that_is_broken_is_found_and_no_other(rule: str, steps: list[dict], sees: str):
    (found,) = examine(steps)
    assert (found.rule, found.step) == (rule, len(steps))
    assert sees in found.sees


KEPT = [
    run_of(9, informative_groups=0.1),  # one step too few
    run_of(10, informative_groups=0.2, all_right_groups=0.8),
    run_of(30, **{"informative/format": lambda step: 0.5 if step <= 3 else 0.0}),  # learnt, then the same for all
    run_of(9, accuracy=0.15),
    run_of(10, accuracy=lambda step: 0.15 + 0.25 * 0.77 * step / 20),  # follows the form slowly
    run_of(40, accuracy=0.15, format_rate=0.9, reward=0.2),  # form was there from the start; slow is no sickness
    run_of(40, accuracy=0.95, format_rate=0.99, entropy_trained=lambda step: 0.5 if step <= 3 else 0.01),
    run_of(3, truncated=0.3),
    run_of(2, truncated=0.9),
    run_of(3, kl=2.0),
    run_of(3, unverified=0.02),
    run_of(3, logprob_gap_mean=0.02, logprob_gap_p99=0.5),
    run_of(8, entropy=lambda step: 0.5 if step <= 3 else 0.0, accuracy=0.4),  # rows left out count as 0 there
]


@pytest.mark.parametrize("steps", KEPT)
def test_a_rule_that_is_just_kept_is_not_found(steps: list[dict]):
    assert rules_of(steps) == []


def test_a_healthy_run_breaks_no_rule_at_any_step():
    steps = run_of(40)
    guard = [measurement(step, 0.15 + step / 60, step, 0.15 + step / 60, 0.0, "best") for step in range(0, 41, 10)]
    assert [rules_of(steps[:count], guard) for count in range(41)] == [[]] * 41


def test_entropy_is_read_from_trls_figure_where_no_row_is_left_out():
    steps = run_of(8, entropy=lambda step: 0.5 if step <= 3 else 0.04, accuracy=0.4)
    for row in steps:
        del row["entropy_trained"]
    assert rules_of(steps) == ["entropy-collapse"]


# Reward rises from 0.25 (steps 1-5: 0.205 to 0.385) onwards; the best measurement was before step 1 or at step 5.
RISING = run_of(20)


@pytest.mark.parametrize(
    ("steps", "guard", "is_found"),
    [
        (RISING, [measurement(20, 0.3, 5, 0.5, 0.05)], True),
        (RISING, [measurement(20, 0.3, 0, 0.5, 0.05)], True),
        (RISING, [measurement(20, 0.45, 5, 0.5, -0.01)], False),  # within its interval
        (RISING, [measurement(20, 0.5, 20, 0.5, 0.0, "best")], False),
        (RISING, [measurement(20, 0.1, 5, 0.5, 0.3, "rolled_back")], False),  # these weights are gone
        (RISING, [measurement(5, 0.5, 5, 0.5, 0.0, "best"), measurement(30, 0.1, 5, 0.5, 0.3)], False),  # not yet
        (run_of(20, reward=lambda step: 1 - step / 40), [measurement(20, 0.3, 5, 0.5, 0.05)], False),
        (RISING[:9], [measurement(9, 0.3, 5, 0.5, 0.05)], False),  # the two means would share steps
        (RISING, [], False),
    ],
)
def test_reward_that_rises_while_held_out_accuracy_falls_is_found(steps, guard, is_found):
    assert rules_of(steps, guard) == ["reward-without-accuracy"] * is_found


def test_figures_that_are_missing_or_none_break_no_rule():
    assert examine([]) == []
    assert rules_of([{"step": step} for step in range(1, 31)]) == []
    nothing = dict.fromkeys(healthy(1), None)
    assert rules_of([{**nothing, "step": step} for step in range(1, 31)]) == []


# --- What is told ----------------------------------------------------------------------------------------------------


def told_by(run: RunDir, steps: list[dict]) -> list[tuple[str, int]]:
    """Let a monitor see the steps as a run writes them, and give what it told."""
    told: list[Finding] = []
    monitor = Monitor(run, told.append)
    for row in steps:
        run.append_step(row)
        monitor.take(row)
    return [(finding.rule, finding.step) for finding in told]


def sick_at(*sick: int) -> list[dict]:
    return run_of(90, truncated=lambda step: 1.0 if step in sick else 0.0)


def test_a_rule_is_told_once_and_again_after_it_was_kept_for_20_steps(tmp_path: Path):
    # One step of all cut off holds the mean of three above 30 % for three steps: 10-12, then 30-32, then 53-55.
    assert QUIET_STEPS == 20
    assert told_by(RunDir(tmp_path), sick_at(10, 30, 53)) == [("truncation", 10), ("truncation", 53)]


def test_findings_are_stored_as_they_are_told(tmp_path: Path):
    run = RunDir(tmp_path)
    told_by(run, sick_at(10))
    (row,) = read_jsonl(run.health)
    assert set(row) == {"step", "rule", "sees", "why", "change"}
    assert (row["step"], row["rule"]) == (10, "truncation") and row["sees"].startswith("33% of the last 3")
    rule = next(rule for rule in RULES if rule.name == "truncation")
    assert (row["why"], row["change"]) == (rule.why, rule.change)


def test_a_resumed_run_does_not_tell_again_what_still_holds(tmp_path: Path):
    run, steps = RunDir(tmp_path), run_of(9, truncated=0.5)
    assert told_by(run, steps[:6]) == [("truncation", 3)]
    assert told_by(run, steps[6:]) == []


def test_by_default_a_finding_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture):
    monitor = Monitor(RunDir(tmp_path))
    monitor.note(Finding(step=12, rule="r", sees="Sees", why="Hurts", change="Change it"))
    assert capsys.readouterr() == ("", "razona: step 12: r: Sees. Hurts. Change it.\n")


def test_every_rule_is_in_the_documentation():
    text = DOCS.read_text(encoding="utf-8")
    names = [*(rule.name for rule in RULES), FLAT_COMPONENT, "collapse", "no-progress"]
    assert [name for name in names if f"`{name}`" not in text] == []


# --- A whole run -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_reward_for_form_alone_on_problems_too_hard_for_the_model_is_called_so(tmp_path: Path):
    """On its own problems the embedded base gets right answers out of form alone: it knows more than it shows."""
    source = tmp_path / "rows.jsonl"
    rows = [{"question": f"What is {a} * {b}?", "answer": str(a * b)} for a in range(721, 731) for b in range(417, 429)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[Finding] = []
    recipe = load(
        "demo",
        [
            f"data.source={source}",
            "rewards.mix=sum",
            "rewards.components=[{name: format}]",
            "train.steps=14",
            "train.completions_per_step=96",
            "train.microbatch_size=48",
            "train.sampling=uniform",
            "rollout.max_completion_tokens=48",
            "guard.every=0",
        ],
    )
    train(recipe, tmp_path / "run", tell=told.append)
    found = {finding.rule: finding for finding in told}
    assert "form-without-accuracy" in found, RunDir(tmp_path / "run").read_steps()[-1]
    assert "when: correct" in found["form-without-accuracy"].change


BROKEN = {
    "healthy": {},
    "late": {"truncated": 0.4, "unverified": 0.1, "kl": 3.0, "logprob_gap_mean": 0.1, "informative_groups": 0.05},
    "no accuracy": {"accuracy": 0.01, "format_rate": lambda step: min(0.95, 0.1 + step / 40), "entropy_trained": 0.01},
    "dead component": {"informative/format": 0.0},
    "reward without accuracy": {"reward": lambda step: step / 60},
}


@pytest.mark.parametrize("changed", BROKEN.values(), ids=BROKEN)
def test_the_monitor_of_a_long_run_keeps_less_of_each_row_and_finds_the_same(changed: dict, tmp_path: Path) -> None:
    monitor, whole = Monitor(RunDir(tmp_path), lambda finding: None), run_of(80, **changed)
    guard = [measurement(30, 0.9, 30, 0.9, -0.1, "best"), measurement(60, 0.5, 30, 0.9, 0.3)]
    monitor._guard = list(guard)
    found = []
    for step, row in enumerate(whole, start=1):
        monitor.take(row)
        found += examine(whole[:step], guard)
        assert examine(monitor._steps, guard) == examine(whole[:step], guard)
    assert bool(found) == bool(changed)
    assert len(monitor._steps[40]) < len(whole[40]) / 3 and monitor._steps[-1] == whole[-1]
