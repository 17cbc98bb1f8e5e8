"""What the mathematics verifier accepts and refuses: case files, hostile inputs, and real rows where they are there."""

import asyncio
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import hostile
import pytest

from razona.core.nouns import Outcome, Verdict
from razona.verify import Settings, check

CASES = Path(__file__).parent / "data" / "verify"
MAX_MIB = 300.0
PAIR_FALSE_POSITIVES: dict[str, str] = {}
"""Ids of `pairs.jsonl` that are accepted against their label, and why the label is not followed."""
FORMS = (r"\boxed{%s}", "<SOLUTION>%s</SOLUTION>", "The answer is %s")
PROBLEM_SETS = ("gsm8k_test", "math500", "aime24", "aime25", "amc23", "dapo_math_17k")
SAMPLE = 2_000
WHOLE = 20_000


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cases(name: str) -> list:
    return [pytest.param(row, id=row["id"]) for row in rows_of(CASES / f"{name}.jsonl")]


def verdict_of(row: dict) -> Verdict:
    return check(row["completion"], row["gold"], Settings(**row.get("settings", {})))


# Case files


@pytest.mark.parametrize("row", cases("false_positives"))
def test_a_wrong_answer_is_refused(row):
    assert verdict_of(row).outcome is Outcome(row["outcome"]), row["note"]


@pytest.mark.parametrize("row", cases("false_negatives"))
def test_a_right_answer_is_accepted_in_every_form(row):
    verdict = verdict_of(row)
    assert verdict.outcome is Outcome(row["outcome"]), f"{row['note']}: {verdict.reason}"


def test_every_case_has_its_fields_and_none_stands_twice():
    rows = rows_of(CASES / "false_positives.jsonl") + rows_of(CASES / "false_negatives.jsonl")
    required = {"id", "gold", "completion", "outcome", "note", "source"}
    assert [row["id"] for row in rows if not required <= set(row) <= required | {"settings", "argued"}] == []
    assert [row["id"] for row in rows if not row["note"] or row.get("argued", True) is not True] == []
    assert len({row["id"] for row in rows}) == len(rows)
    keys = {(row["gold"], row["completion"], json.dumps(row.get("settings"))) for row in rows}
    assert len(keys) == len(rows)


# Hostile inputs


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory) -> dict:
    """What `hostile.py` reports on the whole corpus, run in a process of its own; `marker` is the attacks' file."""
    marker = tmp_path_factory.mktemp("hostile") / "pwned"
    command = [sys.executable, hostile.__file__, str(marker)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, cwd=marker.parent)
    except subprocess.TimeoutExpired as error:
        names = (error.stderr or b"").decode().splitlines()
        pytest.fail(f"the hostile corpus did not end in {error.timeout:.0f} s; it was at {names[-1:]}")
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout) | {"created": [file.name for file in marker.parent.iterdir()]}


def test_no_hostile_input_is_accepted(hostile_report):
    assert hostile_report["accepted"] == []


def test_no_hostile_input_is_late(hostile_report):
    assert hostile_report["late"] == {}


def test_no_hostile_input_runs_code(hostile_report):
    assert hostile_report["created"] == []


def test_hostile_inputs_stay_within_the_memory_limit(hostile_report):
    assert hostile_report["grown_mib"] < MAX_MIB
    assert hostile_report["worker_mib"] < MAX_MIB


def test_the_hostile_corpus_is_large_and_its_names_are_distinct(tmp_path):
    names = [one.name for one in hostile.corpus(tmp_path)]
    assert len(names) >= 160
    assert len(set(names)) == len(names)
    assert set(hostile.NASTIEST) <= set(names)


