"""Verdicts a second, ours against math-verify, on one core, in one process, alternating.

    make bench-verify      writes docs/results/verify.json

Needs math-verify (`pip install razona[math]`) and the data in ../shared/data. Nothing is remembered between verdicts on
either side (`Settings.is_remembered` is off), except what both libraries keep about a target they have read.
"""

import json
import logging
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from razona.core.environment import describe_hardware
from razona.core.nouns import Outcome
from razona.recipe import RewardComponent
from razona.rewards import Mix
from razona.verify import Settings, Tags, check

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "docs" / "results" / "verify.json"
ROUNDS = 5
STRICT = Settings(is_remembered=False)
Judge = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What one library did on one set of pairs."""

    per_second: list[float]
    """One figure a round."""
    p50_ms: float
    p99_ms: float
    num_right: int

    def row(self) -> dict[str, object]:
        """Give the figures as they are stored."""
        return {
            "per_second": {"median": statistics.median(self.per_second), "all": self.per_second},
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "right": self.num_right,
        }


def rows(path: str) -> list[dict]:
    """Read a data file."""
    return [json.loads(line) for line in (DATA / path).read_text(encoding="utf-8").splitlines()]


def ours(completion: str, target: str) -> bool:
    """Judge with Razona."""
    return check(completion, target, STRICT).outcome is Outcome.CORRECT


def math_verify() -> Judge:
    """Give math-verify's judgement, with its default settings."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def judge(completion: str, target: str) -> bool:
        return bool(verify(parse(f"${target}$"), parse(completion)))

    return judge


