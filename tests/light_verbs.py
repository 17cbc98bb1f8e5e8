"""Verbs that must not load what takes seconds to import."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HEAVY = ("torch", "transformers", "datasets")


def run_light(arguments: Sequence[str], *, heavy: Sequence[str] = HEAVY, cwd: Path | None = None, exit_code: int = 0):
    """Run a verb, which must end with `exit_code` and load none of the heavy modules; give what it printed."""
    code = (
        f"import sys; sys.argv = ['razona', *{list(arguments)!r}]\n"
        "from razona.cli.main import main\n"
        "ended = 0\n"
        "try: main()\n"
        "except SystemExit as end: ended = end.code or 0\n"
        f"assert ended == {exit_code}, ended\n"
        f"assert not {set(heavy)!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done
