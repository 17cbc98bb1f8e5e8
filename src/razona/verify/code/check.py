"""The verdict on a completion that is code: run it against tests, where it cannot reach them.

A function is called across a wall: one sandboxed process holds the completion, another the tests, and the parent
passes arguments one way and plain values the other. The verdict is made here, of what the tests' process reports over
a socket that the completion's process does not have; no exit code and no printed text is read for it. So forged
`__eq__`, patched built-ins, leaving early, walking the frames and printing markers have nothing to reach. A program is
run once per case in a process that never holds the expected output, and its output is compared here.

Does not cover: completions that answer by the known inputs of public tests (memorised, not cheated); floats in a
program's output within a tolerance; several right outputs for one input; and what `judge.py` and `isolation.py` say
they do not cover.
"""

import json
import math
import secrets
import time
from dataclasses import asdict, dataclass, field

from razona.core.nouns import Outcome, Verdict
from razona.verify.code.extraction import extract_code
from razona.verify.code.isolation import Isolation, Limits, choose_isolation
from razona.verify.code.judge import NONCE_BYTES, JudgeTask, Says
from razona.verify.code.problem import CodeProblem, FunctionTests, ProgramCase
from razona.verify.code.process import EndedError, SandboxFailedError, SandboxProcess, TooLongError, as_bytes
from razona.verify.code.wire import MAX_MESSAGE_BYTES, WireError, unpack
from razona.verify.tags import Tags