def test_the_peak_of_memory_is_seen_after_it_is_given_back():
    code = (
        "import hostile; before = hostile.peak_mib(); bytearray(b'1') * (1 << 28); print(hostile.peak_mib() - before)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=CASES.parents[1])
    assert 200 < float(done.stdout) < 400


@pytest.fixture(scope="module")
def nastiest(tmp_path_factory) -> dict[str, hostile.Hostile]:
    check(r"\boxed{\sin^2 x}", r"1-\cos^2 x")  # whatever is started once is started now
    marker = tmp_path_factory.mktemp("nastiest") / "pwned"
    return {one.name: one for one in hostile.corpus(marker) if one.name in hostile.NASTIEST}


def in_the_main_thread(completion: str, target: str) -> Verdict:
    return check(completion, target)


def in_another_thread(completion: str, target: str) -> Verdict:
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(check(completion, target)), daemon=True)
    thread.start()
    thread.join(timeout=30)
    return verdicts[0]


def in_a_coroutine(completion: str, target: str) -> Verdict:
    async def verify() -> Verdict:
        return check(completion, target)

    return asyncio.run(verify())


def in_a_thread_of_an_event_loop(completion: str, target: str) -> Verdict:
    async def verify() -> Verdict:
        return await asyncio.to_thread(check, completion, target)

    return asyncio.run(verify())


PLACES = [in_the_main_thread, in_another_thread, in_a_coroutine, in_a_thread_of_an_event_loop]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", hostile.NASTIEST)
def test_the_deadline_holds_wherever_it_is_called(name, place: Callable[[str, str], Verdict], nastiest):
    one = nastiest[name]
    start = time.perf_counter()
    verdict = place(one.completion, one.target)
    seconds = time.perf_counter() - start
    assert verdict.outcome is not Outcome.CORRECT
    assert seconds < hostile.DEADLINE_S


