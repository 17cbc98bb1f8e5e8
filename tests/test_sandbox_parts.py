"""The parts of the sandbox one by one: the wire, the filter, the choice of walls, the certain end of a process."""

import ast
import json
import math
import os
import struct
import time
from pathlib import Path

import pytest

from razona.core.errors import MachineError
from razona.core.nouns import Outcome
from razona.verify.code import CodeOptions, Isolation, check_code, choose_isolation, isolation, problem_with
from razona.verify.code.check import join_prompt
from razona.verify.code.problem import read_code_row
from razona.verify.code.seccomp import build_filter
from razona.verify.code.wire import MAX_DEPTH, UnknownTypeError, WireError, decode, encode, pack, unpack

REAL_WALLS = [Isolation.BUBBLEWRAP, Isolation.LANDLOCK]


def nested(depth: int) -> list:
    found: list = []
    for _ in range(depth - 1):
        found = [found]
    return found


VALUES = [
    None, True, 0, -(2**53), 2**53, -(2**400), 10**5000, 0.1, -0.0, math.inf, 1e-320, 2 - 3j, "", "é\ud800\0\n",
    b"\xff", [], (), set(), frozenset(), {}, [1, [2.0, (3,)]], {"a": {1: {(2, 3)}}}, {None: 1, True: 2},
    nested(MAX_DEPTH),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30] if value != 10**5000 else "10**5000")
def test_a_plain_value_arrives_as_it_left(value):
    arrived = decode(unpack(pack(encode(value))))
    assert (type(arrived), arrived) == (type(value), value)
    assert math.copysign(1, arrived) == math.copysign(1, value) if isinstance(value, float) else True


def test_true_and_one_stay_different_things():
    assert [type(value) for value in decode(unpack(pack(encode((1, 1.0, True)))))] == [int, float, bool]


def test_a_set_of_mixed_types_arrives_whole():
    assert decode(unpack(pack(encode({1, "1", (1,), frozenset([1])})))) == {1, "1", (1,), frozenset([1])}


class Number(int):
    pass


class Text(str):
    pass


class Items(list):
    pass


@pytest.mark.parametrize(
    "value", [Number(3), Text("a"), Items(), object(), len, range(3), (n for n in ()), [[Number(3)]]]
)
def test_no_subclass_and_no_object_travels(value):
    with pytest.raises(UnknownTypeError):
        encode(value)


