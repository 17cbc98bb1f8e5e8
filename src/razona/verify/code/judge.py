"""The process that holds the tests of a problem: it runs them as they are, with a stand-in for the candidate.

The stand-in sends the arguments to the trusted parent, which passes them to the candidate's process and its reply
back; the value is rebuilt from plain data before the test sees it. The tests run in a sandbox of their own because
a data set is not to be trusted with the machine either.

This file runs inside the sandbox, hence the standard library only.

Does not cover: what a function does to its arguments (they are copies, and stay changed on the candidate's side
only); arguments that are functions or objects; results that are objects, which arrive as true or false and equal
nothing; tests that `eval` what the candidate returned, which would let it into this process.
"""

import ast
import builtins
import importlib
import random
import sys
from dataclasses import dataclass
from types import TracebackType

from razona.verify.code.wire import (
    UnknownTypeError,
    WireError,
    decode,
    encode,
    pack,
    read_message,
    unpack,
    write_message,
)

NONCE_BYTES = 16
_SHOWN_CHARACTERS = 200
_TEST_MARK = "__razona_test__"
_OUR_FAULT = (NameError, ImportError, SyntaxError)
"""In the tests' own code these come from the data set, but for a name that is set on some ways only: a candidate that
raises where the tests catch it, or returns nothing to go through, leaves such a name unset."""
_SETS_UP = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.FunctionDef, ast.ClassDef)
_SETS_UP_IN_CHECK = (*_SETS_UP, ast.Return, ast.Global, ast.Nonlocal, ast.Pass)


class Says:
    """What a message of the judge is about: the byte after its nonce."""

    CALL = b"C"
    """A call to pass on to the candidate."""
    PLAN = b"P"
    """The texts of all tests."""
    OUTCOME = b"O"
    """`[index, is_passed, why]` of one test."""
    DONE = b"D"
    """No test follows, and why they ended early ("" where they did not)."""
    BROKEN = b"B"
    """Why these tests cannot be run at all."""


class BrokenTestError(BaseException):
    """The tests cannot be run, whatever the candidate does. No Exception: a test's own `except` must not stop it."""