# Near misses and pairs of different golds


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A gold answer changed so that its value surely changes."""

    kind: str
    gold: str
    text: str


OTHER_UNITS = {"cm": "km", "inches": "feet", "cents": "euros", "degrees": "radians"}
INTEGER = re.compile(r"-?\d+")
DECIMAL = re.compile(r"-?\d*\.\d+")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
FACTOR = re.compile(r"-?(\d+)\s*(\\sqrt\{?\d+\}?|\\pi)")


def near_misses(gold: str) -> list[NearMiss]:
    """Give the near misses of a gold answer: +-1, sign, last digit, swapped fraction, dropped factor, base, unit.

    A change is made only where its effect on the value is certain, so some golds have few and words have none.
    """
    changed: list[tuple[str, str]] = []
    is_simple = False
    if INTEGER.fullmatch(gold):
        n = int(gold)
        changed += [("plus one", str(n + 1)), ("minus one", str(n - 1)), ("last digit", changed_digit(gold))]
        if abs(n) > 10:  # one digit has the same value in every base
            changed.append(("base", f"{gold}_{{11}}"))
        is_simple = n != 0
    elif DECIMAL.fullmatch(gold):
        changed.append(("last digit", changed_digit(gold)))
        is_simple = Fraction(gold) != 0
    elif match := FRACTION.fullmatch(gold):
        sign, above, below = match[1], int(match[2]), int(match[3])
        changed.append(("numerator", rf"{sign}\frac{{{above + 1}}}{{{below}}}"))
        if above != below and above != 0:
            changed.append(("swapped", rf"{sign}\frac{{{below}}}{{{above}}}"))
        is_simple = above != 0
    elif match := FACTOR.fullmatch(gold):
        if int(match[1]) > 1:
            changed.append(("dropped factor", gold.replace(match[1], "", 1)))
        is_simple = True
    elif match := re.fullmatch(r"([1-9]\d*)\^\\circ", gold):
        changed.append(("unit", rf"{match[1]}\text{{ radians}}"))
    elif match := re.search(r"\{ (cm|inches|cents|degrees)\}", gold):
        changed.append(("unit", gold.replace(match[1], OTHER_UNITS[match[1]])))
    elif match := re.fullmatch(r"\\\$([\d.]+)", gold):
        changed.append(("unit", rf"{match[1]}\text{{ cents}}"))
    if is_simple:
        changed.append(("sign", gold[1:] if gold.startswith("-") else "-" + gold))
    if literals := list(re.finditer(r"\d+", gold)):
        last = literals[-1]
        one_more = str(int(last[0]) + 1).zfill(len(last[0]))
        changed.append(("last number", gold[: last.start()] + one_more + gold[last.end() :]))
    return [NearMiss(kind=kind, gold=gold, text=text) for kind, text in dict(changed).items()]


def changed_digit(number: str) -> str:
    return number[:-1] + str((int(number[-1]) + 3) % 10)


def test_near_misses_by_hand():
    def texts(gold: str) -> set[str]:
        return {one.text for one in near_misses(gold)}

    assert texts("48") == {"49", "47", "41", "-48", "48_{11}"}
    assert texts("-7") == {"-6", "-8", "-0", "7"}
    assert texts("0") == {"1", "-1", "3"}
    assert texts(r"\frac{3}{4}") == {r"\frac{4}{4}", r"\frac{4}{3}", r"-\frac{3}{4}", r"\frac{3}{5}"}
    assert texts(r"2\sqrt{5}") == {r"\sqrt{5}", r"-2\sqrt{5}", r"2\sqrt{6}"}
    assert texts("52_8") == {"52_9"}
    assert texts(r"5.4 \text{ cents}") == {r"5.4 \text{ euros}", r"5.5 \text{ cents}"}
    assert texts(r"\text{east}") == set()


def value_of(gold: str) -> Fraction | None:
    """Give the value of a gold that is one rational number, whatever its units; None for any other."""
    plain = re.sub(r"(?<=\d),(?:\\!\s*)?(?=\d{3}(?!\d))", "", gold)  # thousands, not `3, 5, 7`
    plain = re.sub(r"\\[!, $]|\^\\circ|\\(?:text|mbox)\{[^}]*\}(?:\^\d)?|\s", "", plain)
    plain = re.sub(r"^[a-z]=", "", plain)
    if re.fullmatch(r"-?\d*\.?\d+", plain):
        return Fraction(plain)
    if match := re.fullmatch(r"(-?)(\d*)\\[dt]?frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d+))", plain):
        value = int(match[2] or 0) + Fraction(int(match[3] or match[4]), int(match[5] or match[6]))
        return -value if match[1] else value
    if match := re.fullmatch(r"(\d+)_\{?(\d+)\}?", plain):
        return Fraction(int(match[1], int(match[2])))
    return None


def surely_differ(one: str, other: str) -> bool:
    """Say whether two golds certainly have different values; where it is not certain, no."""
    if ("circ" in one or "circ" in other) and ("pi" in one or "pi" in other):
        return False
    first, second = value_of(one), value_of(other)
    if first is not None and second is not None:
        return first != second
    return sorted(re.findall(r"\d+", one)) != sorted(re.findall(r"\d+", other))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("1", "2", True),
        (r"\frac12", "0.5", False),
        (r"1\frac{4}{5}", r"\frac{9}{5}", False),
        ("58,500", r"58,\!500", False),
        ("52_8", "42", False),
        (r"\$36", "36", False),
        ("1,-2", "-2,1", False),
        ("3, 5, 7", "7, 5, 3", False),
        ("x=5", "5.0", False),
        (r"180^\circ", r"\pi", False),
        (r"\pi", "3", True),
        (r"\frac{1}{2}", r"\frac{1}{3}", True),
    ],
)
def test_values_of_golds_are_compared_with_care(one, other, expected):
    assert surely_differ(one, other) is expected


def golds_of(folder: Path, names: Iterable[str]) -> list[str]:
    return [row["answer"] for name in names for row in rows_of(folder / f"{name}.jsonl")]


def sampled(golds: list[str], count: int, rng: random.Random) -> list[str]:
    """Draw golds, every second one from those that are no integers: they are few, and the harder ones."""
    others = [gold for gold in golds if not INTEGER.fullmatch(gold)]
    return [rng.choice(others if index % 2 else golds) for index in range(count)]


def accepted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give the completions and golds that are CORRECT, of pairs of gold and answer; the form goes round."""
    numbered = [(FORMS[index % 3] % answer, gold) for index, (gold, answer) in enumerate(pairs)]
    return [pair for pair in numbered if check(*pair).outcome is Outcome.CORRECT]


