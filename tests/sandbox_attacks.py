"""Attacks on the code verifier as tables: bombs, tricks of ends and beginnings, names, secrets, programs that cheat."""

from pathlib import Path

TIMEOUT_S = 1.0
LATEST_S = TIMEOUT_S + 0.5 + 2.0
"""The deadline of all tests, the slack of a verdict, and the start of two processes while four others run."""
ROW = {"tests": ["assert f(2) == 5", "assert f(3) == 10"]}
LEFT_BEHIND = Path("/tmp/razona-sandbox-left-behind")

# Completions for ROW that do not know n * n + 1: each must be INCORRECT, and nothing else.
FORGERIES = {
    "a fork bomb": """
        import os
        def f(n):
            while True:
                try: os.fork()
                except OSError: pass
    """,
    "a fork bomb from C": """
        import ctypes
        libc = ctypes.CDLL(None)
        def f(n):
            while True: libc.fork(); libc.vfork
    """,
    "a bomb of processes through every door": """
        import multiprocessing, os, pty, subprocess
        from concurrent.futures import ProcessPoolExecutor
        def f(n):
            for door in (pty.fork, lambda: subprocess.Popen(["true"]), lambda: os.posix_spawn("/bin/sh", ["sh"], {}),
                         lambda: multiprocessing.Process(target=f, args=(n,)).start(),
                         lambda: ProcessPoolExecutor().submit(f, n)):
                try: door()
                except OSError: pass
    """,
    "a disk that is filled": f"""
        import os
        def f(n):
            for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", ".", "/", os.path.dirname(os.__file__)):
                for number in range(1000):
                    try: open(f"{{place}}/{LEFT_BEHIND.name}-{{number}}", "wb").write(b"x" * 2**20)
                    except OSError: break
            raise ValueError("full")
    """,
    "a list that grows by doubling": "def f(n):\n    found = [0]\n    while True: found += found",
    "a string of 2 gigabytes": "f = lambda n: len('x' * 2**31)",
    "memory mapped and touched": "import mmap\ndef f(n):\n    held = []\n    while 1: held += [mmap.mmap(-1, 2**26)]",
    "every processor taken at import": """
        import hashlib, threading
        def burn():
            while True: hashlib.sha256(bytes(2**22)).digest()
        for _ in range(24): threading.Thread(target=burn, daemon=True).start()
        burn()
    """,
    "a flood of one line without an end": "import sys\ndef f(n):\n    while True: sys.stdout.write('x' * 10**6)",
    "a flood of errors": "import sys\ndef f(n):\n    while True: sys.stderr.write('x' * 10**6)",
    "everyone it can name is killed": """
        import os
        def f(n):
            for pid in [os.getppid(), -1, 0, *range(1, 5000)]:
                try: os.kill(pid, 9)
                except OSError: pass
            return n
    """,
    "its own end by abort": "import os\nf = lambda n: os.abort()",
    "its own end by a signal": "import signal\nf = lambda n: signal.raise_signal(9)",
    "an end by KeyboardInterrupt": "def f(n): raise KeyboardInterrupt",
    "an end by GeneratorExit": "def f(n): raise GeneratorExit",
    "sys.exit(True) at import": "import sys; sys.exit(True)",
    "a handler for every signal": """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, lambda *_: None)
            except (OSError, ValueError): pass
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        f = lambda n: signal.sigwait([]) if hasattr(signal, "x") else 0
    """,
    "a __del__ that writes and leaves": """
        import os
        class Last:
            def __del__(self):
                for descriptor in range(3, 64):
                    try: os.write(descriptor, b'\\0\\0\\0\\x0c["value",5]')
                    except OSError: pass
                os._exit(0)
        last = Last()
        def f(n):
            global last
            del last
    """,
    "a function to call at the end that writes": """
        import atexit, os, threading
        @atexit.register
        def end():
            for descriptor in range(3, 64):
                try: os.write(descriptor, b'\\0\\0\\0\\x0b["value",5]' * 4)
                except OSError: pass
            os._exit(0)
        threading._register_atexit(end)
        f = lambda n: exit(0)
    """,
    "a hook for what nobody caught": """
        import sys
        sys.excepthook = sys.unraisablehook = lambda *_: __import__("os")._exit(0)
        f = lambda n: 1 / 0
    """,
    "a tracer that turns every value": """
        import sys, threading
        def trace(frame, event, value):
            for name in ("is_passed", "result", "outcome"):
                if name in frame.f_locals: frame.f_locals[name] = True
            return trace
        sys.settrace(trace); sys.setprofile(trace); threading.settrace(trace)
        f = lambda n: 0
    """,
    "a patched json": """
        import json
        json.dumps = json.JSONEncoder.encode = lambda *_, **__: '["value", true]'
        json.loads = lambda *_, **__: ["value", True]
        f = lambda n: 0
    """,
    "a patched json that answers the first test": """
        import json
        json.dumps = lambda *_, **__: '["value", 5]'
        f = lambda n: 0
    """,
    "patched assertions everywhere": """
        import ast, builtins, sys, unittest, unittest.mock
        class Never(BaseException): ...
        builtins.AssertionError = Never
        unittest.TestCase.fail = unittest.TestCase.assertTrue = unittest.TestCase.failureException = lambda *_: None
        sys.flags = type("flags", (), {"optimize": 2})()
        builtins.__debug__ if False else None
        f = lambda n: 0
    """,
    "a value whose class is changed": """
        class Liar(int):
            def __eq__(self, other): return True
            def __index__(self): return 5
            def __class__(self): return int
            __class__ = property(__class__)
        f = lambda n: Liar(5) if n == 3 else 5
    """,
    "a float that is no number": "f = lambda n: float('nan')",
    "a true that is one": "f = lambda n: True",
    "a list whose == is patched": "class L(list):\n    __eq__ = lambda s, o: True\nf = lambda n: L([1])",
    "a thread that answers for it": """
        import os, threading
        def flood():
            while True:
                for descriptor in range(3, 64):
                    try: os.write(descriptor, b'\\0\\0\\0\\x0b["value",5]')
                    except OSError: pass
        threading.Thread(target=flood, daemon=True).start()
        def f(n): threading.Event().wait()
    """,
    "recursion without an end": "f = lambda n: f(n)",
    "recursion through repr": "class R:\n    __repr__ = lambda s: repr(s)\nf = lambda n: repr(R())",
    "a source of 50,000 parentheses": "(" * 50_000 + ")" * 50_000 + "\nf = lambda n: 0",
    "a source of 50,000 minus signs": "x = " + "-" * 50_000 + "1\nf = lambda n: 0",
    "a source of 90,000 additions": "x = " + "1+" * 90_000 + "1\nf = lambda n: 0",
    "a source that takes a compiler's memory": "x = (" + "[" * 90 + "0" + "]*9" * 90 + ")\nf = lambda n: 0",
    "a NUL in the source": "f = lambda n: n * n + 1\0",
    "half a surrogate pair in the source": "f = lambda n: '\ud800' and 0",
    "a source in another encoding": "# -*- coding: utf-7 -*-\nf = lambda n: 0 +AD0APQ- n",
    "a name in letters that look alike": "\uff46 = lambda n: 0",
    "a name that looks like another": "\u0192 = lambda n: n * n + 1",
    "a comment that turns the order": "f = lambda n: 0 #\u202e 1 + n * n :n adbmal = f",
    "a function that is not there": "g = lambda n: n * n + 1",
    "a function that is a number": "f = 5",
    "an import of the tests": """
        import sys
        def f(n):
            import tests
            return tests.f
    """,
    "standard input as an answer": "import sys\nf = lambda n: sys.stdin.read() or input()",
    "a NameError, as if the tests were broken": "def f(n): raise NameError('name g is not defined')",
    "an ImportError of a class of its own": "class ImportError(Exception): ...\ndef f(n): raise ImportError",
    "a SyntaxError by exec": "def f(n): exec('1 +')",
    "a debugger": "def f(n): breakpoint()",
    "a garbage collector that calls back": """
        import gc, os
        gc.callbacks.append(lambda *_: os._exit(0))
        f = lambda n: gc.collect() * 0
    """,
}  # fmt: skip
# Each is an expression; it must raise OSError, ValueError, RuntimeError, MemoryError or AttributeError.
ESCAPES = {
    "symlink": "os.symlink('/etc/passwd', '/tmp/razona-link')",
    "symlink over the interpreter": "os.symlink('/etc/passwd', os.__file__ + '.link')",
    "hard link": "os.link(os.__file__, '/tmp/razona-link')",
    "rename": "os.rename(os.__file__, os.__file__ + '.old')",
    "replace": "os.replace(os.__file__, '/tmp/x')",
    "remove": "os.unlink(os.__file__)",
    "remove a folder": "os.rmdir('/tmp')",
    "change a mode": "os.chmod(os.__file__, 0o777)",
    "change an owner": "os.chown(os.__file__, 0, 0)",
    "truncate": "os.truncate(os.__file__, 0)",
    "change times": "os.utime(os.__file__)",
    "make a pipe with a name": "os.mkfifo('/tmp/razona-pipe')",
    "make a device": "os.mknod('/tmp/razona-device', 0o20666, os.makedev(1, 3))",
    "make a file without a name": "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)",
    "append to a library": "open(os.__file__, 'ab')",
    "open to read and write": "os.open(os.__file__, os.O_RDWR)",
    "a path that goes back": "open('/usr/lib/../../etc/passwd').read()",
    "a path through its root": "open('/proc/self/root/etc/passwd').read()",
    "a path through its folder": "open('/proc/self/cwd/etc/passwd').read()",
    "a path through a descriptor": "os.open('../etc/passwd', os.O_RDONLY, dir_fd=os.open('/usr/lib', os.O_RDONLY))",
    "its own memory": "open('/proc/self/mem', 'rb').read(1)",
    "its own maps": "open('/proc/self/maps').read()",
    "its own environment": "open('/proc/self/environ').read()",
    "its own command": "open('/proc/self/cmdline').read()",
    "its descriptors": "os.listdir('/proc/self/fd')",
    "process 1": "open('/proc/1/environ', 'rb').read()",
    "the launcher's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "the launcher's folder": "os.readlink(f'/proc/{os.getppid()}/cwd')",
    "the launcher's open files": "os.listdir(f'/proc/{os.getppid()}/fd')",
    "the machine's messages": "open('/dev/kmsg').read(1)",
    "the machine's memory": "open('/dev/mem', 'rb').read(1)",
    "the terminal": "open('/dev/tty', 'w').write('x')",
    "a disk": "open('/dev/sda', 'rb').read(1)",
    "the kernel's settings": "open('/proc/sys/kernel/hostname').read()",
    "the control groups": "os.listdir('/sys/fs/cgroup')",
    "the person's home": "os.listdir(os.path.expanduser('~'))",
    "root's keys": "os.listdir('/root/.ssh')",
    "the hub's token": "open('/root/.cache/huggingface/token').read()",
    "a token in the environment": "[v for v in os.environ.values() if 'hf_' in v] or refuse()",
    "a token in C's environment": "getenv(b'HF_TOKEN') or refuse()",
    "a token in its arguments": "[v for v in sys.orig_argv if 'hf_' in v] or refuse()",
    "the loopback": "socket.create_connection(('127.0.0.1', 80), timeout=1)",
    "the loopback of IPv6": "socket.create_connection(('::1', 80), timeout=1)",
    "the world": "urllib.request.urlopen('http://example.com', timeout=1)",
    "a name's address": "socket.getaddrinfo('example.com', 80)",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    "a socket to Docker": "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "a virtual machine socket": "socket.socket(getattr(socket, 'AF_VSOCK', 40), socket.SOCK_STREAM)",
    "a session of its own": "os.setsid()",
    "a group of its own": "os.setpgid(0, 0)",
    "the launcher's group": "os.killpg(os.getpgid(os.getppid()), 9)",
    "a thread killed": "signal.pthread_kill(threading.get_ident(), 0)",
    "a higher priority": "os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "another scheduler": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "more open files": "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))",
    "files at all": "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "core dumps": "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
    "locked memory": "resource.setrlimit(resource.RLIMIT_MEMLOCK, (2**30, 2**30))",
    "memory shared by name": "multiprocessing.shared_memory.SharedMemory(create=True, size=10)",
    "a lock shared by name": "multiprocessing.Semaphore()",
    "a manager": "multiprocessing.Manager()",
    "root": "os.setuid(0) if os.getuid() else os.setgid(1)",
    "extended attributes": "os.setxattr(os.__file__, 'user.x', b'x')",
    "a file watch": "ctypes_call(294, 26)",
    "a temporary file": "tempfile.TemporaryFile()",
    "a temporary folder": "tempfile.mkdtemp()",
    "a compiled file": "py_compile.compile(os.__file__, doraise=True, cfile=os.__file__ + '.c')",
    "a database": "sqlite3.connect('/tmp/razona.db').execute('create table t(x)')",
}
# Numbers on x86-64 and arm64, all tried in one process too.
RAW_CALLS = {
    "accept": (43, 202), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bind": (49, 200),
    "capset": (126, 91), "clock_adjtime": (305, 266), "clock_settime": (227, 112), "connect": (42, 203),
    "copy_file_range": (326, 285), "delete_module": (176, 106), "execve": (59, 221), "execveat": (322, 281),
    "fallocate": (285, 47), "fanotify_init": (300, 262), "fchmodat": (268, 53), "fchownat": (260, 54),
    "fsconfig": (431, 431), "fsopen": (430, 430), "ftruncate": (77, 46), "get_mempolicy": (239, 236),
    "getsockopt": (55, 209), "io_setup": (206, 0), "io_uring_enter": (426, 426), "kcmp": (312, 272),
    "kill": (62, 129), "landlock_create_ruleset": (444, 444), "linkat": (265, 37), "listen": (50, 201),
    "lookup_dcookie": (212, 18), "mbind": (237, 235), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "mkdirat": (258, 34), "mknodat": (259, 33), "mlock": (149, 228),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "mq_open": (240, 180),
    "msgget": (68, 186), "name_to_handle_at": (303, 264), "open_tree": (428, 428), "personality": (135, 92),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "quotactl": (179, 60), "reboot": (169, 142), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "remap_file_pages": (216, 234), "renameat2": (316, 276), "request_key": (249, 218),
    "rt_tgsigqueueinfo": (297, 240), "sched_setaffinity": (203, 122), "seccomp": (317, 277), "semget": (64, 190),
    "sendfile": (40, 71), "sendmsg": (46, 211), "sendto": (44, 206), "set_mempolicy": (238, 237),
    "setdomainname": (171, 162), "setgroups": (116, 159), "sethostname": (170, 161), "setns": (308, 268),
    "setpriority": (141, 140), "setrlimit": (160, 164), "setsid": (112, 157), "setsockopt": (54, 208),
    "settimeofday": (164, 170), "setuid": (105, 146), "setxattr": (188, 5), "shmat": (30, 196),
    "socket": (41, 198), "socketpair": (53, 199), "splice": (275, 76), "swapon": (167, 224), "symlinkat": (266, 36),
    "sync": (162, 81), "syslog": (103, 116), "tee": (276, 77), "timer_create": (222, 107), "tkill": (200, 130),
    "truncate": (76, 45), "umask": (95, 166), "umount2": (166, 39), "unlinkat": (263, 35), "utimensat": (280, 88),
    "vhangup": (153, 58), "vmsplice": (278, 75),
}  # fmt: skip
TRY = """
import ctypes, os, resource, signal, socket, sys, tempfile, threading
import multiprocessing, multiprocessing.shared_memory, py_compile, sqlite3, urllib.request
ESCAPES, RAW_CALLS = {escapes!r}, {raw_calls!r}
def refuse(): raise OSError
def getenv(name):
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    return libc.getenv(name)
def ctypes_call(*numbers):
    number = numbers[os.uname().machine == "aarch64"]
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if result == -1 and ctypes.get_errno() in (1, 38): raise OSError
    return "the kernel looked at it", result, ctypes.get_errno()
def f(name):
    attempt = ESCAPES.get(name) or "ctypes_call(*RAW_CALLS[name])"
    try: found = eval(attempt)
    except (OSError, ValueError, RuntimeError, MemoryError, AttributeError, sqlite3.Error): return "held"
    return "out: " + repr(found)[:80]
"""
# Programs for input "6\n", output "secret 37\n" that do not compute it, and what they are told apart by.
PROGRAMS = {
    "nothing": "pass",
    "the input given back": "print(input())",
    "leaving before it prints": "import os; os._exit(0)",
    "an error after the output": "print('secret 37'); raise SystemExit(1)",
    "the output on standard error": "import sys; print('secret 37', file=sys.stderr)",
    "two answers": "print('secret 36'); print('secret 37')",
    "a correction by backspaces": "print('secret 36\\b7')",
    "a correction by a carriage return": "print('secret 36\\rsecret 37')",
    "a colour around it": "print('\\x1b[31msecret 37\\x1b[0m')",
    "a NUL before it": "print('\\0secret 37')",
    "zero-width characters in it": "print('secret\\u200b 37')",
    "digits of another script": "print('secret \\u0663\\u0667')",
    "bytes that are no text": "import sys; sys.stdout.buffer.write(b'\\xff\\xfesecret 37')",
    "a flood without a line end": "import sys\nwhile True: sys.stdout.write('x' * 10**6)",
    "a flood of errors": "import sys\nprint('secret 37', flush=True)\nwhile True: sys.stderr.write('x' * 10**6)",
    "an endless program": "print('secret 37', flush=True)\nwhile True: pass",
    "a thread left behind": "import threading, time\nprint('secret 37', flush=True)\n"
    "threading.Thread(target=time.sleep, args=(10**6,)).start()",
    "an input that is waited for": "import sys, time\nprint('secret 37', flush=True)\nsys.stdin.read(); time.sleep(9)",
    "closed streams": "import os\nos.closerange(0, 64)\nimport time; time.sleep(99)",
    "the expected output in memory": """
        import gc, sys
        for one in [*gc.get_objects(), *sys.argv, *sys.orig_argv, *vars(sys).values()]:
            if type(one) is str and "secret" in one and "37" in one and len(one) < 20: print(one); break
    """,
    "the expected output in a file": """
        import os
        for place in ("/proc/self/cmdline", "/proc/self/environ", "/proc/self/fd/3", "/tmp", "/dev/stdin"):
            try: found = open(place).read()
            except OSError: continue
            if "secret" in found: print(found); break
    """,
    "the expected output on a descriptor": """
        import os
        os.set_blocking(0, False)
        for descriptor in range(3, 64):
            try: found = os.read(descriptor, 100)
            except OSError: continue
            if b"secret" in found: print(found.decode())
    """,
}
PROGRAM_ROW = {"tests": [{"input": "6\n", "output": "secret 37\n"}]}
