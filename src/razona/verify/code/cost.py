"""What one verdict on code costs on this machine."""

import statistics

from razona.core.errors import MachineError
from razona.core.nouns import Outcome
from razona.verify.code.check import CodeOptions, check_code
from razona.verify.code.isolation import Isolation
from razona.verify.code.problem import read_code_row


def measure_verdict_ms(isolation: Isolation, num_verdicts: int = 20) -> float:
    """Give the median milliseconds of a verdict on a function of one line: nearly all of it is the sandbox's start.

    Raises:
        MachineError: this machine lacks the isolation, or the trivial function was not CORRECT.
    """
    problem = read_code_row({"tests": ["assert add(1, 2) == 3"]})
    verdicts = [
        check_code("def add(a, b): return a + b", problem, CodeOptions(isolation=isolation)).verdict
        for _ in range(num_verdicts)
    ]
    for verdict in verdicts:
        if verdict.outcome is not Outcome.CORRECT:
            raise MachineError(f"the {isolation} sandbox does not work: a trivial function is {verdict.outcome}")
    return 1000 * statistics.median(verdict.seconds for verdict in verdicts)