COUNTS = [SAMPLE, pytest.param(WHOLE, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_golds_of_different_value_do_not_verify_against_each_other(count, shared_problems):
    golds, rng = golds_of(shared_problems, PROBLEM_SETS), random.Random(0)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        drawn = zip(sampled(golds, count, rng), sampled(golds, count, rng), strict=True)
        pairs += [(one, other) for one, other in drawn if surely_differ(one, other)]
    assert accepted(pairs[:count]) == []


@pytest.mark.parametrize("count", COUNTS)
def test_near_misses_of_golds_do_not_verify(count, shared_problems):
    golds = sorted(set(golds_of(shared_problems, PROBLEM_SETS)))
    misses = [(form % one.text, gold) for gold in golds for one in near_misses(gold) for form in FORMS]
    misses = sorted(set(misses))
    of_integers = [pair for pair in misses if INTEGER.fullmatch(pair[1])]
    harder = [pair for pair in misses if not INTEGER.fullmatch(pair[1])]
    drawn = harder + random.Random(1).sample(of_integers, count - len(harder))
    assert [pair for pair in drawn if check(*pair).outcome is Outcome.CORRECT] == []


# Real rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROBLEM_SETS)
def test_every_target_verifies_against_itself(name, form, shared_problems):
    golds = sorted(set(golds_of(shared_problems, [name])))
    verdicts = {gold: check(form % gold, gold) for gold in golds}
    wrong = {gold: verdict.reason for gold, verdict in verdicts.items() if verdict.outcome is not Outcome.CORRECT}
    assert wrong == {}


@pytest.fixture(scope="module")
def verifier_rows() -> Callable[[str], list[dict]]:
    folder = Path(__file__).parents[2] / "shared" / "data" / "verifier"
    if not folder.is_dir():
        pytest.skip(f"the labelled verifier rows are not here ({folder})")
    return lambda name: rows_of(folder / f"{name}.jsonl")


def is_accepted(prediction: str, gold: str) -> bool:
    """Say whether a prediction is accepted; other suites hold worked solutions and bare answers that nothing marks."""
    return check(prediction, gold, Settings(is_unmarked_allowed=True)).outcome is Outcome.CORRECT


@pytest.fixture(scope="module")
def pairs_judged(verifier_rows) -> list[tuple[dict, bool]]:
    rows = [row for row in verifier_rows("pairs") if row["policy"] == "equivalence"]
    return [(row, is_accepted(row["prediction"], row["gold"])) for row in rows]


def test_99_percent_of_the_equivalences_of_other_suites_are_judged_as_labelled(pairs_judged):
    wrong = [(row["id"], row["gold"], row["prediction"]) for row, found in pairs_judged if found != row["expected"]]
    assert len(wrong) <= 0.01 * len(pairs_judged), wrong


def test_no_different_pair_of_other_suites_is_accepted(pairs_judged):
    wrong = {row["id"]: row["prediction"] for row, found in pairs_judged if found and not row["expected"]}
    assert set(wrong) - set(PAIR_FALSE_POSITIVES) == set(), wrong


def test_no_near_miss_of_the_real_golds_is_accepted(verifier_rows):
    pairs = [(row["gold"], row["prediction"]) for row in verifier_rows("near_misses")]
    assert accepted(pairs) == []


def test_real_gsm8k_completions_are_judged_as_labelled(verifier_rows):
    rows = verifier_rows("gsm8k_completions")
    found = {row["id"]: check(row["completion"], row["gold"]).outcome is Outcome.CORRECT for row in rows}
    assert [row["id"] for row in rows if found[row["id"]] != row["expected"]] == []
