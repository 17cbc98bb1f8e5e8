"""Attacks on the code verifier: none forges a verdict, and none gets out, under any wall and any user."""

import functools
import os
import textwrap
from pathlib import Path

import pytest
from sandbox_runs import WALLS, run_jobs

from razona.verify.code import CodeOptions, Isolation, check_code, problem_with, read_code_row

TIMEOUT_S = 0.4
SECRET = Path(__file__)
"""A file of the host that no sandboxed code may read."""
# Completions for `f(2) == 5` and `f(3) == 10` that want to be CORRECT without knowing n * n + 1.
FORGERIES = {
    "an object that equals everything": """
        class Liar:
            __eq__ = lambda self, other: True
            __ne__ = lambda self, other: False
        f = lambda n: Liar()
    """,
    "an int whose == is always true": """
        class Liar(int):
            __eq__ = lambda self, other: True
            __hash__ = int.__hash__
        f = lambda n: Liar(0)
    """,
    "an object whose class has no name": """
        class Nameless(type):
            __name__ = property(lambda self: 5)
        class Liar(metaclass=Nameless): ...
        f = lambda n: Liar()
    """,
    "a result appended in the callers' frames": """
        import sys
        def f(n):
            frame = sys._getframe()
            while frame:
                for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
                    if type(value) is list: value.append("passed")
                    if type(value) is dict: value["passed"] = True
                frame = frame.f_back
            raise ValueError("passed")
    """,
    "the expected values looked up in memory": """
        import gc, re, sys
        def f(n):
            texts = [o for o in gc.get_objects() if type(o) is str]
            frame = sys._getframe()
            while frame:
                texts += [v for v in [*frame.f_locals.values(), *frame.f_globals.values()] if type(v) in (str, bytes)]
                frame = frame.f_back
            for text in map(str, [*texts, sys.argv]):
                found = re.search(r"f\\(%d\\) *== *(\\d+)" % n, text)
                if found: return int(found[1])
    """,
    "sys.exit(0) at import": "import sys; sys.exit(0)",
    "sys.exit(0) in the function": "import sys\nf = lambda n: sys.exit(0)",
    "os._exit(0) at import": "import os; os._exit(0)",
    "os._exit(0) in the function": "import os\nf = lambda n: os._exit(0)",
    "os._exit(0) when the interpreter ends": "import os, atexit\natexit.register(os._exit, 0)\nf = lambda n: exit(0)",
    "patched built-ins": """
        import builtins, operator, unittest
        builtins.AssertionError = builtins.BaseException = Exception
        builtins.isinstance = builtins.all = builtins.bool = lambda *_: True
        operator.eq = lambda *_: True
        unittest.TestCase.assertEqual = lambda *_: None
        f = lambda n: 0
    """,
    "a patched runner": """
        import sys
        for module in list(sys.modules.values()):
            if module.__name__.startswith("razona"):
                for name, value in list(vars(module).items()):
                    if callable(value): setattr(module, name, lambda *_, **__: True)
        f = lambda n: 0
    """,
    "the marker on every descriptor": """
        import os
        def f(n):
            print("passed"); print('["value", true]')
            for descriptor in range(64):
                try: os.write(descriptor, b"passed")
                except OSError: pass
            os._exit(0)
    """,
    "the judge's messages on every descriptor": """
        import os, json
        def f(n):
            for descriptor in range(64):
                for nonce in (b"", bytes(16)):
                    for message in (b'P["a"]', b'O[0,true,""]', b'O[1,true,""]', b'D""'):
                        message = nonce + message
                        try: os.write(descriptor, len(message).to_bytes(4, "big") + message)
                        except OSError: pass
            os._exit(0)
    """,
    "replies before they are asked for": """
        import os
        for descriptor in range(3, 64):
            try: os.write(descriptor, (b"\\0\\0\\0\\x0b" + b'["value",5]') * 9)
            except OSError: pass
        f = lambda n: 5
    """,
    "a reply that claims two gigabytes": """
        import os
        for descriptor in range(3, 64):
            try: os.write(descriptor, b"\\x7f\\xff\\xff\\xff")
            except OSError: pass
        f = lambda n: 5
    """,
    "replies that are no plain values": """
        import os
        for descriptor in range(3, 64):
            for text in (b'["value",{"a":1}]', b'["value",["int","zz"]]', b'["value",["set",[["list",[]]]]]', b"]"):
                try: os.write(descriptor, len(text).to_bytes(4, "big") + text)
                except OSError: pass
    """,
    "all descriptors closed": "import os\nos.closerange(0, 64)\nf = lambda n: n * n + 1",
    "an exception that equals everything": """
        class Liar(AssertionError):
            __eq__ = lambda self, other: True
            __str__ = lambda self: 1 / 0
        def f(n): raise Liar
    """,
    "a list that holds itself": "def f(n):\n    found = []\n    found.append(found)\n    return found",
    "a list 5000 deep": "def f(n):\n    found = n\n    for _ in range(5000): found = [found]\n    return found",
    "a result of 100 megabytes": "f = lambda n: 'x' * 10**8",
    "a result that takes a judge long to hash": "f = lambda n: {k * (2**61 - 1) for k in range(40_000)}",
    "an endless loop at import": "while True: pass",
    "an endless loop that swallows everything": """
        import signal
        signal.alarm(0); signal.setitimer(signal.ITIMER_REAL, 0)
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        def f(n):
            while True:
                try:
                    while True: pass
                except BaseException: pass
    """,
    "an endless sleep": "import time\nf = lambda n: time.sleep(10**6)",
    "an endless thread": """
        import threading, time
        threading.Thread(target=time.sleep, args=(10**6,)).start()
        import os, sys
        f = lambda n: sys.exit(0)
    """,
    "an endless flood of output": "def f(n):\n    while True: print('x' * 10**6)",
    "a power that Python cannot interrupt": "f = lambda n: 9**9**9 % 10",
    "a memory bomb": "def f(n):\n    found = []\n    while True: found.append(bytearray(2**24))",
    "a thread bomb": """
        import threading, time
        threading.stack_size(32768)
        def f(n):
            while True: threading.Thread(target=time.sleep, args=(10**6,), daemon=True).start()
    """,
    "a stack overflow in C": """
        import sys
        sys.setrecursionlimit(10**9)
        f = lambda n: f(n) + 1
    """,
    "a null pointer read": "import ctypes\nf = lambda n: ctypes.string_at(0)",
}

