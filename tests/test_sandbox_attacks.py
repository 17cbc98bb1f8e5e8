"""More attacks on the code verifier: bombs, tricks of ends and beginnings, names, secrets, and programs that cheat.

`test_sandbox.py` has the forged verdicts and escapes one process each; here all escapes of a wall share one process,
which is told what to try by name, so that hundreds cost little.
"""

import functools
import json
import textwrap
from pathlib import Path

import pytest
from sandbox_attacks import (
    ESCAPES,
    FORGERIES,
    LATEST_S,
    LEFT_BEHIND,
    PROGRAM_ROW,
    PROGRAMS,
    RAW_CALLS,
    ROW,
    TIMEOUT_S,
    TRY,
)
from sandbox_runs import TOKEN, WALLS, Attacked, run_jobs

from razona.core.errors import MachineError
from razona.core.nouns import Outcome, Problem
from razona.recipe import RewardComponent, VerifySection, load
from razona.rewards import Mix
from razona.verify import Tags
from razona.verify.code import CodeOptions, Isolation, check_code, isolation, read_code_row


@functools.cache
def forgeries(wall: str, user: str) -> dict[str, Attacked]:
    jobs = [(textwrap.dedent(code).strip(" \n"), ROW) for code in FORGERIES.values()]
    return dict(zip(FORGERIES, run_jobs(wall, user, jobs, TIMEOUT_S), strict=True))


@functools.cache
def escapes(wall: str, user: str) -> dict[str, tuple[str, str]]:
    names = [*ESCAPES, *RAW_CALLS]
    code = TRY.replace("{escapes!r}", repr(ESCAPES)).replace("{raw_calls!r}", repr(RAW_CALLS))
    row = {"tests": [f"assert f({name!r}) == 'held'" for name in names]}
    (found,) = run_jobs(wall, user, [(code, row)], 20.0)
    assert len(found.tests) == len(names), found.reason
    return dict(zip(names, found.tests, strict=True))


@functools.cache
def programs(wall: str, user: str) -> dict[str, Attacked]:
    jobs = [(textwrap.dedent(code).strip(" \n"), PROGRAM_ROW) for code in PROGRAMS.values()]
    return dict(zip(PROGRAMS, run_jobs(wall, user, jobs, TIMEOUT_S), strict=True))


@pytest.mark.parametrize(("wall", "user"), WALLS)
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_incorrect_and_never_late(wall: str, user: str, name: str) -> None:
    found = forgeries(wall, user)[name]
    assert found.outcome == "incorrect", found.reason
    assert found.seconds < LATEST_S


@pytest.mark.parametrize(("wall", "user"), WALLS)
@pytest.mark.parametrize("name", [*ESCAPES, *RAW_CALLS])
def test_an_attempt_to_get_out_is_held(wall: str, user: str, name: str) -> None:
    outcome, reason = escapes(wall, user)[name]
    assert outcome == "correct", reason


@pytest.mark.parametrize(("wall", "user"), WALLS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cheats_is_incorrect_and_never_late(wall: str, user: str, name: str) -> None:
    found = programs(wall, user)[name]
    assert found.outcome == "incorrect", found.reason
    assert found.seconds < LATEST_S


def test_no_attack_left_a_file_or_a_secret_behind() -> None:
    told = [one for wall, user in (("bubblewrap", "root"), ("landlock", "normal user")) for one in seen(wall, user)]
    assert told and not [one for one in told if TOKEN in one]
    assert list(LEFT_BEHIND.parent.glob(f"{LEFT_BEHIND.name}*")) == []


def seen(wall: str, user: str) -> list[str]:
    """Give all that the attacks behind a wall have sent back."""
    return [one.reason for one in forgeries(wall, user).values()] + [why for _, why in escapes(wall, user).values()]


RIGHT = {
    "a function": ("f = lambda n: n * n + 1", ROW),
    "a name in mathematical letters, which Python reads as f": ("def \U0001d453(n): return n * n + 1", ROW),
    "threads of its own": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def f(n):\n    with ThreadPoolExecutor(4) as pool: return list(pool.map(lambda k: k * k + 1, [n]))[0]",
        ROW,
    ),
    "a program": ("print('secret', int(input()) ** 2 + 1)", PROGRAM_ROW),
    "a program that leaves with 0": ("print('secret', int(input()) ** 2 + 1)\nraise SystemExit(0)", PROGRAM_ROW),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_correct_behind_the_walls(name: str) -> None:
    code, row = RIGHT[name]
    verdict = check_code(code, read_code_row(row)).verdict
    assert verdict.outcome is Outcome.CORRECT, verdict.reason


# A completion must not turn its wrong answer into no verdict.


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(n): raise ValueError", "try:\n    x = f(2)\nexcept ValueError:\n    pass\nassert x == 5"),
        ("def f(n): return []", "for last in f(2):\n    pass\nassert last == 5"),
        ("def f(n): return 0", "def run():\n    if f(2):\n        found = 5\n    assert found == 5\nrun()"),
    ],
    ids=["raising what a test catches", "returning nothing to go through", "taking the way that sets no name"],
)
def test_a_name_that_the_candidate_left_unset_is_the_candidates_fault(code: str, tests: str) -> None:
    verdict = check_code(code, read_code_row({"tests": tests, "entry_point": "f"})).verdict
    assert verdict.outcome is Outcome.INCORRECT, verdict.reason


