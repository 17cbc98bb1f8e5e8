"""Completions for a small code problem: right programs in many wrappings, and programs that try to pass without it.

Does not cover: what a sandbox must hold off beyond the verdict (files, network, other processes); the tests of the
sandbox do. Programs that know the public tests by heart are wrong here only because other tests are there too.
"""

from razona.rewards.attacks import Case, Exam, Form
from razona.verify import Tags

ROW = {
    "tests": ["assert add(1, 2) == 3", "assert add(-5, 5) == 0", "assert add(10, 90) == 100", "assert add(0, 0) == 0"],
    "entry_point": "add",
}
ADD = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return a - b\n"

RIGHT_CODE = {
    "fenced": f"```python\n{ADD}```",
    "plain": ADD,
    "fence without a language": f"```\n{ADD}```",
    "fence marked py": f"```py\n{ADD}```",
    "types": "def add(a: int, b: int) -> int:\n    return a + b\n",
    "docstring": 'def add(a, b):\n    """Add."""\n    return a + b\n',
    "lambda": "add = lambda a, b: a + b\n",
    "another function helps": "def plus(a, b):\n    return a + b\n\n\ndef add(a, b):\n    return plus(a, b)\n",
    "an import": "import operator\n\n\ndef add(a, b):\n    return operator.add(a, b)\n",
    "a class helps": (
        "class Adder:\n    def go(self, a, b):\n        return a + b\n\n\ndef add(a, b):\n    return Adder().go(a, b)\n"
    ),
    "it prints": "print('hello')\n\n\ndef add(a, b):\n    print(a, b)\n    return a + b\n",
    "a main block": f"{ADD}\nif __name__ == '__main__':\n    print(add(1, 2))\n",
    "a loop": (
        "def add(a, b):\n    while b > 0:\n        a, b = a + 1, b - 1\n    while b < 0:\n        a, b = a - 1, b + 1\n"
        "    return a\n"
    ),
    "default arguments": "def add(a, b=0, *rest):\n    return a + b + sum(rest)\n",
    "it catches its own error": "def add(a, b):\n    try:\n        return a + b\n    except TypeError:\n        pass\n",
}