class RefusedValueError(BaseException):
    """The candidate's reply is no plain value. No Exception, for the same reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTask:
    """What the judge is given: the tests in one of their two forms, and what they need."""

    nonce: str
    """Hexadecimal; every message of the judge begins with it."""
    asserts: list[str]
    """One test an entry; empty where `program` holds the tests."""
    program: str
    """A module that defines `check(candidate)`, or whose own statements are the tests."""
    setup: str
    prompt: str
    entry_point: str
    """The function under test; empty: every function that the asserts call and nothing defines."""


class _Line:
    """The socket to the parent, and what has come over it."""

    def __init__(self, descriptor: int, nonce: bytes) -> None:
        self._descriptor = descriptor
        self._nonce = nonce
        self.num_answers = 0
        self.set_names: frozenset[str] = frozenset()
        """Names that the tests set somewhere."""
        self.last_value: object = None
        self.last_error: BaseException | None = None

    def report(self, kind: bytes, data: object) -> None:
        write_message(self._descriptor, self._nonce + kind + pack(data))

    def call(self, name: str, arguments: tuple[object, ...], keywords: dict[str, object]) -> object:
        try:
            request = pack(encode([name, list(arguments), keywords]))
        except UnknownTypeError as error:
            raise BrokenTestError(f"the tests pass {error} to {name}") from None
        except WireError as error:
            if self.num_answers:  # a value that the candidate gave may have made this one too deep or too long
                raise RefusedValueError(f"the arguments of {name} have {error}") from None
            raise BrokenTestError(f"the arguments of {name} have {error}") from None
        write_message(self._descriptor, self._nonce + Says.CALL + request)
        reply = read_message(self._descriptor)
        self.num_answers += 1
        try:
            return self._open(reply)
        except WireError as error:
            raise RefusedValueError(f"the reply is {error}") from None

    def _open(self, reply: bytes) -> object:
        match unpack(reply):
            case ["value", data]:
                self.last_error, self.last_value = None, decode(data)
                return self.last_value
            case ["object", str(kind), bool(truth)]:
                self.last_error, self.last_value = None, _Unplain(kind, truth)
                return self.last_value
            case ["raised", str(kind), str(text)]:
                self.last_error = _as_error(kind, text)
                raise self.last_error
            case ["refused", str(why)]:
                raise RefusedValueError(f"it returned {why}")
        raise WireError("not a message of this protocol")


class _Unplain:
    """Stands for an object that stayed with the candidate, such as a regular expression's match.

    The comparisons are this class's: it is equal to itself only, whatever the object's `__eq__` says.
    """

    def __init__(self, kind: str, truth: bool) -> None:
        self._kind = kind
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth

    def __repr__(self) -> str:
        return f"an object of type {self._kind}, which is no plain value"


def _as_error(kind: str, text: str) -> Exception:
    """Give a built-in exception as itself, so that a test can expect it, and any other as a RuntimeError."""
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(text)
        except TypeError:
            pass  # UnicodeDecodeError and its kind want more than a text
    return RuntimeError(f"{kind}: {text}")


class _Test:
    """Runs the statements under it as one test, and lets the next one run whatever happened."""

    def __init__(self, line: _Line, index: int) -> None:
        self._line = line
        self._index = index

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        why = "" if error is None else _explain(error, self._line)
        self._line.report(Says.OUTCOME, [self._index, error is None, why])
        return True


def _explain(error: BaseException, line: _Line) -> str:
    """Say why a test failed.

    Raises:
        BrokenTestError: not by the candidate's doing.
    """
    if isinstance(error, BrokenTestError):
        raise error
    if isinstance(error, RefusedValueError):
        return str(error)
    if error is line.last_error:
        return f"it raised {_shown(error)}"
    if not isinstance(error, AssertionError) and (_is_our_fault(error, line) or not line.num_answers):
        raise BrokenTestError(f"the tests raise {_shown(error)} by themselves") from None
    if not line.num_answers:
        return "it fails without a call of the candidate"
    what = "" if isinstance(error, AssertionError) else f", and the test raises {_shown(error)}"
    return f"the last call returned {_short(line.last_value)}{what}"


def _is_our_fault(error: BaseException, line: _Line) -> bool:
    if isinstance(error, NameError) and line.num_answers:
        return not isinstance(error, UnboundLocalError) and error.name not in line.set_names
    return isinstance(error, _OUR_FAULT)


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_SHOWN_CHARACTERS].removesuffix(": ")


def _short(value: object) -> str:
    try:
        return repr(value)[:_SHOWN_CHARACTERS]
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def judge(descriptor: int) -> None:
    """Read a task, run its tests, report each."""
    data = unpack(read_message(descriptor))
    if not isinstance(data, dict):
        raise WireError("a task that is not an object")
    task = JudgeTask(**data)
    line = _Line(descriptor, bytes.fromhex(task.nonce))
    try:
        line.report(Says.DONE, _run(task, line))
    except BrokenTestError as error:
        line.report(Says.BROKEN, str(error))


def _run(task: JudgeTask, line: _Line) -> str:
    """Run all tests, and give why they ended early, "" where they did not."""
    random.seed(0)  # tests that draw their inputs draw the same for every completion
    namespace: dict[str, object] = {"__name__": "tests", _TEST_MARK: lambda index: _Test(line, index)}
    try:
        _run_prompt(task.prompt, namespace)
        exec(compile(task.setup, "<setup>", "exec"), namespace)
        module, tests = _mark_asserts(task.asserts) if task.asserts else _mark_program(task.program)
        code = compile(ast.fix_missing_locations(module), "<tests>", "exec")
    except BaseException as error:
        raise BrokenTestError(f"the tests cannot be read: {_shown(error)}") from None
    _import_modules(module, namespace)
    names = {task.entry_point} if task.entry_point else _functions_under_test(module, namespace)
    if not tests or not names:
        raise BrokenTestError("the tests hold no assertion that calls a function")
    for name in names:
        namespace[name] = _stand_in(name, line)
    line.set_names = frozenset(
        node.id for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    line.report(Says.PLAN, [ast.unparse(test)[:_SHOWN_CHARACTERS] for test in tests])
    try:
        exec(code, namespace)
        if _find_check(module) is not None:
            check = namespace["check"]
            assert callable(check)
            check(namespace[task.entry_point])
    except BaseException as error:
        return _explain(error, line)
    if not line.num_answers:
        raise BrokenTestError(f"the tests never call {', '.join(sorted(names))}")
    return ""


def _run_prompt(prompt: str, namespace: dict[str, object]) -> None:
    """Define what a prompt such as HumanEval's defines beside the function that is asked for."""
    for text in (prompt, f"{prompt}\n    pass\n"):  # a prompt may end with the bare head of a function
        try:
            code = compile(text, "<prompt>", "exec")
        except SyntaxError:
            continue
        exec(code, namespace)
        return


