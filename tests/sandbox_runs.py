"""Attacks on the code verifier, run behind each wall as each user, in a process of their own."""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import razona

OTHER_USER = 12345
SOURCES = Path(razona.__file__).parents[1]
TOKEN = "hf_aSecretOfThePersonThatNoCompletionMaySee"
"""Stands in the environment of the process that judges, as a person's token would."""
WALLS = [
    ("bubblewrap", "root"),
    ("landlock", "normal user"),
    pytest.param("bubblewrap", "normal user", marks=pytest.mark.slow),
    pytest.param("landlock", "root", marks=pytest.mark.slow),
]
CHILD = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from razona.verify.code import CodeOptions, Isolation, check_code, problem_with, read_code_row
isolation, timeout_s, jobs = json.load(sys.stdin)
problem = problem_with(Isolation(isolation))
def run(job):
    report = check_code(job[0], read_code_row(job[1]), CodeOptions(isolation=Isolation(isolation), timeout_s=timeout_s))
    verdict = report.verdict
    return verdict.outcome, verdict.reason, [[test.outcome, test.reason] for test in report.tests], verdict.seconds
with ThreadPoolExecutor(4) as pool:
    print(json.dumps([problem, [] if problem else list(pool.map(run, jobs))]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """The verdict on one attack."""

    outcome: str
    reason: str
    tests: list[tuple[str, str]]
    """Outcome and reason of each test."""
    seconds: float


def run_jobs(isolation: str, user: str, jobs: list[tuple[str, dict]], timeout_s: float) -> list[Attacked]:
    """Judge completions against their rows, as root or as a normal user; skips where this machine cannot."""
    is_root = os.geteuid() == 0
    if user == "root" and not is_root:
        pytest.skip("the tests do not run as root")
    python = sys.executable if user == "root" or not is_root else other_users_python()
    if python is None:
        pytest.skip(f"no Python of 3.11 or later that uid {OTHER_USER} may start")
    environment = {"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, "-c", CHILD],
        input=json.dumps([isolation, timeout_s, jobs]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd="/",
        user=OTHER_USER if user == "normal user" and is_root else None,
        env=environment | {"HF_TOKEN": TOKEN},
    )
    if "PermissionError" in done.stderr or "No module named 'razona" in done.stderr:
        pytest.skip(f"uid {OTHER_USER} may not read {SOURCES}")
    assert done.returncode == 0, done.stderr
    problem, results = json.loads(done.stdout)
    if problem:
        pytest.skip(f"{isolation} does not work here as {user}: {problem}")
    return [Attacked(outcome=one[0], reason=one[1], tests=one[2], seconds=one[3]) for one in results]


@functools.cache
def other_users_python() -> str | None:
    """Give an interpreter that another user may start; a home folder's often may not."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        command = [python, "-c", "import sys, ctypes; assert sys.version_info >= (3, 11)"]
        try:
            if shutil.which(python) and subprocess.run(command, user=OTHER_USER, capture_output=True).returncode == 0:
                return python
        except OSError:
            continue
    return None