def test_a_name_that_the_tests_never_set_is_the_tests_fault() -> None:
    row = read_code_row({"tests": "assert f(2) == 5\nassert f(3) == expected", "entry_point": "f"})
    assert check_code("f = lambda n: n * n + 1", row).verdict.outcome is Outcome.UNVERIFIED


# Without isolation nothing is run unless it is told so by name.


@pytest.fixture
def no_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "problem_with", lambda asked: f"no {asked} here")


@pytest.mark.usefixtures("no_walls")
def test_rewards_of_code_refuse_a_machine_without_isolation() -> None:
    components = [RewardComponent(name="correct")]
    with pytest.raises(MachineError, match=r"rewards\.verify\.code_isolation: none"):
        Mix(components, Tags(), kind="code")
    mix = Mix(components, Tags(), kind="code", verify=VerifySection(code_isolation="none"))
    assert mix(completions=["f = lambda n: n * n + 1"], target=[""], tests=[ROW["tests"]]) == [1.0]


@pytest.mark.usefixtures("no_walls")
def test_evaluations_of_code_refuse_a_machine_without_isolation_before_they_sample() -> None:
    from razona.core.nouns import Completion
    from razona.evaluate.sampling import judge_of

    with pytest.raises(MachineError, match="no sandbox"):
        judge_of(load("demo", ["rewards.kind=code", "rewards.components=[{name: correct}]"]))
    asked = ["rewards.kind=code", "rewards.components=[{name: correct}]", "rewards.verify.code_isolation=none"]
    judge = judge_of(load("demo", asked))
    problem = Problem(id="a", question="?", target="", extra={"tests": ROW["tests"]})
    written = Completion(problem_id="a", text="f = lambda n: n * n + 1", num_tokens=9, is_truncated=False)
    assert judge([written], [problem])[0].verdict.outcome is Outcome.CORRECT


@pytest.mark.usefixtures("no_walls")
def test_training_on_code_refuses_a_machine_without_isolation_before_it_samples(tmp_path: Path) -> None:
    from razona.core.rundir import RunDir
    from razona.train import train

    rows = [{"id": f"{n}", "question": f"Write f of {n}.", "answer": "x", **ROW} for n in range(64)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [f"data.source={data}", "rewards.kind=code", "rewards.components=[{name: correct}]", "guard.every=0"]
    with pytest.raises(MachineError, match="the code verifier has no sandbox"):
        train(load("demo", asked), tmp_path / "run")
    assert RunDir(tmp_path / "run").completion_steps() == []


@pytest.mark.usefixtures("no_walls")
def test_the_verb_verify_refuses_a_machine_without_isolation_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from razona.cli.main import main

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"tests": ["assert f(2) == 5"], "completion": "f = lambda n: 5"}\n')
    out = tmp_path / "out.jsonl"
    monkeypatch.setattr("sys.argv", ["razona", "verify", str(rows), "--kind", "code", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "the code verifier has no sandbox" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("walls", ["bubblewrap", "landlock"])
def test_isolation_that_is_asked_for_by_name_is_not_replaced_by_another(
    walls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "problem_with", lambda asked: "missing" if asked == walls else "")
    with pytest.raises(MachineError, match=f"{walls}: missing"):
        check_code("f = len", read_code_row(ROW), CodeOptions(isolation=Isolation(walls)))