def _stand_in(name: str, line: _Line) -> object:
    def candidate(*arguments: object, **keywords: object) -> object:
        return line.call(name, arguments, keywords)

    return candidate


def _mark_asserts(asserts: list[str]) -> tuple[ast.Module, list[ast.stmt]]:
    """Give a module in which every entry of `asserts` is a test of its own."""
    tests = [ast.parse(text) for text in asserts]
    marked: list[ast.stmt] = [_marked(index, test.body) for index, test in enumerate(tests)]
    shown: list[ast.stmt] = [test.body[-1] for test in tests]
    return ast.Module(body=marked, type_ignores=[]), shown


def _mark_program(program: str) -> tuple[ast.Module, list[ast.stmt]]:
    """Give the module with each statement of its `check` that may fail as a test of its own.

    Imports, assignments and definitions stay as they are: what comes after them needs them.
    """
    module = ast.parse(program)
    check = _find_check(module)
    home = module if check is None else check
    tests: list[ast.stmt] = []
    for position, statement in enumerate(home.body):
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if isinstance(statement, _SETS_UP_IN_CHECK) or is_docstring:
            continue
        home.body[position] = _marked(len(tests), [statement])
        tests.append(statement)
    return module, tests


def _find_check(module: ast.Module) -> ast.FunctionDef | None:
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    return found[-1] if found else None


def _marked(index: int, body: list[ast.stmt]) -> ast.With:
    mark = ast.Call(func=ast.Name(id=_TEST_MARK, ctx=ast.Load()), args=[ast.Constant(value=index)], keywords=[])
    return ast.With(items=[ast.withitem(context_expr=mark)], body=body)


def _import_modules(module: ast.Module, namespace: dict[str, object]) -> None:
    """Import the standard modules that the tests use without importing them, as some of MBPP's do."""
    nodes = [node.value for node in ast.walk(module) if isinstance(node, ast.Attribute)]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    for name in used & sys.stdlib_module_names - set(namespace):
        namespace[name] = importlib.import_module(name)


def _functions_under_test(module: ast.Module, namespace: dict[str, object]) -> set[str]:
    """Give the functions that are called and that neither Python nor the tests define.

    Where there is none the function under test has the name of a built-in one, and is the one that each test calls
    outermost (a row whose tests wrap such a function needs its `entry_point`).
    """
    nodes = list(ast.walk(module))
    calls = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imported = {
        alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    called = set(calls) - stored - defined - imported - set(namespace) - {_TEST_MARK}
    outermost = next((name for name in calls if name in called), None)  # ast.walk goes from the outside in
    return called - set(vars(builtins)) or ({outermost} if outermost else set())
