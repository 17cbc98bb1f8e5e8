"""A reward that pays nothing, and keeps the processes busy that judge formulas and programs (`benchmarks/soak.py`).

Each call asks a worker about two formulas. Each tenth also has a worker killed at its deadline, and runs two programs
in the sandbox, of which one never ends: what such an end leaves behind would add up.
"""

import itertools
from collections.abc import Sequence

from razona.core.nouns import Outcome
from razona.verify.code import CodeOptions, check_code, read_code_row
from razona.verify.pool import JobStatus, default_pool
from razona.verify.symbolic import prove_equal

EVERY = 10
NEVER_DONE_S = 0.002
"""Too short for any formula."""
PROGRAM = read_code_row({"tests": ["assert add(1, 2) == 3"]})
_calls = itertools.count(1)


def ask_workers(completions: Sequence[object], **columns: object) -> list[float]:
    """Give 0 to each completion, or raise where a process did not do what it was asked."""
    call, pool = next(_calls), default_pool()
    for left, right in ((r"\sin(2x)", r"2\sin x\cos x"), (f"(x+{call})^2", f"x^2+{2 * call}x+{call**2}")):
        proven = prove_equal(left, right, pool, 5.0)
        if proven.status is not JobStatus.DONE:
            raise RuntimeError(f"{left} = {right}: {proven.status}: {proven.reason}")
    if call % EVERY == 0:
        prove_equal(f"(x+y)^{{{call % 40 + 20}}}", "1", pool, NEVER_DONE_S)
        for code, expected in (("return a + b", Outcome.CORRECT), ("while True: pass", Outcome.INCORRECT)):
            report = check_code(f"def add(a, b):\n    {code}", PROGRAM, CodeOptions(timeout_s=0.5))
            if report.verdict.outcome is not expected:
                raise RuntimeError(f"{code}: {report.verdict}")
    return [0.0] * len(completions)