def test_a_value_too_deep_is_refused():
    with pytest.raises(WireError, match="containers within each other"):
        encode(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "message",
    [
        b"", b"[", b"\xff", b"{}", b'["list"]', b'["list",{}]', b'["object",[]]', b'["int",5]', b'["int","zz"]',
        b'["bytes","f"]', b'["complex",[1,2]]', b'["dict",[[1]]]', b'["dict",[["list",[]],1]]',
        b'["dict",[[["list",[]],1]]]',
        b'["set",[["list",[]]]]', b'["list",[{}]]', b"[" * 100_000, b'["list",[' * 200 + b"]]" * 200,
    ],
    ids=lambda message: message[:20].decode("latin-1"),
)  # fmt: skip
def test_bytes_that_hold_no_plain_value_are_refused(message):
    with pytest.raises(WireError):
        decode(unpack(message))


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def run_filter(code: bytes, arch: int, number: int, arguments: tuple[int, ...]) -> int:
    """A second reading of the filter: the few instructions it uses, one after the other."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", code))
    position = value = 0
    while True:
        operation, if_true, if_false, constant = instructions[position]
        position += 1
        if operation == 0x20:
            value = struct.unpack_from("<I", data, constant)[0]
        elif operation == 0x06:
            return constant
        else:
            holds = value == constant if operation == 0x15 else value >= constant
            position += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "arch", "number", "arguments", "result"),
    [
        ("x86_64", X86, 0, (), ALLOW),  # read
        ("x86_64", X86, 231, (), ALLOW),  # exit_group
        ("x86_64", X86, 41, (), EPERM),  # socket
        ("x86_64", X86, 57, (), EPERM),  # fork
        ("x86_64", X86, 59, (), EPERM),  # execve
        ("x86_64", X86, 62, (), EPERM),  # kill
        ("x86_64", X86, 9999, (), EPERM),  # of a later kernel
        ("x86_64", X86, 0x40000000, (), EPERM),  # read by its x32 number
        ("x86_64", ARM, 63, (), KILL),
        ("x86_64", 0x40000003, 3, (), KILL),  # read of 32-bit programs
        ("x86_64", X86, 56, (0x3D0F00,), ALLOW),  # clone: a thread
        ("x86_64", X86, 56, (17,), EPERM),  # clone: a process
        ("x86_64", X86, 56, (0x10000000 | 0x3D0F00,), EPERM),  # clone: a thread in a new user name space
        ("x86_64", X86, 435, (), ENOSYS),  # clone3
        ("x86_64", X86, 72, (0, 3), ALLOW),  # fcntl F_GETFL
        ("x86_64", X86, 72, (0, 8), EPERM),  # fcntl F_SETOWN
        ("x86_64", X86, 302, (0,), ALLOW),  # prlimit64 of oneself
        ("x86_64", X86, 302, (1,), EPERM),
        ("aarch64", ARM, 63, (), ALLOW),  # read
        ("aarch64", ARM, 198, (), EPERM),  # socket
        ("aarch64", ARM, 220, (0x3D0F00,), ALLOW),
        ("aarch64", ARM, 220, (17,), EPERM),
        ("aarch64", ARM, 221, (), EPERM),  # execve
        ("aarch64", ARM, 129, (), EPERM),  # kill
        ("aarch64", X86, 0, (), KILL),
    ],
)
def test_the_filter_says(machine, arch, number, arguments, result):
    assert run_filter(build_filter(machine), arch, number, arguments) == result


def test_a_machine_without_walls_is_refused_unless_by_name(monkeypatch):
    monkeypatch.setattr(isolation, "problem_with", lambda asked: f"no {asked} here")
    with pytest.raises(MachineError, match=r"no bubblewrap here; landlock: no landlock here\). Install bubblewrap"):
        check_code("f = len", read_code_row({"tests": ["assert f('') == 0"]}))
    with pytest.raises(MachineError, match="no landlock here"):
        choose_isolation(Isolation.LANDLOCK)
    row = read_code_row({"tests": ["assert f('') == 0"]})
    assert check_code("f = len", row, CodeOptions(isolation=Isolation.NONE)).verdict.outcome is Outcome.CORRECT


def test_landlock_stands_in_for_bubblewrap(monkeypatch):
    monkeypatch.setattr(isolation, "problem_with", lambda asked: "missing" * (asked is Isolation.BUBBLEWRAP))
    assert choose_isolation(Isolation.AUTO) is Isolation.LANDLOCK


def test_a_sandbox_that_does_not_start_is_unverified(monkeypatch):
    monkeypatch.setattr("razona.verify.code.process.start_command", lambda *_: ["/bin/sh", "-c", "echo broken >&2"])
    verdict = check_code("f = len", read_code_row({"tests": ["assert f('') == 0"]}), CodeOptions()).verdict
    assert (verdict.outcome, verdict.reason) == (Outcome.UNVERIFIED, "the sandbox did not start: broken")


def processes_with(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_text(encoding="utf-8") if folder.name.isdigit() else ""
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found


@pytest.mark.parametrize("walls", [*REAL_WALLS, Isolation.NONE])
def test_no_process_outlives_its_verdict(walls):
    if problem := problem_with(walls):
        pytest.skip(problem)
    memory_mib = 400 + os.getpid() % 100
    options = CodeOptions(isolation=walls, timeout_s=0.3, memory_mib=memory_mib)
    code = "import os, time\nif not hasattr(os, 'x'):\n    try: os.fork()\n    except OSError: pass\ntime.sleep(10**6)"
    assert check_code(code, read_code_row({"tests": ["assert f() == 1"]}), options).verdict.outcome is Outcome.INCORRECT
    patience = time.monotonic() + 10
    mark = f'"memory_bytes": {memory_mib * 2**20}'
    while processes_with(mark) and time.monotonic() < patience:
        time.sleep(0.05)  # the kernel takes the name space down after its first process
    assert processes_with(mark) == []


PARTS = [pytest.param(8, id="every eighth"), pytest.param(1, id="all", marks=pytest.mark.long)]


def rows_of(folder: Path, every: int) -> list[dict]:
    names = ("code_mbpp_sanitized.jsonl", "code_humaneval.jsonl")
    lines = [line for name in names for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 563
    return [json.loads(line) for line in lines[::every]]


class _ReturnNone(ast.NodeTransformer):
    def visit_Return(self, node):
        return ast.Return(value=ast.Constant(value=None))


class _Distorted(ast.NodeTransformer):
    """Return another number, text or truth from the function under test, far outside of any test's tolerance."""

    def __init__(self, name):
        self.name = name

    def visit_FunctionDef(self, node):
        if node.name == self.name:
            node.name = f"{node.name}_before"
            code = (
                f"def {self.name}(*a, **k):\n    r = {node.name}(*a, **k)\n    if isinstance(r, bool): return not r\n"
                "    if isinstance(r, (int, float, complex)): return 2 * r + 1\n"
                "    return r + 'x' if isinstance(r, str) else [r]"
            )
            return [node, ast.parse(code).body[0]]
        return node


def name_under_test(row: dict) -> str:
    if "entry_point" in row:
        return row["entry_point"]
    source = " ".join(row["test_list"])
    defined = [node.name for node in ast.parse(row["answer"]).body if isinstance(node, ast.FunctionDef)]
    return next(name for name in reversed(defined) if f"{name}(" in source)


@pytest.mark.slow
@pytest.mark.parametrize("every", PARTS)
@pytest.mark.parametrize("walls", REAL_WALLS)
def test_every_reference_solution_is_correct(shared_problems, walls, every):
    if problem := problem_with(walls):
        pytest.skip(problem)
    options = CodeOptions(isolation=walls, timeout_s=30)
    rows = rows_of(shared_problems, every)
    verdicts = {row["id"]: check_code(row["answer"], read_code_row(row), options).verdict for row in rows}
    assert {name: verdict.reason for name, verdict in verdicts.items() if verdict.outcome is not Outcome.CORRECT} == {}


@pytest.mark.slow
@pytest.mark.parametrize("every", PARTS)
@pytest.mark.parametrize("kind", ["returns nothing", "distorted"])
def test_every_mutated_solution_is_incorrect(shared_problems, kind, every):
    accepted = []
    for row in rows_of(shared_problems, every):
        problem = read_code_row(row)
        mutation = _ReturnNone() if kind == "returns nothing" else _Distorted(name_under_test(row))
        program = mutation.visit(ast.parse(join_prompt(problem.prompt, row["answer"])))
        code = ast.unparse(ast.fix_missing_locations(program))
        outcome = check_code(code, problem, CodeOptions(timeout_s=10)).verdict.outcome
        if outcome is not Outcome.INCORRECT:
            accepted.append((row["id"], outcome))
    assert accepted == []