def rewritten(target: str) -> list[tuple[str, bool]]:
    """Give other spellings of a target, which are right, and neighbours of it, which are wrong."""
    forms: list[tuple[str, bool]] = [(f"{{{target}}}", True)]
    fraction = re.fullmatch(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", target)
    if re.fullmatch(r"-?\d+", target):
        forms += [(target + ".0", True), (rf"\frac{{{3 * int(target)}}}{{3}}", True), (str(int(target) + 1), False)]
    elif fraction:
        sign, top, bottom = fraction[1], int(fraction[2]), int(fraction[3])
        forms += [
            (rf"{sign}\dfrac{{{2 * top}}}{{{2 * bottom}}}", True),
            (f"{sign}{top}/{bottom}", True),
            (rf"{sign}\frac{{{bottom}}}{{{top}}}", False),
        ]
    else:
        digit = re.search(r"\d", target)
        forms.append((target.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)"), True))
        if digit:
            forms.append((target[: digit.start()] + str((int(digit[0]) + 1) % 10) + target[digit.end() :], False))
        summands = re.fullmatch(r"([^-+(){}&,=]+) ?\+ ?([^-+(){}&,=]+)", target)
        if summands:
            forms += [(f"{summands[2]} + {summands[1]}", True), (f"{summands[1]} - {summands[2]}", False)]
        if re.fullmatch(r"[\dx^+ -]+", target) and "x" in target:
            forms += [(f"({target})", True), (f"-({target})", False), (f"x({target})/x", True)]
        if target.startswith((r"\sqrt", r"\pi")) or re.fullmatch(r"\d+ ?\\(?:sqrt|pi).*", target):
            other = f"2{target}/2" if target.startswith("\\") else rf"\frac{{{target}}}{{1}}"
            forms += [(other, True), (f"-{target}", False)]
    return forms


def measure(judge: Judge, pairs: list[tuple[str, str, bool]]) -> tuple[float, list[float], int]:
    """Judge all pairs once: seconds, milliseconds of each, right verdicts."""
    each, num_right = [], 0
    started = time.perf_counter()
    for completion, target, expected in pairs:
        before = time.perf_counter()
        num_right += judge(completion, target) == expected
        each.append(1e3 * (time.perf_counter() - before))
    return time.perf_counter() - started, each, num_right


def against(other: Judge, pairs: list[tuple[str, str, bool]]) -> dict[str, object]:
    """Time both on the same pairs, turn about."""
    figures: dict[str, list] = {"razona": [], "math_verify": []}
    for _ in range(ROUNDS):
        figures["razona"].append(measure(ours, pairs))
        figures["math_verify"].append(measure(other, pairs))
    timings = {}
    for name, rounds in figures.items():
        each = sorted(value for _, values, _ in rounds for value in values)
        timings[name] = Timing(
            per_second=[len(pairs) / seconds for seconds, _, _ in rounds],
            p50_ms=each[len(each) // 2],
            p99_ms=each[int(0.99 * len(each))],
            num_right=rounds[0][2],
        )
    ratios = [a / b for a, b in zip(timings["razona"].per_second, timings["math_verify"].per_second, strict=True)]
    return {
        "n": len(pairs),
        "rounds": ROUNDS,
        **{name: timing.row() for name, timing in timings.items()},
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "all": ratios},
        "p99_ratio": timings["math_verify"].p99_ms / timings["razona"].p99_ms,
    }


def four_rewards() -> dict[str, object]:
    """Time 2,048 completions under four rewards."""
    names = ("correct", "format", "format_exact", "check_numbers")
    mix = Mix([RewardComponent(name=name) for name in names], Tags())
    texts = [
        f"{a} + {b} = {a + b}. <end_working_out><SOLUTION>{a + b + a % 2}</SOLUTION>"
        for a in range(64)
        for b in range(32)
    ]
    targets = [str(a + b) for a in range(64) for b in range(32)]
    seconds = []
    for number in range(ROUNDS):
        numbered = [f"Try {number}. {text}" for text in texts]  # nothing of the last round is remembered
        started = time.perf_counter()
        mix(completions=numbered, target=targets)
        seconds.append(time.perf_counter() - started)
    return {
        "completions": len(texts),
        "rewards": list(names),
        "seconds": {"median": statistics.median(seconds), "all": seconds},
    }


def start_time() -> dict[str, object]:
    """Time `razona verify --help` as a whole process."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "razona", "verify", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return {"seconds": {"median": statistics.median(seconds), "all": seconds}}


def main() -> None:
    """Measure, write, and say which aims were missed."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    other = math_verify()
    gsm8k = [(row["completion"], row["gold"], row["expected"]) for row in rows("verifier/gsm8k_completions.jsonl")]
    golds = [row["answer"] for row in rows("problems/math500.jsonl")]
    spellings = [(rf"\boxed{{{text}}}", gold, is_right) for gold in golds for text, is_right in rewritten(gold)]
    long = [(row["completion"], row["gold"], True) for row in rows("verifier/long_completions_machine_labelled.jsonl")]
    result = {
        "command": "make bench-verify",
        "hardware": describe_hardware(),
        "cores": 1,
        "gsm8k_completions": against(other, gsm8k),
        "math500_rewritten": against(other, spellings),
        "long_completions": against(other, long),
        "four_rewards": four_rewards(),
        "help": start_time(),
    }
    aims = {
        "GSM8K completions: 50 times math-verify": result["gsm8k_completions"]["ratio"]["median"] >= 50,
        "GSM8K completions: all right": result["gsm8k_completions"]["razona"]["right"] == len(gsm8k),
        "MATH-500 rewritten: 10 times math-verify": result["math500_rewritten"]["ratio"]["median"] >= 10,
        "long completions: p99 no slower": result["long_completions"]["p99_ratio"] >= 1,
        "2,048 completions x 4 rewards in 0.2 s": result["four_rewards"]["seconds"]["median"] <= 0.2,
        "razona verify --help in 0.3 s": result["help"]["seconds"]["median"] <= 0.3,
    }
    result["aims"] = aims
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name in ("gsm8k_completions", "math500_rewritten", "long_completions"):
        one = result[name]
        mine, theirs, ratio = one["razona"], one["math_verify"], one["ratio"]
        print(
            f"{name:18} n={one['n']:5}"
            f"  ours {mine['per_second']['median']:9,.0f}/s ({mine['right']} right)"
            f"  math-verify {theirs['per_second']['median']:7,.0f}/s ({theirs['right']} right)"
            f"  ratio {ratio['median']:.1f} (least {ratio['least']:.1f})"
            f"  p99 {mine['p99_ms']:.2f} ms against {theirs['p99_ms']:.2f} ms"
        )
    print(f"2,048 completions x 4 rewards: {result['four_rewards']['seconds']['median']:.3f} s")
    print(f"razona verify --help: {result['help']['seconds']['median']:.2f} s")
    missed = [aim for aim, is_reached in aims.items() if not is_reached]
    for aim in missed:
        print(f"missed  {aim}")
    print(f"Written: {RESULT.relative_to(ROOT)}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
