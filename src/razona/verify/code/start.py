"""The script that a sandboxed process runs: `python start.py candidate|program|judge|probe CONFINEMENT`.

The packages above this folder are replaced by empty ones, so that the process loads five small files of the
standard library's and ours instead of Razona, and sees no file outside this folder.
"""

import json
import os
import sys
from types import ModuleType


def main() -> None:
    """Confine this process, say so, and take its part."""
    for name in ("razona", "razona.verify", "razona.verify.code"):
        package = ModuleType(name)
        package.__path__ = [os.path.dirname(os.path.abspath(__file__))] if name.endswith("code") else []
        sys.modules[name] = package
    from razona.verify.code.candidate import answer_calls, run_program
    from razona.verify.code.confine import Confinement, confine
    from razona.verify.code.judge import judge
    from razona.verify.code.wire import write_message

    parts = {"candidate": answer_calls, "program": run_program, "judge": judge, "probe": lambda _: None}
    part = parts[sys.argv[1]]
    confinement = Confinement(**json.loads(sys.argv[2]))
    del sys.argv[1:]
    confine(confinement)
    write_message(confinement.descriptor, b"confined")
    part(confinement.descriptor)


if __name__ == "__main__":
    main()