MAX_CODE_CHARACTERS = 200_000
"""A longer program is refused unread."""
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeOptions:
    """How completions are run."""

    isolation: Isolation = Isolation.AUTO
    timeout_s: float = 5.0
    """Wall-clock time for all tests of one completion together, counted from when the sandbox stands."""
    memory_mib: int = 512
    """Address space of one process; a list of ten million different integers takes about 400."""
    tags: Tags = field(default_factory=Tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """What became of one test."""

    __test__ = False  # pytest takes classes of this name for its own

    name: str
    """The assertion, or the number of the case."""
    outcome: Outcome
    """INCORRECT too where an earlier test ended or stopped the program."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """The verdict on one completion, and each test behind it."""

    verdict: Verdict
    """CORRECT only where every test passed."""
    tests: tuple[TestOutcome, ...] = ()


class _CandidateError(Exception):
    """The completion's process did something that ends the tests; says what."""


class _BrokenTestsError(Exception):
    """The tests cannot be run, whatever the completion is; says why."""


def check_code(completion: str, problem: CodeProblem, options: CodeOptions | None = None) -> CodeReport:
    """Run the code of a completion against the tests of its problem.

    A completion that takes too much time, memory or output is INCORRECT with that reason. UNVERIFIED is for tests
    that cannot be run at all, and for a sandbox that does not start. Works from any thread.

    Raises:
        MachineError: this machine has no sandbox of the kind asked for.

    >>> from razona.verify.code.problem import read_code_row
    >>> problem = read_code_row({"tests": ["assert add(1, 2) == 3"]})
    >>> check_code("def add(a, b): return a + b", problem).verdict.outcome
    <Outcome.CORRECT: 'correct'>
    """
    options = options or CodeOptions()
    isolation = choose_isolation(options.isolation)
    began = time.perf_counter()
    code = extract_code(completion, options.tags)
    if code is None:
        return CodeReport(verdict=Verdict(outcome=Outcome.NO_ANSWER, reason="the completion holds no code"))
    if len(code) > MAX_CODE_CHARACTERS:
        reason = f"the code is longer than {MAX_CODE_CHARACTERS} characters"
        return CodeReport(verdict=Verdict(outcome=Outcome.INCORRECT, reason=reason))
    try:
        if isinstance(problem.tests, FunctionTests):
            tests = _Session(problem.tests, problem.prompt, options).run(join_prompt(problem.prompt, code), isolation)
        else:
            tests = _run_cases(problem.tests, join_prompt(problem.prompt, code), isolation, options)
        outcome, reason = _sum_up(tests)
    except (SandboxFailedError, _BrokenTestsError) as error:
        tests, outcome, reason = (), Outcome.UNVERIFIED, str(error)
    except _CandidateError as error:  # before the tests were known
        tests, outcome, reason = (), Outcome.INCORRECT, str(error)
    seconds = time.perf_counter() - began
    return CodeReport(verdict=Verdict(outcome=outcome, answer=code, reason=reason, seconds=seconds), tests=tests)


def join_prompt(prompt: str, code: str) -> str:
    """Give the program that a completion makes of its prompt.

    Code that begins indented is the body that the prompt's last line opens; other code stands on its own after the
    prompt, whose imports and helpers it may use and whose unfinished function it defines again.
    """
    if not prompt.strip():
        return code
    return f"{prompt.rstrip()}\n{code}\n" if code[0] in " \t" else f"{_closed(prompt)}\n{code}\n"


def _closed(prompt: str) -> str:
    """Give the prompt with a body for a function whose head is its last line."""
    return f"{prompt.rstrip()}\n    pass\n" if prompt.rstrip().endswith(":") else prompt


def _sum_up(tests: tuple[TestOutcome, ...]) -> tuple[Outcome, str]:
    failed = [test for test in tests if test.outcome is not Outcome.CORRECT]
    if not failed:
        return Outcome.CORRECT, ""
    first = failed[0]
    name = first.name if len(first.name) <= _SHOWN_CHARACTERS else f"{first.name[:_SHOWN_CHARACTERS]}..."
    return Outcome.INCORRECT, f"{len(failed)} of {len(tests)} tests failed, first {name}: {first.reason}"


def _limits(options: CodeOptions) -> Limits:
    return Limits(memory_mib=options.memory_mib, cpu_s=math.ceil(options.timeout_s) + 1)


class _Session:
    """One completion's tests of functions: the two processes, and what the tests' process has reported so far."""

    def __init__(self, tests: FunctionTests, prompt: str, options: CodeOptions) -> None:
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._options = options
        self._task = JudgeTask(
            nonce=self._nonce.hex(),
            asserts=list(tests.asserts),
            program=tests.program,
            setup=tests.setup,
            prompt=prompt,
            entry_point=tests.entry_point,
        )
        self._names: list[str] = []
        self._outcomes: dict[int, TestOutcome] = {}
        self._num_calls = 0

    def run(self, source: str, isolation: Isolation) -> tuple[TestOutcome, ...]:
        """Give the outcome of every test."""
        limits = _limits(self._options)
        with (
            SandboxProcess(isolation, "candidate", limits) as candidate,
            SandboxProcess(isolation, "judge", limits) as judge,
        ):
            candidate.wait_confined()
            judge.wait_confined()
            deadline = time.monotonic() + self._options.timeout_s
            try:
                why_ended = self._pass_on(source, candidate, judge, deadline)
            except _CandidateError as error:
                if not self._names:
                    raise
                why_ended = str(error)
        return tuple(self._outcome(index, name, why_ended) for index, name in enumerate(self._names))

    def _outcome(self, index: int, name: str, why_ended: str) -> TestOutcome:
        reason = why_ended or "the tests ended before it"
        return self._outcomes.get(index) or TestOutcome(name=name, outcome=Outcome.INCORRECT, reason=reason)

    def _pass_on(self, source: str, candidate: SandboxProcess, judge: SandboxProcess, deadline: float) -> str:
        """Carry calls and replies until the tests are over, and give why they ended early, "" where they did not.

        The code is handed over with the first call, so that no line of it runs while the tests are read: code that
        takes all processors for itself could otherwise keep its tests from ever getting to a call.
        """
        is_begun = False
        try:
            judge.send(json.dumps(asdict(self._task)).encode("ascii"), deadline)
            while True:
                kind, data = self._from_judge(judge, deadline)
                if kind == Says.CALL:
                    if not is_begun:
                        self._to_candidate(as_bytes(source), candidate, deadline)
                        is_begun = True
                    self._to_candidate(data, candidate, deadline)
                    reply = self._from_candidate(candidate, deadline)
                    self._num_calls += 1
                    judge.send(reply, deadline)
                elif (why := self._note(kind, data)) is not None:
                    return why
        except TimeoutError:
            why = f"it was not over after {self._options.timeout_s:g} s"
        except (EndedError, TooLongError):
            why = "the tests' process ended"
        if self._num_calls:  # a completion must not turn a wrong answer into no verdict by overloading its test
            raise _CandidateError(f"{why} while the test worked on what the candidate returned")
        raise _BrokenTestsError(f"the tests do not get to a call of the candidate: {why}")

    def _note(self, kind: bytes, data: bytes) -> str | None:
        """Note what a report says; the last one gives why the tests ended early, the others None."""
        try:
            report = unpack(data)
        except WireError:
            raise EndedError from None
        match kind, report:
            case Says.PLAN, [*names] if all(isinstance(name, str) for name in names):
                self._names = names
            case Says.OUTCOME, [int(index), bool(is_passed), str(why)] if 0 <= index < len(self._names):
                outcome = Outcome.CORRECT if is_passed else Outcome.INCORRECT
                self._outcomes[index] = TestOutcome(name=self._names[index], outcome=outcome, reason=why)
            case Says.DONE, str(why):
                return why
            case Says.BROKEN, str(why):
                raise _BrokenTestsError(why)
            case _:  # the tests of a hostile data set wrote to the socket themselves
                raise EndedError
        return None

    def _from_judge(self, judge: SandboxProcess, deadline: float) -> tuple[bytes, bytes]:
        message = judge.receive(deadline)
        nonce, kind, data = message[:NONCE_BYTES], message[NONCE_BYTES : NONCE_BYTES + 1], message[NONCE_BYTES + 1 :]
        if not secrets.compare_digest(nonce, self._nonce):
            raise EndedError
        return kind, data

    def _to_candidate(self, message: bytes, candidate: SandboxProcess, deadline: float) -> None:
        try:
            candidate.send(message, deadline)
        except TimeoutError:
            raise _CandidateError(self._late()) from None
        except EndedError:
            raise _CandidateError(f"the program {candidate.how_it_ended()}") from None

    def _from_candidate(self, candidate: SandboxProcess, deadline: float) -> bytes:
        try:
            return candidate.receive(deadline)
        except TimeoutError:
            raise _CandidateError(self._late()) from None
        except EndedError:
            raise _CandidateError(f"the program {candidate.how_it_ended()} instead of returning") from None
        except TooLongError:
            raise _CandidateError(f"it returned more than {MAX_MESSAGE_BYTES} bytes") from None

    def _late(self) -> str:
        return f"it had not returned when the {self._options.timeout_s:g} s of all tests were over"


def _run_cases(
    cases: tuple[ProgramCase, ...], source: str, isolation: Isolation, options: CodeOptions
) -> tuple[TestOutcome, ...]:
    """Run a program once per case, each in a fresh process, until the time of all of them is over."""
    left_s = options.timeout_s
    outcomes: list[TestOutcome] = []
    for index, case in enumerate(cases):
        reason = f"the {options.timeout_s:g} s of all tests were over"
        if left_s > 0:
            with SandboxProcess(isolation, "program", _limits(options)) as process:
                process.wait_confined()
                began = time.monotonic()
                reason = _run_case(case, source, process, began + left_s)
            left_s -= time.monotonic() - began
        outcome = Outcome.INCORRECT if reason else Outcome.CORRECT
        outcomes.append(TestOutcome(name=f"case {index + 1}", outcome=outcome, reason=reason))
    return tuple(outcomes)


def _run_case(case: ProgramCase, source: str, process: SandboxProcess, deadline: float) -> str:
    """Give why a case failed, "" where it passed."""
    try:
        run = process.run(source, case.input, deadline)
    except TimeoutError:
        return "it was still running when the time of all tests was over"
    except TooLongError:
        return f"it wrote more than {MAX_MESSAGE_BYTES} bytes"
    except EndedError:
        return f"the program {process.how_it_ended()}"
    if run.exit_code != 0:
        complaint = run.stderr.decode("utf-8", errors="replace").strip().splitlines()
        return (complaint[-1] if complaint else f"the program {process.how_it_ended()}")[:_SHOWN_CHARACTERS]
    written = run.stdout.decode("utf-8", errors="replace")
    return "" if _lines(written) == _lines(case.output) else f"it wrote {written[:_SHOWN_CHARACTERS]!r}"


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().split("\n")]
