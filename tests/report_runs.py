"""A run folder as a training leaves it, made up, with figures that a test can work out by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

from razona.core.rundir import RunDir

OUTCOMES = ("correct", "correct", "correct", "incorrect", "incorrect", "no_answer", "unverified", "correct")
"""Verdicts of the eight completions of a group."""
FAMILIES = ("sequences", "word_problems", "linear_equations")
"""Families of the three groups of a step, so a page shows 8 completions of each for every step."""
ACTING_TEXTS = (
    "<script>window.acted = 1; document.title = 'acted'</script>",
    "<img src=x onerror=\"window.acted = 1\"><svg onload='window.acted = 1'>",
    "</script><script>window.acted = 1</script><!--",
    "null\x00byte, bell\x07, escape\x1b[2J",
    "\u05d0\u05e8\u05d1\u05e2\u05d9\u05dd \u202e34 is the answer\u202c \u0664\u0662",
    "javascript:window.acted=1 ${window.acted = 1} {{constructor.constructor('window.acted=1')()}}",
)
"""Texts that do something where they are read as anything but text."""


def metrics_row(step: int, steps: int) -> dict[str, object]:
    """One step's metrics; accuracy rises in a straight line from 0 to 1."""
    right = step / steps
    return {
        "step": step,
        "reward": 1.2 * right,
        "reward/correct": right,
        "reward/format": 0.2 * right,
        "accuracy": right,
        "unverified": 0.0,
        "format_rate": 0.2 + 0.8 * right,
        "length": 10 + 20 * right,
        "truncated": 0.0,
        "worked_steps": 2 * right,
        "worked_share": right,
        "steps_all_true": 0.9,
        "informative_groups": 0.5,
        "all_right_groups": 0.5 * right,
        "all_wrong_groups": 0.5 - 0.5 * right,
        "loss": 0.01,
        "grad_norm": 0.3,
        "entropy": 1 - 0.9 * right,
        "kl": 0.1 * right,
        "seconds": 2.0,
    }


def completion_row(step: int, place: int, text: str) -> dict[str, object]:
    """One stored completion: the `place`-th of its step, in groups of eight."""
    outcome = OUTCOMES[place % 8]
    is_right = outcome == "correct"
    reward = None if outcome == "unverified" else 1.2 * is_right
    format_why = "the form is the one asked for" if is_right else "only paid to correct completions"
    entries = [
        {"component": "correct", "weight": 1.0, "value": float(is_right), "why": "the answer is compared exactly"},
        {"component": "format", "weight": 0.2, "value": float(is_right), "why": format_why},
    ]
    return {
        "step": step,
        "family": FAMILIES[place // 8 % len(FAMILIES)],
        "question": f"Problem {place // 8} of step {step}: what is 12 + 22?",
        "target": "34",
        "completion": text,
        "outcome": outcome,
        "answer": None if outcome == "no_answer" else "34" if is_right else "35",
        "reason": "" if is_right else "35 is not 34",
        "reward": reward,
        "parts": {} if reward is None else {"correct": float(is_right), "format": 0.2 * is_right},
        "receipt": [] if reward is None else entries,
        "advantage": None if reward is None else (0.5 if is_right else -0.5),
        "num_tokens": 25,
        "is_truncated": False,
    }


def write_completions(run: RunDir, step: int, rows: Sequence[dict[str, object]]) -> None:
    run.completions(step).parent.mkdir(parents=True, exist_ok=True)
    run.completions(step).write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def guard_row(step: int, accuracy: float) -> dict[str, object]:
    ends = [accuracy - 0.05, accuracy + 0.05]
    best = {"best_step": step, "best_accuracy": accuracy, "action": "kept as the best"}
    return {"step": step, "accuracy": accuracy, "ci95": ends, "n": 64, "samples": 4} | best


def finding_row(step: int, rule: str) -> dict[str, object]:
    told = {"sees": f"what {rule} sees", "why": f"why {rule} hurts", "change": f"change for {rule}"}
    return {"step": step, "rule": rule} | told


def estimate(pass_at_1: float) -> dict[str, object]:
    ends = [pass_at_1 - 0.02, pass_at_1 + 0.02]
    ci95 = {"pass_at_1": ends, "pass_at_8": [0.5, 0.6], "greedy": ends}
    return {"pass_at_1": pass_at_1, "pass_at_8": 0.55, "greedy": pass_at_1, "ci95": ci95, "n": 512, "k": 8}


def summary() -> dict[str, object]:
    example = {"question": ACTING_TEXTS[0], "target": "34", "base": ACTING_TEXTS[1], "base_outcome": "incorrect"}
    return {
        "recipe": "demo",
        "model": "embedded",
        "steps": 40,
        "seconds": {"train": 490.0, "total": 660.0},
        "base": estimate(0.094),
        "tuned": estimate(0.87),
        "ood": {"base": estimate(0.03), "tuned": estimate(0.31)},
        "base_prompts": {"few-shot": {"sampled": 0.1, "greedy": 0.05, "n": 200}},
        "paragraph": "Given one try at each of 512 problems, the model was right 9 % of the time and is 87 % now.",
        "examples": [example | {"tuned": "12 + 22 = 34", "tuned_outcome": "correct"}],
        "families": {name: {"n": 64, "base": 0.05, "tuned": 0.9} for name in FAMILIES},
    }


def environment() -> dict[str, object]:
    versions = {"razona": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0", "trl": "1.16.0", "peft": "0.21.2"}
    hardware = {"processor": "A Processor", "cores": 2, "memory_gib": 23.5, "gpus": [], "system": "Linux x86_64"}
    return {
        "command": "razona demo --set 'data.families=[a, b]' <b>",
        "python": "3.11.7",
        "packages": versions,
        "hardware": hardware,
        "processes": 1,
        "git_commit": "801df462649d438b2c5b0d55fec66bc1d34853d2",
        "seeds": {"train": 7},
    }


def make_run(root: Path, *, steps: int, stored: Sequence[int], text: str = "") -> RunDir:
    """Write a whole run: each stored step has three groups of eight, which try the acting texts in turn.

    Args:
        text: stands in every completion; the acting texts where it is empty.
    """
    run = RunDir(root)
    for step in range(1, steps + 1):
        run.append_step(metrics_row(step, steps))
    for step in stored:
        texts = [text or f"{ACTING_TEXTS[place % len(ACTING_TEXTS)]} place {place}." for place in range(24)]
        write_completions(run, step, [completion_row(step, place, one) for place, one in enumerate(texts)])
    write_rows(run.guard, [guard_row(step, 0.3 + 0.01 * step) for step in range(10, min(steps, 60) + 1, 10)])
    write_rows(run.health, [finding_row(3, "entropy_collapse"), finding_row(9, "flat_groups")])
    run.recipe.write_text("name: demo\n")
    run.environment.write_text(json.dumps(environment()))
    run.summary.write_text(json.dumps(summary()))
    return run