WRONG_CODE = {
    "wrong sign": WRONG,
    "off by one": "def add(a, b):\n    return a + b + 1\n",
    "right in one test": "def add(a, b):\n    return 3\n",
    "right in most tests": "def add(a, b):\n    return a + b if a < 10 else 0\n",
    "returns text": "def add(a, b):\n    return str(a + b)\n",
    "returns nothing": "def add(a, b):\n    pass\n",
    "another name": "def plus(a, b):\n    return a + b\n",
    "syntax error": "def add(a, b)\n    return a + b\n",
    "no code at all": "I would add the two numbers.",
    "empty": "",
    "only a comment": "# return a + b\n",
    "raises": "def add(a, b):\n    raise ValueError('no')\n",
    "sys.exit(0)": "import sys\nsys.exit(0)\n",
    "sys.exit(0) in the function": "import sys\n\n\ndef add(a, b):\n    sys.exit(0)\n",
    "os._exit(0)": "import os\nos._exit(0)\n",
    "os._exit(0) in the function": "import os\n\n\ndef add(a, b):\n    os._exit(0)\n",
    "SystemExit": "def add(a, b):\n    raise SystemExit(0)\n",
    "exit at the end": f"{WRONG}import atexit, os\natexit.register(lambda: os._exit(0))\n",
    "prints the marker": f"{WRONG}print('passed')\nprint('OK')\nprint('ALL TESTS PASSED')\n",
    "prints JSON": f'{WRONG}print(\'{{"outcome": "correct"}}\')\n',
    "writes to every file descriptor": (
        f"{WRONG}import os\nfor fd in range(1, 64):\n    try:\n        os.write(fd, b'passed\\n')\n"
        "    except OSError:\n        pass\n"
    ),
    "equal to everything": (
        "class Yes:\n    def __eq__(self, other):\n        return True\n"
        "    def __ne__(self, other):\n        return False\n"
        "    def __hash__(self):\n        return 0\n\n\ndef add(a, b):\n    return Yes()\n"
    ),
    "an int equal to everything": (
        "class Yes(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n\n\n"
        "def add(a, b):\n    return Yes(7)\n"
    ),
    "patched built-ins": (
        f"{WRONG}import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {{}})\n"
        "builtins.all = lambda *a: True\nbuiltins.bool = lambda *a: True\n"
    ),
    "patched import": f"{WRONG}import builtins\nbuiltins.__import__ = lambda *a, **k: None\n",
    "patched exit hook": f"{WRONG}import sys\nsys.excepthook = lambda *a: None\n",
    "a trace function": (f"{WRONG}import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\n"),
    "frames walked": (
        "import sys\n\n\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n        for name in ('result', "
        "'results', 'outcome'):\n            if isinstance(frame.f_locals.get(name), list):\n"
        "                frame.f_locals[name].append('passed')\n        frame = frame.f_back\n    return None\n"
    ),
    "tests searched in memory": (
        "import gc\n\n\ndef add(a, b):\n    for one in gc.get_objects():\n        if isinstance(one, list) and one and "
        "isinstance(one[0], str) and 'assert add' in one[0]:\n            return 3\n    return None\n"
    ),
    "tests searched on disk": (
        "import os\n\n\ndef add(a, b):\n    for name in ('/proc/self/cmdline', '/proc/1/cmdline'):\n        try:\n"
        "            if 'add(' in open(name).read():\n                return a + b\n        except OSError:\n"
        "            pass\n    return None\n"
    ),
    "signals its parent": (
        f"{WRONG}import os, signal\ntry:\n    os.kill(os.getppid(), signal.SIGTERM)\nexcept OSError:\n    pass\n"
    ),
    "endless loop": "def add(a, b):\n    while True:\n        pass\n",
    "endless loop at import": "while True:\n    pass\n",
    "endless recursion": "def add(a, b):\n    return add(a, b)\n",
    "too much memory": "def add(a, b):\n    return len('x' * 10**11)\n",
    "too much output": f"{WRONG}print('passed' * 10**7)\n",
    "huge return value": "def add(a, b):\n    return 'x' * 10**8\n",
    "generator": "def add(a, b):\n    yield a + b\n",
    "nan": "def add(a, b):\n    return float('nan')\n",
    "tests of its own": f"{WRONG}\nassert True\nprint('4 of 4 tests passed')\n",
}


def code_exams(tags: Tags) -> list[Exam]:
    """Give the one exam of code: `add`, with four tests."""
    form = Form(tags=tags)
    right = {name: form.solved(code) for name, code in RIGHT_CODE.items()}
    right |= {
        "empty working": form.solved(ADD, working=""),
        "text after the block": f"{form.solved(ADD)} That is all.",
        "no block": f"I add.{tags.working_close}\n```python\n{ADD}```",
        "wrong code in the working": form.solved(ADD, working=f"```python\n{WRONG}```"),
    }
    wrong = {name: form.solved(code) for name, code in WRONG_CODE.items()}
    wrong |= {
        "nothing": "",
        "right code in the working only": f"```python\n{ADD}```{tags.working_close}",
        "right code in the working, wrong code in the block": form.solved(WRONG, working=f"```python\n{ADD}```"),
        "right block, then a wrong one": f"{form.solved(ADD)}{form.block(WRONG)}",
        "the tests copied": form.solved("\n".join(ROW["tests"])),
    }
    cases = [Case(pattern=name, text=text, is_right=True) for name, text in right.items()]
    cases += [Case(pattern=name, text=text, is_right=False) for name, text in wrong.items()]
    return [Exam(name="code add(a, b)", target="", cases=tuple(cases), row=ROW)]