# What sandboxed code tries, each an expression; it must raise OSError, ValueError, RuntimeError or MemoryError.
ESCAPES = {
    "read a file of the host": f"open({str(SECRET)!r}).read()",
    "read /etc/passwd": "open('/etc/passwd').read()",
    "list a folder of the host": f"os.listdir({str(SECRET.parent)!r})",
    "list the processes": "os.listdir('/proc')",
    "read the launcher's environment": "open(f'/proc/{os.getppid()}/environ').read()",
    "write to /tmp": "os.open('/tmp/razona-sandbox-probe', os.O_CREAT | os.O_WRONLY)",
    "write to /dev/shm": "os.open('/dev/shm/razona-sandbox-probe', os.O_CREAT | os.O_WRONLY)",
    "write beside the interpreter": "os.open(os.__file__ + '.probe', os.O_CREAT | os.O_WRONLY)",
    "write to the current folder": "os.open('razona-sandbox-probe', os.O_CREAT | os.O_WRONLY)",
    "make a folder": "os.mkdir('/tmp/razona-sandbox-probe-folder')",
    "make a file in memory": "os.memfd_create('probe')",
    "open an internet socket": "socket.socket()",
    "open a unix socket": "socket.socket(socket.AF_UNIX)",
    "open a raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "open a pair of sockets": "socket.socketpair()",
    "fork": "os.fork() or os._exit(0)",
    "run a shell": "zero_is_success(os.system('true'))",
    "run a shell from C": "zero_is_success(ctypes.CDLL(None).system(b'true'))",
    "run a program": "subprocess.run(['/bin/true'])",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "become a program": "os.execv('/bin/true', ['true'])",
    "signal the launcher": "os.kill(os.getppid(), 0)",
    "signal process 1": "os.kill(1, 0)",
    "signal everyone": "os.kill(-1, 0)",
    "signal by a ready pipe": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "choose that signal": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETSIG, 9)",
    "signal by a ready socket": "fcntl.ioctl(3, 0x8901, os.getppid().to_bytes(4, 'little'))",
    "limit the launcher": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)",
    "lift its own limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "lift its processor time": "resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))",
    "change the root folder": "os.chroot('/')",
    "become another user": "os.setresuid(1, 1, 1)",
    "open 100 files": "[os.dup(0) for _ in range(100)]",
    "take 8 gigabytes": "bytearray(2**33)",
    "see more of the environment": "sorted(set(os.environ) - {'LC_ALL', 'PYTHONHASHSEED', 'PWD'}) or refuse()",
    "find more descriptors": "[d for d in range(3, 64) if is_open(d)][1:] or refuse()",
    "find the tests' modules": "[m for m in sys.modules if m.startswith(('pytest', 'test'))] or refuse()",
}
# Number on x86-64 and arm64 of calls that Python has no function for.
RAW_CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "pivot_root": (155, 41),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "pidfd_open": (434, 434),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "prctl": (157, 167),
    "clone3": (435, 435),
    "openat2": (437, 437),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "shmget": (29, 194),
}
SEEN_WITHOUT_WALLS = ["read /etc/passwd", "list the processes", "open an internet socket", "fork", "run a program"]
"""Escapes that do no harm where they work: there the probe must see them work."""

ESCAPE = """
import ctypes, fcntl, os, resource, socket, subprocess, sys
def zero_is_success(code):
    if code != 0: raise OSError(code)
    return "it ran"
def refuse(): raise OSError
def is_open(descriptor):
    try: os.fstat(descriptor)
    except OSError: return False
    return True
def raw_call(number):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, 0, 0, 0, 0, 0)
    if result == -1 and ctypes.get_errno() in (1, 38): raise OSError
    return "the kernel looked at it", result, ctypes.get_errno()
def f():
    try: found = {attempt}
    except (OSError, ValueError, RuntimeError, MemoryError): return "held"
    return "out: " + repr(found)[:80]
"""


def forgery_job(name: str) -> tuple[str, dict]:
    return textwrap.dedent(FORGERIES[name]).strip(), {"tests": ["assert f(2) == 5", "assert f(3) == 10"]}


def escape_job(name: str) -> tuple[str, dict]:
    if name in RAW_CALLS:
        attempt = f"raw_call({RAW_CALLS[name][os.uname().machine == 'aarch64']})"
    else:
        attempt = ESCAPES[name]
    return ESCAPE.replace("{attempt}", attempt), {"tests": ["assert f() == 'held'"]}


@functools.cache
def verdicts(isolation: str, user: str, kind: str) -> dict[str, tuple[str, str]]:
    """Run every attack of a kind, as root or as a normal user, and give outcome and reason by name."""
    names = list(FORGERIES) if kind == "forgery" else [*ESCAPES, *RAW_CALLS]
    jobs = [forgery_job(name) if kind == "forgery" else escape_job(name) for name in names]
    found = run_jobs(isolation, user, jobs, TIMEOUT_S)
    return {name: (one.outcome, one.reason) for name, one in zip(names, found, strict=True)}


@pytest.mark.parametrize(("isolation", "user"), WALLS)
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_verdict_is_incorrect(isolation, user, name):
    outcome, reason = verdicts(isolation, user, "forgery")[name]
    assert outcome == "incorrect", reason


@pytest.mark.parametrize(("isolation", "user"), WALLS)
@pytest.mark.parametrize("name", [*ESCAPES, *RAW_CALLS])
def test_an_escape_is_held(isolation, user, name):
    outcome, reason = verdicts(isolation, user, "escape")[name]
    assert outcome == "correct", reason


@pytest.mark.parametrize("name", SEEN_WITHOUT_WALLS)
def test_the_same_escape_is_seen_where_there_are_no_walls(name):
    code, row = escape_job(name)
    report = check_code(code, read_code_row(row), CodeOptions(isolation=Isolation.NONE))
    assert "out: " in report.verdict.reason


@pytest.mark.parametrize(
    "name",
    ["an object that equals everything", "the judge's messages on every descriptor", "a patched runner"],
)
def test_a_forgery_fails_without_walls_too(name):
    code, row = forgery_job(name)
    report = check_code(code, read_code_row(row), CodeOptions(isolation=Isolation.NONE, timeout_s=TIMEOUT_S))
    assert report.verdict.outcome == "incorrect"


@pytest.mark.parametrize("isolation", [Isolation.BUBBLEWRAP, Isolation.LANDLOCK])
def test_a_right_completion_is_correct_behind_the_same_walls(isolation):
    if problem := problem_with(isolation):
        pytest.skip(problem)
    tests = read_code_row(forgery_job("an endless sleep")[1])
    report = check_code("f = lambda n: n * n + 1", tests, CodeOptions(isolation=isolation, timeout_s=TIMEOUT_S))
    assert report.verdict.outcome == "correct", report.verdict.reason
